package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"loadbalancer/docs/described"
	"loadbalancer/proxy/listen"
)

// deadline bounds whatever a test waits for.
const deadline = 15 * time.Second

// apiCalls holds the calls by client to the API's description.
var apiCalls = described.NewRecorder("docs/swagger.yaml")

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.Cleanup(func(status int) { os.Exit(apiCalls.Conclude(status, isGotHere)) }),
		// fasthttp's own: one for the process, and those that end some seconds after their server
		// or host client.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*HostClient).connsCleaner"),
		// rueidis's own, which end within a second after its client could not connect.
		goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"),
	)
}

// journal takes the log lines and stdout of a running balancer.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// find returns the first log line with this message, or nil.
func (j *journal) find(message string) map[string]any {
	for line := range strings.Lines(j.String()) {
		var entry map[string]any
		if json.Unmarshal([]byte(line), &entry) == nil && entry["message"] == message {
			return entry
		}
	}
	return nil
}

// messages returns those of all lines, each of which has to be JSON with a level and a time to the
// millisecond.
func (j *journal) messages(t *testing.T) (all []string) {
	t.Helper()
	for line := range strings.Lines(j.String()) {
		var entry struct{ Level, Time, Message string }
		err := json.Unmarshal([]byte(line), &entry)
		if _, timeErr := time.Parse(timeFormat, entry.Time); err != nil || timeErr != nil || entry.Level == "" {
			t.Errorf("a line that is no JSON, or has no level or time: %s", line)
		}
		all = append(all, entry.Message)
	}
	return all
}

// instance is a balancer that runs in this process.
type instance struct {
	path              string // of the config file
	proxy, management string // URLs without a trailing slash
	log               *journal
	cancel            context.CancelFunc
	ended             chan error
	files             map[string]string // that curl sends with --data-binary and writes with -o, by name
	tags              map[string]string // of answers, by those that a page shows
}

// startInstance calls run with a config file and waits until it serves. It ends with the test.
func startInstance(t *testing.T, config string, args ...string) *instance {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	in := &instance{path: writeConfig(t, config), log: &journal{}, cancel: cancel, ended: make(chan error, 1)}
	args = append([]string{"--path=" + in.path}, args...)
	go func() { in.ended <- run(ctx, args, in.log) }()
	t.Cleanup(func() { in.stop(t) })
	waitFor(t, "the log line of the proxy", func() bool {
		select {
		case err := <-in.ended:
			in.ended = nil
			t.Fatalf("run ended with %v\n%s", err, in.log)
		default:
		}
		return in.log.find("proxy") != nil
	})
	in.proxy = "http://" + in.log.find("proxy")["listen"].(string)
	if line := in.log.find("management"); line != nil {
		in.management = "http://" + line["listen"].(string)
	}
	return in
}

// stop cancels the context of run, which has to return nil. It may be called twice.
func (in *instance) stop(t *testing.T) {
	in.cancel()
	if in.ended == nil {
		return
	}
	select {
	case err := <-in.ended:
		if err != nil {
			t.Errorf("run returned %v", err)
		}
	case <-time.After(deadline):
		t.Error("run does not return after its context has ended")
	}
	in.ended = nil
}

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "lb.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// testConfig is a config file on free ports, with a store of its own. Each of more is appended: a
// section, whole.
func testConfig(t *testing.T, backends []string, more ...string) string {
	t.Helper()
	var text strings.Builder
	sections := strings.Join(more, "\n")
	for _, section := range []string{
		"server:\n  listen: 127.0.0.1:0\n",
		"management:\n  listen: 127.0.0.1:0\n  api_on_proxy: true\n",
		"clients:\n  store: file:" + filepath.Join(t.TempDir(), "clients.db") + "\n",
	} {
		name, _, _ := strings.Cut(section, "\n")
		if !strings.Contains("\n"+sections, "\n"+name+"\n") {
			text.WriteString(section)
		}
	}
	text.WriteString(sections + "\npools:\n  main:\n    health: {path: /healthz, interval: 50ms}\n    backends:\n")
	for _, b := range backends {
		fmt.Fprintf(&text, "      - url: http://%s\n", b)
	}
	return text.String()
}

// freeAddresses returns loopback addresses that nothing listens on. Their ports are not among those
// that the system gives out by itself, so that no test beside this one gets them in the meantime.
func freeAddresses(t *testing.T, count int) (addresses []string) {
	t.Helper()
	const first, ports = 10_000, 10_000
	for tries := 0; len(addresses) < count; tries++ {
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first+rand.IntN(ports)))
		switch {
		case err == nil:
			defer ln.Close()
			addresses = append(addresses, ln.Addr().String())
		case tries == 100:
			t.Fatal(err)
		}
	}
	return addresses
}

