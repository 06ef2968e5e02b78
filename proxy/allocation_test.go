//go:build !race

package proxy

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"loadbalancer/limiter"
	"loadbalancer/proxy/balance"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/routes"
	"loadbalancer/proxy/upstream"
)

// TestNoAllocations counts what the whole process allocates for a request, from the client's write
// to the end of the response, through a real backend.
func TestNoAllocations(t *testing.T) {
	const (
		small   = "HTTP/1.1 200 OK\r\nServer: test\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\nhello, world"
		inParts = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\n"
	)
	plenty := limits(1_000_000, 1_000_000)
	telling, both := limitsTold("both", 1_000_000, 1_000_000)
	empty := limits(1, 0.0001)
	keyed, field := keyLimits("X-API-Key", limiter.Terms{Limit: ample, MaxInFlight: 1}) // a client without a key gets one request through
	full := limitsOf(limiter.Terms{Limit: ample, MaxInFlight: 1})
	full.Admit(full.Identify(loopback.Prefix.Addr(), nil), time.Now(), new(limiter.Decision)) // and never ends
	exempt := ExemptConfig{Methods: []string{"OPTIONS"}, Paths: []string{"/healthz", "/a/path/that/is/longer/than/what/fits/on/the/stack"}}
	shadow := limitsOf(limiter.Terms{Limit: limiter.Limit{Capacity: 1, RatePerSecond: 0.0001}, Shadow: true})
	for _, test := range []struct {
		name, request, response, want string
		options                       func(*Options)
	}{
		{"GET", "GET /path?query HTTP/1.1\r\nHost: example.com\r\nUser-Agent: test\r\nAccept: */*\r\n\r\n", small, "HTTP/1.1 200 OK",
			func(o *Options) { o.Limiter = plenty }},
		{"POST", "POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 4096\r\n\r\n" + strings.Repeat("p", 4096), small, "HTTP/1.1 200 OK",
			func(o *Options) { o.Limiter = plenty }},
		{"chunked response", "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", inParts, "HTTP/1.1 200 OK",
			func(o *Options) { o.Limiter = plenty }},
		{"429", "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", small, string(reason.Limited.Answer().Head) + "Date: ",
			func(o *Options) { o.Limiter = empty }},
		{"429 to a small chunked body", "POST / HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", small, "HTTP/1.1 429 Too Many Requests",
			func(o *Options) { o.Limiter = empty }},
		{"limits of two", "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", ownLimits + "\r\nok", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nRateLimit-Policy: ",
			func(o *Options) { o.Limiter, o.LimitFields = telling, both }},
		{"API key", "GET / HTTP/1.1\r\nHost: example.com\r\nX-Api-Key: " + partnerKey + "\r\n\r\n", small, "HTTP/1.1 200 OK",
			func(o *Options) { o.Limiter, o.KeyField = keyed, field }},
		{"too many in flight", "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", small, "HTTP/1.1 429 Too Many Requests",
			func(o *Options) { o.Limiter = full }},
		{"absolute form, addresses and Via", "GET https://example.com:443?query HTTP/1.1\r\nHost: example.com\r\nX-Real-IP: a\r\nTrue-Client-IP: b\r\nExpect:\r\n\r\n", small, "HTTP/1.1 200 OK",
			func(o *Options) { o.Server.ClientIPHeader, o.Server.Via = "True-Client-IP", "lb" }},
		{"an address that is believed", "GET //path HTTP/1.1\r\nHost: example.com.\r\nX-Real-IP: 203.0.113.1\r\n\r\n", small, "HTTP/1.1 200 OK",
			func(o *Options) {
				o.Server.ClientIPHeader, o.Server.TrustedProxies = "X-Real-IP", prefixes("127.0.0.1")
				o.Routes, o.Limiter = []routes.Config{{Host: "example.com", Path: "/path", Pool: "main"}}, plenty
			}},
		{"a route that changes much", "GET //v2/./a%2fb?query HTTP/1.1\r\nHost: A.Example.com.:80\r\nX-Beta: 1\r\nX_Debug: 1\r\nX-Api-Key: " + partnerKey + "\r\n\r\n", small, "HTTP/1.1 200 OK\r\nContent-Type",
			func(o *Options) {
				o.Limiter, o.KeyField = keyed, field
				o.Routes = []routes.Config{{Pool: "main"}, {
					Host: "*.example.com", Path: "/v2", Methods: []string{"POST", "GET"}, Headers: routes.Values{"X-Beta": "1"}, Pool: "main",
					StripPrefix: "/v2", Split: []routes.SplitConfig{{Pool: "canary", Percent: 100}},
					RequestHeaders:  routes.FieldsConfig{Set: routes.Values{"X-Team": "a"}, Remove: []string{"X-Debug"}},
					ResponseHeaders: routes.FieldsConfig{Set: routes.Values{"X-Team": "a"}, Remove: []string{"Server"}},
				}}
				canary := o.Pools["main"]
				canary.Host = "api.internal"
				o.Pools["canary"] = canary
			}},
		{"a client that is kept at a backend", "GET / HTTP/1.1\r\nHost: example.com\r\nCookie: a=b; lb=AAAAAAAAAAAAAAAAAAAAAA\r\n\r\n", small, "HTTP/1.1 200 OK",
			func(o *Options) {
				change(o, func(c *upstream.PoolConfig) {
					c.Sticky = upstream.StickyConfig{Cookie: "lb", TTL: time.Hour, Secret: "a secret of the tests"}
				})
			}},
		{"hash by a cookie", "GET / HTTP/1.1\r\nHost: example.com\r\nCookie: a=b; session=c\r\n\r\n", small, "HTTP/1.1 200 OK",
			func(o *Options) {
				change(o, func(c *upstream.PoolConfig) {
					c.Balance, c.Hash = balance.Hash, upstream.HashKey{From: upstream.HashCookie, Name: "session"}
				})
			}},
		{"latency", "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", small, "HTTP/1.1 200 OK",
			func(o *Options) { change(o, func(c *upstream.PoolConfig) { c.Balance = balance.Latency }) }},
		{"shadow mode", "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", small, "HTTP/1.1 200 OK",
			func(o *Options) { o.Limiter = shadow }},
		{"exempt by method", "OPTIONS /path HTTP/1.1\r\nHost: example.com\r\n\r\n", small, "HTTP/1.1 200 OK",
			func(o *Options) { o.Limiter, o.Exempt = empty, exempt }},
		{"exempt by path", "GET /a/path/that/is/longer/than/what/fits/on/the/stack?query HTTP/1.1\r\nHost: example.com\r\n\r\n", small, "HTTP/1.1 200 OK",
			func(o *Options) { o.Limiter, o.Exempt = empty, exempt }},
		{"not exempt", "GET /path HTTP/1.1\r\nHost: example.com\r\n\r\n", small, "HTTP/1.1 200 OK",
			func(o *Options) { o.Limiter, o.Exempt = plenty, exempt }},
		{"blocked", "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", small, "HTTP/1.1 403 Forbidden",
			func(o *Options) { o.Limiter = limitsOf(limiter.Terms{Limit: ample, Blocked: true}) }},
		{"exempt, and too many in flight", "GET /healthz HTTP/1.1\r\nHost: example.com\r\n\r\n", small, "HTTP/1.1 429 Too Many Requests",
			func(o *Options) { o.Limiter, o.Exempt = full, exempt }},
	} {
		t.Run(test.name, func(t *testing.T) {
			length := len(test.request) - strings.Index(test.request, "\r\n\r\n") - 4
			o := testOptions(startRawBackend(t, frugal(length, test.response)))
			test.options(&o)
			_, address := startProxy(t, o)
			mustNotAllocate(t, dial(t, address), test.request, test.want)
		})
	}
}

