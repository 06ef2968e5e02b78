package proxy

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"loadbalancer/limiter"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/upstream"
	"loadbalancer/proxy/wire"
)

var backendsOverTLS = flag.Bool("tls-backends", false, "have the raw and the plain backends of most tests speak TLS")

// backendAuthority is the file with the authority of those backends; "": they are in the clear.
var backendAuthority string

var long = flag.Bool("long", false, "run the long forms")

// atOnce is how many parallel tests run at a time, unless -parallel says so. There may be more than
// cores, as nearly all that they do is wait.
const atOnce = 4

func TestMain(m *testing.M) {
	flag.Parse()
	if *backendsOverTLS {
		backendAuthority = writeAuthority()
	}
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		_ = flag.Set("test.parallel", strconv.Itoa(max(atOnce, runtime.GOMAXPROCS(0))))
	}
	code := m.Run()
	if backendAuthority != "" {
		_ = os.Remove(backendAuthority)
	}
	os.Exit(code)
}

// testOptions returns options for one pool of these backends, without limits, which streams bodies.
func testOptions(urls ...string) Options {
	pool := upstream.DefaultPoolConfig()
	pool.Backends = backendConfigs(urls...)
	if pool.TLS.CA = backendAuthority; *backendsOverTLS {
		pool.Timeouts.Connect = 10 * time.Second // with the race detector, a hundred handshakes at once take seconds
	}
	pool.RequestBuffer = 0 // tests of streams send little
	server := DefaultServerConfig()
	server.ShutdownTimeout = 5 * time.Second
	return Options{
		Server:      server,
		Pools:       map[string]upstream.PoolConfig{"main": pool},
		LimitFields: limiter.DefaultConfig().Fields(),
		Logging:     Logging{Access: AccessOff, Log: zerolog.Nop()},
	}
}

// backendConfigs returns the config of backends with these URLs, all of weight 1.
func backendConfigs(urls ...string) (all []upstream.BackendConfig) {
	for _, text := range urls {
		url, err := upstream.ParseURL(text)
		if err != nil {
			panic(err)
		}
		all = append(all, upstream.BackendConfig{URL: url, Weight: 1})
	}
	return all
}

// prefixes parses addresses and ranges, as in server.trusted_proxies.
func prefixes(texts ...string) []Prefix {
	all := make([]Prefix, len(texts))
	for i, text := range texts {
		if err := all[i].UnmarshalText([]byte(text)); err != nil {
			panic(err)
		}
	}
	return all
}

// shortTimeouts are short enough to wait for, and long enough that a busy machine does not run into
// one that is not meant.
func shortTimeouts(o *Options) {
	pool := o.Pools["main"]
	pool.Timeouts.Connect, pool.Timeouts.ResponseHeader = 100*time.Millisecond, 250*time.Millisecond
	if *backendsOverTLS {
		pool.Timeouts.Connect = time.Second
	}
	o.Pools["main"] = pool
	o.Server.ReadHeaderTimeout = 500 * time.Millisecond
	o.Server.BodyTimeout = 500 * time.Millisecond
}

// withAttempts lets a request be tried this often.
func withAttempts(o *Options, attempts int) {
	pool := o.Pools["main"]
	pool.Retry.Attempts = attempts
	o.Pools["main"] = pool
}

func setResponseHeader(o *Options, d time.Duration) {
	pool := o.Pools["main"]
	pool.Timeouts.ResponseHeader = d
	o.Pools["main"] = pool
}

// startProxy serves on a free port until the test ends, and returns the address.
func startProxy(t testing.TB, o Options) (*Proxy, string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return startProxyOn(t, o, ln), ln.Addr().String()
}

// startProxyOn is startProxy with a listener of the caller's.
func startProxyOn(t testing.TB, o Options, ln net.Listener) *Proxy {
	t.Helper()
	p := New(o)
	serveUntilEnd(t, p, ln)
	return p
}

// serveUntilEnd serves until the test ends. Its connections are closed by then, and the proxy is
// given a moment to notice: fasthttp looks every 100 ms only whether one is left.
func serveUntilEnd(t testing.TB, p *Proxy, ln net.Listener) {
	t.Helper()
	serveFrontUntilEnd(t, p, overTLS(t, ln))
}

