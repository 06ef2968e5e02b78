package faults

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"loadbalancer/bench/balancer"
)

var long = flag.Bool("long", false, "run the long forms")

// deadline bounds what a test waits for where the issue is not how long it takes.
const deadline = 20 * time.Second

// binary is the path of the balancer: that of LB_BINARY, or one that is built here.
var binary string

func TestMain(m *testing.M) {
	balancer.Parallel(6)
	balancer.Main(func(_, path string) int {
		binary = path
		return m.Run()
	})
}

// The fields of a request: its client's key, and when and where it was sent.
const (
	keyField      = "X-Api-Key"
	sentField     = "X-Sent" // nanoseconds since the backend began
	instanceField = "X-Instance"
)

// instance is a process of the built binary, in a folder of its own.
type instance struct {
	*balancer.Server
	proxy, management string // URLs without a trailing slash
	number            string
	backend           *backend
	caller            *http.Client
}

// keyOf returns the key of a client. The one without a name has none: it is the address of the test.
func keyOf(client string) string {
	if client == "" {
		return ""
	}
	return "key-of-" + client
}

// unregistered is the client without a name.
var unregistered = limit{"", 100, 10}

// limit is that of a client.
type limit struct {
	name     string
	capacity int
	rate     float64
}

// setup is how a test's instances are configured.
type setup struct {
	backend *backend
	wait    time.Duration // limiter.share_wait
	limits  []limit
}

// begin starts an instance for each URL of a Redis, waits until they serve, and registers the clients
// with each.
func (s *setup) begin(t *testing.T, urls ...string) (all []*instance) {
	t.Helper()
	for i, url := range urls {
		all = append(all, s.start(t, strconv.Itoa(i), url))
	}
	for _, b := range all {
		balancer.WaitFor(t, deadline, "the balancer to serve", func() bool {
			if b.HasEnded() {
				t.Fatalf("the balancer has ended:\n%s", b.Log)
			}
			return strings.HasPrefix(balancer.Page(b.management+"/readyz"), "ready")
		})
		for _, l := range s.limits {
			if l == unregistered {
				continue
			}
			b.api(t, 201, "POST", "/clients/", fmt.Sprintf(`{"name":%q,"api_key":%q,"capacity":%d,"rate_per_second":%g}`, l.name, keyOf(l.name), l.capacity, l.rate))
		}
	}
	return all
}

// share starts instances that share one Redis, and waits until each of them knows of all and may let
// requests through before it tells.
func (s *setup) share(t *testing.T, urls ...string) (all []*instance) {
	t.Helper()
	all = s.begin(t, urls...)
	awaitFleet(t, all, len(all))
	time.Sleep(creditAfter)
	return all
}

// creditAfter is when an instance that has given its first sign of life may have credit.
const creditAfter = 3500 * time.Millisecond

// awaitFleet waits until each instance knows of as many.
func awaitFleet(t *testing.T, all []*instance, count int) {
	t.Helper()
	for _, b := range all {
		balancer.WaitFor(t, deadline, "the instance to know of all", func() bool {
			return b.metric("lb_share_up") == "1" && b.metric("lb_share_instances") == strconv.Itoa(count)
		})
	}
}

func (s *setup) start(t *testing.T, number, redis string) *instance {
	t.Helper()
	b := &instance{number: number, backend: s.backend, caller: &http.Client{
		Timeout:   deadline,
		Transport: &http.Transport{MaxIdleConnsPerHost: 64},
	}}
	proxy, management := balancer.Loopback(balancer.FreePort(t)), balancer.Loopback(balancer.FreePort(t))
	b.proxy, b.management = "http://"+proxy, "http://"+management
	b.Server = balancer.Start(t, balancer.Command(t, binary, t.TempDir(), fmt.Sprintf(`server: {listen: "%s", shutdown_timeout: 2s}
management: {listen: "%s"}
pools: {main: {backends: [{url: "%s"}]}}
clients: {store: memory}
limiter:
  default: {capacity: %d, rate_per_second: %g}
  api_key_header: %s
  share: "%s"
  share_wait: %s
`, proxy, management, s.backend.url, unregistered.capacity, unregistered.rate, keyField, redis, s.wait)))
	t.Cleanup(func() {
		b.caller.CloseIdleConnections()
		if t.Failed() {
			t.Logf("instance %s said:\n%s", number, balancer.Shortened(b.Log.String()))
		}
	})
	return b
}

// api calls the API at a path below /v1/api.
func (b *instance) api(t *testing.T, status int, method, path, body string) {
	t.Helper()
	r, err := http.NewRequest(method, b.management+"/v1/api"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := b.caller.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	if text, _ := io.ReadAll(res.Body); res.StatusCode != status {
		t.Fatalf("%s %s %s: got %d %s, want %d", method, path, body, res.StatusCode, text, status)
	}
}

// metric returns the value of a metric without labels.
func (b *instance) metric(name string) string {
	return balancer.Metric(balancer.Page(b.management+"/metrics"), name)
}

// answer is what became of a request.
type answer struct {
	status int // 0: there was none
	took   time.Duration
	err    error
}

// isFailure reports whether the request was neither let through nor rejected by its limit.
func (a answer) isFailure() bool { return a.status != 200 && a.status != 429 }

// ask sends a request of a client.
func (b *instance) ask(client string) (a answer) {
	r, err := http.NewRequest("GET", b.proxy+"/", nil)
	if err != nil {
		return answer{err: err}
	}
	if key := keyOf(client); key != "" {
		r.Header.Set(keyField, key)
	}
	r.Header.Set(instanceField, b.number)
	begun := time.Now()
	r.Header.Set(sentField, strconv.FormatInt(int64(begun.Sub(b.backend.begun)), 10))
	res, err := b.caller.Do(r)
	if err != nil {
		return answer{took: time.Since(begun), err: err}
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return answer{res.StatusCode, time.Since(begun), err}
}
