package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"loadbalancer/bench/balancer"
)

// keyHeader is the field that the balancers read API keys from.
const keyHeader = "X-Api-Key"

// defaultCapacity is the limit of clients that are not registered: no traffic of a test reaches it.
const defaultCapacity = 100_000

// instance is a process of the built binary, in a folder of its own.
type instance struct {
	*balancer.Server
	dir               string
	proxy, management string // URLs without a trailing slash
	mu                sync.Mutex
	callers           map[string]*http.Client // by the address that they call from
}

// options are what a balancer is configured with beside its store.
type options struct {
	clients string // lines of the section clients
	dir     string // of an earlier balancer, to start in; "": a new one
}

// newBalancer starts a balancer and does not wait for it.
func newBalancer(t *testing.T, store string, o options) *instance {
	t.Helper()
	if o.dir == "" {
		o.dir = t.TempDir()
	}
	if o.clients == "" {
		o.clients = "  connect_timeout: 20s\n"
	}
	b := &instance{dir: o.dir, callers: map[string]*http.Client{}}
	proxy, management := balancer.Loopback(balancer.FreePort(t)), balancer.Loopback(balancer.FreePort(t))
	b.proxy, b.management = "http://"+proxy, "http://"+management
	config := fmt.Sprintf(`server: {listen: "%s", shutdown_timeout: 2s}
management: {listen: "%s", api_on_proxy: true}
pools: {main: {backends: [{url: "%s"}]}}
limiter:
  default: {capacity: %d, rate_per_second: %[4]d}
  api_key_header: %s
clients:
  store: "%s"
%s`, proxy, management, backend(t), defaultCapacity, keyHeader, store, o.clients)
	b.Server = balancer.Start(t, balancer.Command(t, binary, b.dir, config))
	t.Cleanup(func() {
		b.closeIdle()
		if t.Failed() {
			t.Logf("the balancer at %s said:\n%s", b.proxy, balancer.Shortened(b.Log.String()))
		}
	})
	return b
}

// startBalancer starts a balancer and waits until it serves.
func startBalancer(t *testing.T, store string, o options) *instance {
	t.Helper()
	b := newBalancer(t, store, o)
	b.awaitServing(t)
	return b
}

// startBalancers starts several on the same store.
func startBalancers(t *testing.T, count int, store string) (all []*instance) {
	t.Helper()
	for range count {
		all = append(all, newBalancer(t, store, options{}))
	}
	for _, b := range all {
		b.awaitServing(t)
	}
	return all
}

func (b *instance) awaitServing(t *testing.T) (took time.Duration) {
	t.Helper()
	return waitFor(t, "the balancer to serve", func() bool {
		if b.HasEnded() {
			t.Fatalf("the balancer has ended:\n%s", balancer.Shortened(b.Log.String()))
		}
		return b.serves() && b.page(t, "/readyz").status == 200 // which comes a moment later
	})
}

// serves reports whether the proxy forwards requests.
func (b *instance) serves() bool {
	a, err := b.request("", "GET", b.proxy+"/", "")
	return err == nil && a.status == 200
}

// restart ends the balancer and starts it again in its folder, with another store.
func (b *instance) restart(t *testing.T, store string, o options) *instance {
	t.Helper()
	b.end(t)
	o.dir = b.dir
	return newBalancer(t, store, o)
}

// end ends the balancer by SIGTERM and waits for it.
func (b *instance) end(t *testing.T) (took time.Duration) {
	t.Helper()
	b.closeIdle()
	return b.End(t, deadline)
}

// caller returns a client that keeps its connections, which come from an address; "" is 127.0.0.1.
func (b *instance) caller(from string) *http.Client {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.callers[from]
	if c == nil {
		dialer := net.Dialer{Timeout: deadline}
		if from != "" {
			dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
		}
		c = &http.Client{Timeout: deadline, Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				return dialer.DialContext(ctx, network, address)
			},
			MaxIdleConnsPerHost: 16,
		}}
		b.callers[from] = c
	}
	return c
}

func (b *instance) closeIdle() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.callers {
		c.CloseIdleConnections()
	}
}