func serveFrontUntilEnd(t testing.TB, p *Proxy, front Front) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serveAndDrain(ctx, p, front) }()
	t.Cleanup(func() {
		for end := time.Now().Add(30 * time.Millisecond); metric(p, "lb_connections") != "0" && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

// serving is a proxy that the test stops.
type serving struct {
	*Proxy
	address string
	stop    context.CancelFunc
	done    chan error
}

// ended waits for Serve to return.
func (s *serving) ended(t *testing.T, within time.Duration) error {
	t.Helper()
	select {
	case err := <-s.done:
		return err
	case <-time.After(within):
		t.Fatalf("Serve did not return within %s", within)
		return nil
	}
}

func serve(t *testing.T, o Options) *serving {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveFront(t, o, overTLS(t, ln))
}

// serveFront is serve with a front of the caller's.
func serveFront(t *testing.T, o Options, front Front) *serving {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &serving{New(o), front.Addr().String(), cancel, make(chan error, 1)}
	t.Cleanup(cancel)
	go func() { s.done <- serveAndDrain(ctx, s.Proxy, front) }()
	return s
}

// limits makes a limiter with this default limit.
func limits(capacity int64, rate float64) *limiter.Limiter {
	c := limiter.DefaultConfig()
	c.Default.Limit = limiter.Limit{Capacity: capacity, RatePerSecond: rate}
	return limiter.New(c)
}

// ample is a limit that no test reaches.
var ample = limiter.Limit{Capacity: 1_000_000, RatePerSecond: 1_000_000}

// addressID returns the client with an IPv4 address.
func addressID(addr string) limiter.ID {
	return limiter.ID{Prefix: netip.PrefixFrom(netip.MustParseAddr(addr), 32)}
}

// loopback is the client of the tests, unless they say otherwise.
var loopback = addressID("127.0.0.1")

// limitsOf makes a limiter in which loopback has these terms.
func limitsOf(terms limiter.Terms) *limiter.Limiter {
	l := limiter.New(limiter.DefaultConfig())
	l.Set(limiter.Registration{ID: loopback, Terms: terms})
	return l
}

// limitsTold is limits with the fields for a value of limiter.headers.
func limitsTold(headers string, capacity int64, rate float64) (*limiter.Limiter, limiter.Fields) {
	return limits(capacity, rate), limiter.Config{Headers: headers}.Fields()
}

// partner is the client that keyLimits registers, and partnerKey its API key.
var partner = limiter.ID{Name: "partner"}

const partnerKey = "Secret k3y/=="

// keyLimits returns a limiter that knows one key, and the field to look for keys in. A client
// without a key gets one request through.
func keyLimits(header string, terms limiter.Terms) (l *limiter.Limiter, field string) {
	l = limits(1, 0.0001)
	l.Set(limiter.Registration{ID: partner, Keys: [limiter.MaxKeys]limiter.KeyDigest{limiter.DigestKey([]byte(partnerKey))}, Terms: terms})
	return l, limiter.Config{APIKeyHeader: header}.KeyField()
}

// allowed returns the number of the client's requests that have passed.
func allowed(t *testing.T, l *limiter.Limiter, id limiter.ID) int64 {
	t.Helper()
	u, ok := l.Usage(id)
	if !ok {
		t.Fatalf("%s is not registered", id)
	}
	return u.Allowed
}

// underWay returns the number of loopback's requests that the limiter counts as in flight.
func underWay(l *limiter.Limiter) int64 {
	return l.Standing(loopback.Prefix.Addr(), nil).InFlight
}

// apiOf returns an API that any caller may use.
func apiOf(answer fasthttp.RequestHandler) *API {
	return &API{MayUse: func(*fasthttp.RequestCtx) bool { return true }, Answer: answer, Count: func(int) {}}
}

// echoAPI answers with the request's path and body.
func echoAPI(ctx *fasthttp.RequestCtx) {
	ctx.SetStatusCode(201)
	fmt.Fprintf(ctx, "%s %s", ctx.Path(), ctx.PostBody())
}

// eventually waits until a condition holds, and fails if it does not in time.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 10 s for: %s", what)
		}
	}
}

// waitIdle waits until no request is in flight at any backend.
func waitIdle(t testing.TB, p *Proxy) {
	t.Helper()
	busy := regexp.MustCompile(`(?m)^lb_backend_in_flight\{.*\} [^0]`)
	eventually(t, "the backends' connections to be free", func() bool {
		var b bytes.Buffer
		p.WriteMetrics(&b)
		return !busy.Match(b.Bytes())
	})
}