func addressOf(t *testing.T, text string) listen.Address {
	t.Helper()
	a, err := listen.ParseAddress(text)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// answer is a whole response.
type answer struct {
	status int
	header http.Header
	body   string
}

// client follows no redirects and keeps no connections, so that none outlives a test.
var client = &http.Client{
	Timeout:       deadline,
	Transport:     apiCalls.Transport(&http.Transport{DisableKeepAlives: true}),
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// call sends a request; fields are "Name: value".
func call(t *testing.T, method, url, body string, fields ...string) answer {
	t.Helper()
	a, err := tryCall(method, url, body, fields...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func tryCall(method, url, body string, fields ...string) (answer, error) {
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		r.Header.Add(name, value)
		if name == "Host" {
			r.Host = value
		}
	}
	res, err := client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(text)}, err
}

func TestRunServesAndEnds(t *testing.T) {
	backends := freeAddresses(t, 3)
	in := startInstance(t, testConfig(t, backends), "--demo")
	seen := map[string]bool{}
	for range 6 {
		a := call(t, "GET", in.proxy+"/path?query", "")
		if a.status != 200 || !strings.HasPrefix(a.body, "backend ") {
			t.Fatalf("got %+v", a)
		}
		seen[a.header.Get("X-Backend")] = true
	}
	for _, b := range backends {
		if !seen[b] {
			t.Errorf("six requests did not reach %s", b)
		}
	}
	in.stop(t)
	if in.log.find("stopped") == nil {
		t.Errorf("the log does not say that it stopped:\n%s", in.log)
	}
	for _, url := range []string{in.proxy, in.management, "http://" + backends[0]} {
		// Another process may have the port by now; the balancer's own identify themselves.
		a, err := tryCall("GET", url, "")
		if err == nil && (a.header.Get("RateLimit-Policy") != "" || a.header.Get("X-Backend") != "" || strings.Contains(a.body, "nothing is served")) {
			t.Errorf("%s still answers", url)
		}
	}
}

// A change by the API is felt by the very next request, on whichever listener it came.
func TestAPITakesEffectAtOnce(t *testing.T) {
	for _, listener := range []string{"proxy", "management"} {
		t.Run(listener, func(t *testing.T) {
			in := startInstance(t, testConfig(t, freeAddresses(t, 1)), "--demo")
			clients := map[string]string{"proxy": in.proxy, "management": in.management}[listener] + "/v1/api/clients/"
			a := call(t, "POST", clients, `{"ip_address":"127.0.0.1","capacity":100,"rate_per_second":10}`)
			if a.status != 201 || a.header.Get("Location") != "/v1/api/clients/127.0.0.1" {
				t.Fatalf("POST: %+v", a)
			}
			if a := call(t, "GET", clients, ""); a.status != 200 || !strings.HasPrefix(a.body, `[{"ip_address":"127.0.0.1","capacity":100`) {
				t.Errorf("GET: %+v", a)
			}
			if a := call(t, "PUT", clients+"127.0.0.1", `{"capacity":5,"rate_per_second":0.1}`); a.status != 200 {
				t.Errorf("PUT: %+v", a)
			}
			if a := call(t, "GET", clients+"127.0.0.1", ""); a.status != 200 || !strings.Contains(a.body, `"capacity":5,"rate_per_second":0.1`) {
				t.Errorf("GET of one: %+v", a)
			}
			if passed := passedOf50(t, in.proxy); passed != 5 {
				t.Errorf("%d of 50 requests passed, want 5", passed)
			}
			if a := call(t, "DELETE", clients+"127.0.0.1", ""); a.status != 204 {
				t.Errorf("DELETE: %+v", a)
			}
			if a := call(t, "GET", clients+"127.0.0.1", ""); a.status != 404 {
				t.Errorf("GET after DELETE: %+v", a)
			}
		})
	}
}

// passedOf50 sends 50 requests and returns how many were not limited.
func passedOf50(t *testing.T, url string) (passed int) {
	t.Helper()
	for range 50 {
		switch a := call(t, "GET", url+"/", ""); {
		case a.status == 200:
			passed++
		case a.status != 429 || a.header.Get("Retry-After") == "" || !strings.Contains(a.body, `"limited"`):
			t.Errorf("got %+v", a)
		}
	}
	return passed
}

func TestRestartKeepsClients(t *testing.T) {
	config := testConfig(t, freeAddresses(t, 1))
	first := startInstance(t, config, "--demo")
	const limit = `{"ip_address":"127.0.0.1","capacity":5,"rate_per_second":0.1}`
	if a := call(t, "POST", first.management+"/v1/api/clients/", limit); a.status != 201 {
		t.Fatalf("POST: %+v", a)
	}
	first.stop(t)

	second := startInstance(t, config, "--demo")
	if n := second.log.find("clients loaded")["clients"]; n != 1.0 {
		t.Errorf("the log says %v clients", n)
	}
	if passed := passedOf50(t, second.proxy); passed != 5 {
		t.Errorf("%d of 50 requests passed, want the 5 of the stored limit", passed)
	}
}

// socketDir is a folder whose path is short enough for that of a socket.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lb")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// leaveSocket leaves a socket behind as a killed process does.
func leaveSocket(t *testing.T, path string) {
	t.Helper()
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	ln.Close()
}

func TestUnixSockets(t *testing.T) {
	dir := socketDir(t)
	sockets := fmt.Sprintf("server:\n  listen: unix:%s/a\nmanagement:\n  listen: unix:%s/b\n", dir, dir)
	leaveSocket(t, dir+"/a")
	config := testConfig(t, freeAddresses(t, 1), sockets)
	startInstance(t, config, "--demo")
	for socket, path := range map[string]string{"/a": "/", "/b": "/v1/api/clients/"} {
		over := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", dir+socket)
		}}}
		res, err := over.Get("http://localhost" + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 200 {
			t.Errorf("%s: got %d", socket, res.StatusCode)
		}
	}
	err := run(t.Context(), []string{"--path=" + writeConfig(t, config)}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "management.listen: unix:"+dir+"/b is held by ") {
		t.Errorf("a second instance on the socket: %v", err)
	}
}
