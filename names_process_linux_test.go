package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"loadbalancer/bench/zone"
)

// openNameServer serves DNS on port 53 of a loopback address, and returns a command that starts the
// balancer where it is the only name server.
func openNameServer(t *testing.T, built programs) (*zone.Zone, func(config string) *exec.Cmd) {
	t.Helper()
	host := fmt.Sprintf("127.%d.%d.53", 1+rand.IntN(250), rand.IntN(250))
	z, err := zone.Open(host + ":53")
	if err != nil {
		t.Skipf("only root can serve DNS: %v", err)
	}
	t.Cleanup(z.Close)
	resolvConf := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(resolvConf, []byte("nameserver "+host+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	mount := `mount --bind "$0" /etc/resolv.conf`
	if out, err := exec.Command("unshare", "--mount", "sh", "-c", mount, resolvConf).CombinedOutput(); err != nil {
		t.Skipf("no file can be mounted here: %v: %s", err, out)
	}
	return z, func(config string) *exec.Cmd {
		return exec.Command("unshare", "--mount", "sh", "-c", mount+` && exec "$@"`, resolvConf, built.lb, "--path="+writeConfig(t, config))
	}
}

// countedBackend is a backend at one address that counts.
type countedBackend struct {
	*http.Server
	requests, connections atomic.Int64
}

func startCounted(t *testing.T, address string) *countedBackend {
	t.Helper()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	b := &countedBackend{}
	b.Server = &http.Server{
		Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/healthz" {
				b.requests.Add(1)
			}
			_, _ = io.Copy(io.Discard, r.Body)
		}),
		ConnState: func(_ net.Conn, s http.ConnState) {
			switch s {
			case http.StateNew:
				b.connections.Add(1)
			case http.StateClosed, http.StateHijacked:
				b.connections.Add(-1)
			}
		},
	}
	go b.Serve(ln)
	t.Cleanup(func() { b.Close() })
	return b
}

// load sends requests of this method without a pause until it is stopped. None may fail.
func load(t *testing.T, method, url string) (stop func() (sent int64)) {
	t.Helper()
	var sent atomic.Int64
	var clients sync.WaitGroup
	ended := make(chan struct{})
	for range 8 {
		clients.Go(func() {
			c := &http.Client{Timeout: deadline, Transport: &http.Transport{}}
			defer c.CloseIdleConnections()
			for {
				select {
				case <-ended:
					return
				default:
				}
				request, err := http.NewRequest(method, url, strings.NewReader("body"))
				if err != nil {
					t.Error(err)
					return
				}
				response, err := c.Do(request)
				if err != nil {
					t.Error(err)
					return
				}
				_, err = io.Copy(io.Discard, response.Body)
				response.Body.Close()
				if sent.Add(1); err != nil || response.StatusCode != 200 {
					t.Errorf("request %d got %d, %v", sent.Load(), response.StatusCode, err)
				}
			}
		})
	}
	return func() int64 {
		close(ended)
		clients.Wait()
		return sent.Load()
	}
}

// testNameMovesUnderLoad has a name move from one backend to another while POSTs are sent: none
// fails, the new one gets them within resolve, and the connections to the old one end.
func testNameMovesUnderLoad(t *testing.T, built programs) {
	z, command := openNameServer(t, built)
	_, port, _ := net.SplitHostPort(freeAddresses(t, 1)[0])
	before, after := startCounted(t, "127.0.0.2:"+port), startCounted(t, "127.0.0.3:"+port)
	if err := z.Set("api.test", "127.0.0.2"); err != nil {
		t.Fatal(err)
	}
	config := strings.Replace(testConfig(t, []string{"api.test:" + port}, "limiter: {enabled: false}\n"), "  main:\n", "  main:\n    resolve: 500ms\n", 1)
	p := startJournaled(t, command(config))
	waitFor(t, "the log line of the proxy", func() bool { return p.stdout.find("proxy") != nil })
	stop := load(t, "POST", "http://"+p.stdout.find("proxy")["listen"].(string))
	waitFor(t, "requests", func() bool { return before.requests.Load() > 1000 })
	if err := z.Set("api.test", "127.0.0.3"); err != nil {
		t.Fatal(err)
	}
	moved := time.Now()
	waitFor(t, "requests to the new address", func() bool { return after.requests.Load() > 0 })
	took := time.Since(moved)
	waitFor(t, "the connections to the old address to end", func() bool { return before.connections.Load() == 0 })
	t.Logf("the first request after %s, the last connection ended after %s", took, time.Since(moved))
	if took > 5*time.Second { // 550 ms, and room for a busy machine
		t.Errorf("the new address got its first request after %s", took)
	}
	last := before.requests.Load()
	served := after.requests.Load()
	waitFor(t, "more requests", func() bool { return after.requests.Load() > served+1000 })
	sent := stop()
	if n := before.requests.Load(); n != last {
		t.Errorf("the old address got %d requests more", n-last)
	}
	if got := before.requests.Load() + after.requests.Load(); got != sent {
		t.Errorf("%d requests were sent, and %d came", sent, got)
	}
	t.Logf("%d requests, none failed", sent)
}