// backendOf returns the backend with this address, which must take requests, of a pool.
func backendOf(t testing.TB, pool *upstream.Pool, address string) *upstream.Backend {
	t.Helper()
	var tried upstream.Tried
	for {
		switch b := pool.Pick(0, time.Now(), &tried); {
		case b == nil:
			t.Fatalf("pool %s has no backend %s", pool.Name(), address)
		case b.Name() == address:
			return b
		}
	}
}

// metric returns a metric's value as text, or "" if there is no such metric.
func metric(p *Proxy, name string) string {
	var b bytes.Buffer
	p.WriteMetrics(&b)
	for line := range strings.Lines(b.String()) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// attemptsAt names the metric that counts the attempts at a backend of pool main with a status.
func attemptsAt(url string, status int) string {
	return fmt.Sprintf("lb_backend_requests_total{pool=\"main\",backend=%q,code=\"%d\"}", nameOf(url), status)
}

// nameOf returns what names the backend of a URL in metrics and in the access log.
func nameOf(url string) string { return strings.TrimPrefix(url, "http://") }

// addressOf returns the address in the URL of a backend.
func addressOf(url string) string {
	return strings.TrimPrefix(nameOf(url), "https://")
}

// errorsWith returns the value of lb_errors_total for a reason.
func errorsWith(p *Proxy, reason string) string {
	return metric(p, fmt.Sprintf("lb_errors_total{reason=%q}", reason))
}

// mustHaveNoErrors fails the test if lb_errors_total has counted anything.
func mustHaveNoErrors(t *testing.T, p *Proxy) {
	t.Helper()
	for why := reason.BadRequest; why < reason.Count; why++ {
		if n := errorsWith(p, why.String()); why.CountedAs() == why && n != "0" {
			t.Errorf("%s errors of %s", n, why)
		}
	}
}

// requestsUnderWay returns the number of requests in flight. The server is asked, as no metric
// counts those that are not at a backend yet.
func requestsUnderWay(p *Proxy) int {
	requests, _ := p.server.UnderWay()
	return int(requests)
}

// logLines collects a log.
type logLines struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

// parsed returns the lines so far.
func (l *logLines) parsed(t *testing.T) (all []map[string]any) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range bytes.Lines(l.all.Bytes()) {
		var m map[string]any
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		all = append(all, m)
	}
	return all
}

// interval is a range of milliseconds, both ends included.
type interval struct{ from, to float64 }

// brief is the duration of a request that waited for nothing.
var brief = interval{0, 1000}

// checkLine compares the fields that are wanted; nil: the field is absent.
func checkLine(t *testing.T, line, want map[string]any) {
	t.Helper()
	for key, value := range want {
		got, there := line[key]
		switch value := value.(type) {
		case nil:
			if there {
				t.Errorf("%s is there: %v", key, got)
			}
		case interval:
			if ms, ok := got.(float64); !ok || ms < value.from || ms > value.to {
				t.Errorf("%s is %v, want %g to %g", key, got, value.from, value.to)
			}
		default:
			if got != value {
				t.Errorf("%s is %v, want %v", key, got, value)
			}
		}
	}
}

// requireMessages compares the messages of all lines.
func requireMessages(t *testing.T, log *logLines, want ...any) {
	t.Helper()
	var got []any
	for _, line := range log.parsed(t) {
		got = append(got, line["message"])
	}
	if !slices.Equal(got, want) {
		t.Errorf("the log says %q, want %q", got, want)
	}
}

// heapInUse returns the bytes that are reachable once two collections have emptied the pools.
func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// The bounds of package http1 that the tests rely on.
const (
	lastChunk          = "0\r\n\r\n"
	maxInterim         = 64       // interim responses to one request
	drainable          = 64 << 10 // of an unread body that a connection survives
	responseBufferSize = 16 << 10 // of the largest response header
	maxLine            = 4 << 10  // of a line of chunk framing
	maxExtension       = 256      // of one chunk's extensions
	maxExtensions      = 16 << 10 // of all of a body's

	cutGrace = wire.WatchAfter + 100*time.Millisecond // from a cut to the end of the requests
)

// serveAndDrain serves until ctx ends, and finishes what is under way.
func serveAndDrain(ctx context.Context, p *Proxy, front Front) error {
	if err := p.Serve(ctx, front); err != nil {
		return err
	}
	return p.Drain()
}