// answer is a whole response.
type answer struct {
	status int
	header http.Header
	body   string
	took   time.Duration
}

// String tells of the response what a failed test needs.
func (a answer) String() string {
	return fmt.Sprintf("%d %.200q after %s %v", a.status, a.body, a.took.Round(time.Millisecond), a.header)
}

// request sends a request from an address; fields are "Name: value".
func (b *instance) request(from, method, url, body string, fields ...string) (answer, error) {
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		r.Header.Add(name, value)
	}
	begun := time.Now()
	res, err := b.caller(from).Do(r)
	if err != nil {
		return answer{took: time.Since(begun)}, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(text), time.Since(begun)}, err
}

// try calls the API at a path below /v1/api.
func (b *instance) try(method, path, body string, fields ...string) (answer, error) {
	return b.request("", method, b.management+"/v1/api"+path, body, fields...)
}

// api is try for a call that has to get a response.
func (b *instance) api(t *testing.T, method, path, body string, fields ...string) answer {
	t.Helper()
	a, err := b.try(method, path, body, fields...)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

// must is api for a call whose status is known.
func (b *instance) must(t *testing.T, status int, method, path, body string, fields ...string) answer {
	t.Helper()
	a := b.api(t, method, path, body, fields...)
	if a.status != status {
		t.Fatalf("%s %s %s: got %s, want %d", method, path, body, a, status)
	}
	return a
}

// page returns the body of a page on the management listener.
func (b *instance) page(t *testing.T, path string) answer {
	t.Helper()
	a, err := b.request("", "GET", b.management+path, "")
	if err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
	return a
}

// metric returns the value of a metric without labels.
func (b *instance) metric(t *testing.T, name string) string {
	t.Helper()
	return balancer.Metric(b.page(t, "/metrics").body, name)
}

var quotaField = regexp.MustCompile(`;q=(\d+)`)

// quota returns the capacity that is enforced for requests from an address, with fields. It costs a
// token.
func (b *instance) quota(t *testing.T, from string, fields ...string) int64 {
	t.Helper()
	a, err := b.request(from, "GET", b.proxy+"/", "", fields...)
	if err != nil {
		t.Fatalf("a request from %s: %v", from, err)
	}
	found := quotaField.FindStringSubmatch(a.header.Get("RateLimit-Policy"))
	if found == nil || a.status != 200 && a.status != 429 {
		t.Fatalf("a request from %s got %s", from, a)
	}
	capacity, err := strconv.ParseInt(found[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return capacity
}

// stale reports whether the API says that its store is away.
func (b *instance) stale(t *testing.T) bool {
	t.Helper()
	return b.api(t, "GET", "/clients/?limit=1", "").header.Get("Lb-Stale") != ""
}

// version is the Lb-Version of a response.
func (a answer) version(t *testing.T) int64 {
	t.Helper()
	text := a.header.Get("Lb-Version")
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatalf("Lb-Version is %q: %s", text, a)
	}
	return n
}

// capacity is that of the client in a response.
func (a answer) capacity(t *testing.T) int64 {
	t.Helper()
	var c struct{ Capacity int64 }
	if err := json.Unmarshal([]byte(a.body), &c); err != nil {
		t.Fatalf("%v: %s", err, a)
	}
	return c.Capacity
}

// at is the body that registers an address.
func at(address string, capacity int64) string {
	return fmt.Sprintf(`{"ip_address":%q,"capacity":%d,"rate_per_second":1}`, address, capacity)
}

// terms is the body that changes a client.
func terms(capacity int64) string {
	return fmt.Sprintf(`{"capacity":%d,"rate_per_second":1}`, capacity)
}

// requireQuota waits until each balancer enforces a capacity for an address.
func requireQuota(t *testing.T, all []*instance, from string, capacity int64, fields ...string) {
	t.Helper()
	for i, b := range all {
		var got int64
		for end := time.Now().Add(5 * time.Second); ; time.Sleep(2 * time.Millisecond) {
			if got = b.quota(t, from, fields...); got == capacity {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("after 5 s balancer %d enforces %d for %s, want %d", i, got, from, capacity)
			}
		}
	}
}