// TestNoAllocationsForTheAccessLog leaves them to zerolog, which has none.
func TestNoAllocationsForTheAccessLog(t *testing.T) {
	for _, test := range []struct{ name, request, want string }{
		{"GET", "GET /path?query HTTP/1.1\r\nHost: example.com\r\nUser-Agent: a browser\r\n\r\n", "HTTP/1.1 200 OK"},
		{"POST", "POST /path HTTP/1.1\r\nHost: example.com\r\nContent-Length: 0\r\nX-Request-Id: a\r\n\r\n", "HTTP/1.1 200 OK"},
		{"429", "POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 2\r\n\r\nhi", "HTTP/1.1 429 Too Many Requests"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := testOptions(startRawBackend(t, frugal(0, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")))
			o.Access, o.Log = AccessAll, zerolog.New(io.Discard)
			if o.Limiter = limitsOf(limiter.Terms{Limit: ample}); test.name == "429" {
				o.Limiter = limits(1, 0.0001)
			}
			_, address := startProxy(t, o)
			mustNotAllocate(t, dial(t, address), test.request, test.want)
		})
	}
}

// TestNoAllocationsWithClientCertificates has the subject go on and into the log, over TLS.
func TestNoAllocationsWithClientCertificates(t *testing.T) {
	o := testOptions(startRawBackend(t, frugal(0, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")))
	o.Access, o.Log = AccessAll, zerolog.New(io.Discard)
	o.Limiter = limitsOf(limiter.Terms{Limit: ample})
	e := startEdge(t, o, true)
	request := "GET /path HTTP/1.1\r\nHost: example.com\r\nX-Client-Subject: CN=mallory\r\n\r\n"
	// Those are of crypto/tls, one for each record that the balancer or the test's client reads.
	if n := allocations(t, e.dial(t, "example.com", e.certificate(alice)), request, "HTTP/1.1 200 OK"); n > 2 {
		t.Errorf("%v allocations per request, want 2", n)
	}
	mustNotAllocate(t, dial(t, e.clear), request, "HTTP/1.1 200 OK")
}

// mustNotAllocate sends a request over and over on one connection. want is what the answer begins
// with.
func mustNotAllocate(t *testing.T, conn net.Conn, request, want string) {
	t.Helper()
	if n := allocations(t, conn, request, want); n != 0 {
		t.Errorf("%v allocations per request, want 0", n)
	}
}

// allocations returns how many there are for a request.
func allocations(t *testing.T, conn net.Conn, request, want string) (n float64) {
	t.Helper()
	out, in := []byte(request), make([]byte, 4096)
	var got []byte
	exchange := func() {
		if _, err := conn.Write(out); err != nil {
			t.Fatal(err)
		}
		n, err := conn.Read(in)
		if err != nil {
			t.Fatal(err)
		}
		got = in[:n]
	}
	for range 200 { // pools and buffers fill
		exchange()
	}
	n = testing.AllocsPerRun(2000, exchange)
	if !bytes.HasPrefix(got, []byte(want)) {
		t.Errorf("got %q, want it to begin with %q", got, want)
	}
	return n
}

// TestNoAllocationsBehindProxyProtocol has the first request only come with more.
func TestNoAllocationsBehindProxyProtocol(t *testing.T) {
	o := tellingOptions(startRawBackend(t, frugal(0, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")))
	o.Limiter = limits(1_000_000, 1_000_000)
	_, address := startProxy(t, o)
	w := newWire(t, address)
	w.send("PROXY TCP4 192.0.2.1 203.0.113.1 4711 80\r\n")
	mustNotAllocate(t, w.Conn, "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", "HTTP/1.1 200 OK")
}

// TestNoAllocationsOfOursOverTLS counts those of crypto/tls apart: each of its reads from a socket
// allocates 16 bytes. Asking whether an idle connection is quiet is one more such read.
func TestNoAllocationsOfOursOverTLS(t *testing.T) {
	const request, quiet = "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", 1
	url, ca := startTLSBackend(t, frugal(0, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	direct, err := tls.Dial("tcp", addressOf(url), &tls.Config{InsecureSkipVerify: true, DynamicRecordSizingDisabled: true})
	if err != nil {
		t.Fatal(err)
	}
	defer direct.Close()
	own := allocations(t, direct, request, "HTTP/1.1 200 OK")
	_, address := startProxy(t, tlsOptions(ca, url))
	if n := allocations(t, dial(t, address), request, "HTTP/1.1 200 OK"); n > own+quiet {
		t.Errorf("%v allocations per request, want at most the %v of crypto/tls and %d", n, own, quiet)
	}
}

// TestNoAllocationsOverTLS compares a request with the same bytes between two ends of crypto/tls.
func TestNoAllocationsOverTLS(t *testing.T) {
	const request, response = "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	exchange := func(conn net.Conn) float64 {
		out, in := []byte(request), make([]byte, 4096)
		once := func() {
			if _, err := conn.Write(out); err != nil {
				t.Fatal(err)
			}
			if n, err := conn.Read(in); n == 0 || err != nil {
				t.Fatal(err)
			}
		}
		for range 200 { // pools and buffers fill
			once()
		}
		return testing.AllocsPerRun(2000, once)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	front := secureFront(t, ln)
	bare := tls.NewListener(ln, front.TLS)
	defer bare.Close()
	go func() {
		conn, err := bare.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		in, out := make([]byte, 4096), []byte(response)
		for {
			if _, err := conn.Read(in); err != nil {
				return
			}
			if _, err := conn.Write(out); err != nil {
				return
			}
		}
	}()
	without := exchange(dial(t, ln.Addr().String()))
	for _, buffer := range []upstream.Size{0, 64 << 10} {
		o := testOptions(startRawBackend(t, frugal(0, response)))
		o.Limiter = limits(1_000_000, 1_000_000)
		change(&o, func(c *upstream.PoolConfig) { c.ResponseBuffer = buffer })
		_, address := securely(t, o)
		if with := exchange(dial(t, address)); with > without {
			t.Errorf("response_buffer %s: %g allocations per request, %g of them crypto/tls's", buffer, with, without)
		}
	}
	t.Logf("crypto/tls allocates %g times, at both ends", without)
}

func TestIdentifyDoesNotAllocate(t *testing.T) {
	o := testOptions("http://127.0.0.1:1")
	o.Server.TrustedProxies = prefixes("10.0.0.0/8", "2001:db8::/32")
	trust, peer := NewTrust(o.Server), netip.MustParseAddr("10.0.0.1")
	told := forwardedFor(t, "203.0.113.9, [2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:443, 10.0.0.2:80")
	if n := testing.AllocsPerRun(1000, func() { trust.identify(peer, &told) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if got := trust.identify(peer, &told).addr; got != netip.MustParseAddr("203.0.113.9") {
		t.Errorf("the client is %s", got)
	}
}