// testAddressDies has an address of a name die and another take its place in DNS: no GET fails, and
// the connect that fails has the name looked up, long before it is due.
func testAddressDies(t *testing.T, built programs) {
	t.Run("of two", func(t *testing.T) { testDies(t, built, "resolve: 1h", "127.0.0.3") })
	t.Run("the only one, with a queue", func(t *testing.T) {
		testDies(t, built, "resolve: 1h\n    queue: {size: 1000, timeout: 5s}")
	})
}

// testDies has 127.0.0.2 die, and 127.0.0.4 take its place. The other addresses stay.
func testDies(t *testing.T, built programs, keys string, stay ...string) {
	z, command := openNameServer(t, built)
	_, port, _ := net.SplitHostPort(freeAddresses(t, 1)[0])
	dies, comes := startCounted(t, "127.0.0.2:"+port), startCounted(t, "127.0.0.4:"+port)
	for _, address := range stay {
		startCounted(t, net.JoinHostPort(address, port))
	}
	if err := z.Set("api.test", append(stay, "127.0.0.2")...); err != nil {
		t.Fatal(err)
	}
	config := strings.Replace(testConfig(t, []string{"api.test:" + port}, "limiter: {enabled: false}\n"), "  main:\n", "  main:\n    "+keys+"\n", 1)
	p := startJournaled(t, command(config))
	waitFor(t, "the log line of the proxy", func() bool { return p.stdout.find("proxy") != nil })
	stop := load(t, "GET", "http://"+p.stdout.find("proxy")["listen"].(string))
	waitFor(t, "requests", func() bool { return dies.requests.Load() > 500 })
	if err := z.Set("api.test", append(stay, "127.0.0.4")...); err != nil {
		t.Fatal(err)
	}
	died := time.Now()
	dies.Close()
	waitFor(t, "requests to the new address", func() bool { return comes.requests.Load() > 100 })
	t.Logf("100 requests came to the new address %s after the old one died", time.Since(died))
	t.Logf("%d requests, none failed", stop())
	metrics, err := tryCall("GET", "http://"+p.stdout.find("management")["listen"].(string)+"/metrics", "")
	if err != nil || strings.Contains(metrics.body, "127.0.0.2:") || !strings.Contains(metrics.body, `lb_backend_up{pool="main",backend="127.0.0.4:`+port+`"} 1`) {
		t.Errorf("the metrics are %v\n%s", err, metrics.body)
	}
}

// testDrainOfAddress drains one of a name's two addresses, and kills the process: the next knows of
// the drain. A name that leads nowhere is shown, and cannot be drained.
func testDrainOfAddress(t *testing.T, built programs) {
	z, command := openNameServer(t, built)
	_, port, _ := net.SplitHostPort(freeAddresses(t, 1)[0])
	drained, other := startCounted(t, "127.0.0.2:"+port), startCounted(t, "127.0.0.3:"+port)
	if err := z.Set("api.test", "127.0.0.2", "127.0.0.3"); err != nil {
		t.Fatal(err)
	}
	section, _ := stateIn(t)
	config := testConfig(t, []string{"api.test:" + port, "none.test:" + port}, section, "limiter: {enabled: false}\n")
	for start := range 2 {
		p := startJournaled(t, command(config))
		waitFor(t, "the log line of the proxy", func() bool { return p.stdout.find("proxy") != nil })
		management := managementOf(p)
		all := backendsOf(t, management)
		if b := all["127.0.0.2:"+port]; b.From != "http://api.test:"+port || (b.State == "draining") != (start == 1) {
			t.Errorf("start %d: it is %+v", start, b)
		}
		if b := all["none.test:"+port]; b.State != "unresolved" || b.Cause != "no_such_name" {
			t.Errorf("start %d: a name that leads nowhere is %+v", start, b)
		}
		a := call(t, "POST", management+"/v1/api/backends/main/none.test:"+port+"/drain", "")
		if a.status != 404 || !strings.Contains(a.body, "the pool main has 127.0.0.2:"+port+", 127.0.0.3:"+port+`"`) {
			t.Errorf("the drain of a name got %+v", a)
		}
		setBackend(t, management, "POST", "127.0.0.2:"+port, "drain", "")
		before := drained.requests.Load()
		for range 20 {
			if a := call(t, "GET", "http://"+p.stdout.find("proxy")["listen"].(string), ""); a.status != 200 {
				t.Errorf("a request got %+v", a)
			}
		}
		if drained.requests.Load() != before || other.requests.Load() < 20 {
			t.Errorf("the drained one got %d requests", drained.requests.Load()-before)
		}
		if err := p.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-p.ended
	}
}
