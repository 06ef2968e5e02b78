package proxy

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"loadbalancer/limiter"
	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/http1"
	"loadbalancer/proxy/message"
)

// TestExactlyTheCapacityPasses sends ten times the capacity in three ways. The rate is too small to
// add a token meanwhile, and what the client says of its address must not get it another bucket.
func TestExactlyTheCapacityPasses(t *testing.T) {
	const capacity, requests = 5, 50
	request := func(i int) string {
		return fmt.Sprintf("GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 192.0.2.%d\r\nForwarded: for=192.0.2.%d\r\nX-Real-IP: 192.0.2.%d\r\n\r\n", i, i, i)
	}
	count := func(w *rawClient, passed, rejected *atomic.Int32) {
		got, err := w.tryReceive("GET")
		switch {
		case err != nil:
			t.Error(err)
		case got.StatusCode == 200:
			passed.Add(1)
		case got.StatusCode == 429:
			rejected.Add(1)
		}
	}
	for _, test := range []struct {
		name string
		send func(address string, passed, rejected *atomic.Int32)
	}{
		{"one after the other", func(address string, passed, rejected *atomic.Int32) {
			w := newWire(t, address)
			for i := range requests {
				w.send(request(i))
				count(w, passed, rejected)
			}
		}},
		{"pipelined", func(address string, passed, rejected *atomic.Int32) {
			w := newWire(t, address)
			var all strings.Builder
			for i := range requests {
				all.WriteString(request(i))
			}
			w.send(all.String())
			for range requests {
				count(w, passed, rejected)
			}
		}},
		{"in parallel", func(address string, passed, rejected *atomic.Int32) {
			var clients sync.WaitGroup
			start := make(chan struct{})
			for i := range requests {
				w := newWire(t, address)
				clients.Go(func() {
					<-start
					w.send(request(i))
					count(w, passed, rejected)
				})
			}
			close(start)
			clients.Wait()
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var passed, rejected atomic.Int32
			o := testOptions(startRawBackend(t, answerAll("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")))
			o.Limiter = limits(capacity, 0.001)
			p, address := startProxy(t, o)
			test.send(address, &passed, &rejected)
			if passed.Load() != capacity || rejected.Load() != requests-capacity {
				t.Errorf("%d passed and %d were rejected, want %d and %d", passed.Load(), rejected.Load(), capacity, requests-capacity)
			}
			eventually(t, "lb_limited_total", func() bool { return metric(p, "lb_limited_total") == fmt.Sprint(requests-capacity) })
		})
	}
}

// TestClientsBehindATrustedProxy have a bucket each.
func TestClientsBehindATrustedProxy(t *testing.T) {
	o := testOptions(startRawBackend(t, answerAll("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")))
	o.Limiter = limits(1, 0.001)
	o.Server.TrustedProxies = prefixes("127.0.0.0/8")
	_, address := startProxy(t, o)
	w := newWire(t, address)
	for _, want := range []int{200, 429} {
		for i := range 10 {
			w.send(fmt.Sprintf("GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 198.51.100.1, 192.0.2.%d\r\n\r\n", i))
			if got := w.receive("GET"); got.StatusCode != want {
				t.Errorf("client %d got %d, want %d", i, got.StatusCode, want)
			}
		}
	}
}

// TestIPv6NetworkIsOneClient, however a trusted proxy writes its addresses.
func TestIPv6NetworkIsOneClient(t *testing.T) {
	url := startRawBackend(t, answerAll("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	for prefix, addresses := range map[int][]struct {
		addr string
		want int
	}{
		64: {
			{"2001:db8:0:1::1", 200}, {"2001:db8:0:1:ffff:ffff:ffff:ffff", 429}, {"[2001:db8:0:1::2]:443", 429}, {"2001:0DB8::1:0:0:0:3", 429}, {"2001:db8:0:2::1", 200},
			{"192.0.2.1", 200}, {"::ffff:192.0.2.1", 429}, {"[::ffff:c000:201]:80", 429}, {"192.0.2.1:4711", 429}, {"192.0.2.2", 200}, {"2001:db8::1%eth0, 2001:db8:0:2::9", 429},
		},
		56: {{"2001:db8:0:1::1", 200}, {"2001:db8:0:2::1", 429}, {"2001:db8:0:100::1", 200}, {"192.0.2.1", 200}, {"192.0.2.2", 200}},
	} {
		config := limiter.DefaultConfig()
		config.Default.Limit, config.IPv6Prefix = limiter.Limit{Capacity: 1, RatePerSecond: 0.001}, prefix
		o := testOptions(url)
		o.Limiter = limiter.New(config)
		o.Server.TrustedProxies = prefixes("127.0.0.1")
		_, address := startProxy(t, o)
		w := newWire(t, address)
		for _, test := range addresses {
			w.send("GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: " + test.addr + "\r\n\r\n")
			if got := w.receive("GET"); got.StatusCode != test.want {
				t.Errorf("/%d: %s got %d, want %d", prefix, test.addr, got.StatusCode, test.want)
			}
		}
	}
}

// oddFields are what clients send to pass for another client.
var oddFields = []string{
	"X-Forwarded-For: 192.0.2.%d", "x-forwarded-for: 192.0.2.%[1]d\r\nX-FORWARDED-FOR: 198.51.100.%[1]d", "X-Forwarded-For: ::ffff:192.0.2.%d", "X-Forwarded-For: [2001:db8:%d::1]:443",
	"X-Forwarded-For: 127.0.0.1, 192.0.2.%d", "X-Forwarded-For:\r\nX-Forwarded-For: 192.0.2.%d", "Forwarded: for=192.0.2.%d", "X-Real-IP: 192.0.2.%d", "True-Client-IP: 192.0.2.%d",
	"X-Client-IP: 192.0.2.%d", "CF-Connecting-IP: 192.0.2.%d", "X-Forwarded-Host: h%d", "X-Forwarded-Proto: https%d", "X-API-Key: %d", "Authorization: Bearer %d", "Cookie: session=%d",
	"Via: 1.1 proxy%d", "Connection: X-Forwarded-For, a%d\r\nX-Forwarded-For: 192.0.2.1", "Connection: RateLimit\r\nRateLimit: \"default\";r=%d;t=0", "User-Agent: %d", "A: 1\r\nA: 2\r\na: %d",
}

// oddRequests are spellings of a request that leave the connection where the next begins.
var oddRequests = []string{
	"GET / HTTP/1.1\r\nHost: h\r\n", "GET / HTTP/1.1\r\nhOST:h\r\n", "\r\nGET / HTTP/1.1\r\nHost: h\r\n", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n", "GET / HTTP/1.0\r\nHost:\r\nConnection: Keep-Alive\r\n",
	"get / HTTP/1.1\r\nHost: h\r\n", "PURGE / HTTP/1.1\r\nHost: h\r\n", "OPTIONS * HTTP/1.1\r\nHost: h\r\n", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n",
	"GET //h/ HTTP/1.1\r\nHost: h\r\n", "GET //v1/api/ HTTP/1.1\r\nHost: h\r\n", "GET http://h//v1/api/ HTTP/1.1\r\nHost: h:80\r\n", "GET https://h?/v1/api/ HTTP/1.1\r\nHost: h:443\r\n", "GET / HTTP/1.1\r\nHost: h.\r\nExpect:\r\n",
	"GET http://h/ HTTP/1.1\r\nHost: h\r\n", "GET HTTP://H HTTP/1.1\r\nHost: h\r\n", "GET http://h:80/ HTTP/1.1\r\nHost: h:80\r\n", "GET /./ HTTP/1.1\r\nHost: h\r\n", "GET /%2e%2e/ HTTP/1.1\r\nHost: h\r\n",
	"GET /a/../ HTTP/1.1\r\nHost: other\r\n", "GET /a//b HTTP/1.1\r\nHost: h\r\n", "GET /?a=/v1/api/ HTTP/1.1\r\nHost: h\r\n", "GET /v1/api HTTP/1.1\r\nHost: h\r\n", "GET /V1/API/ HTTP/1.1\r\nHost: h\r\n",
	"GET /v1/%61pi/ HTTP/1.1\r\nHost: h\r\n", "GET /./v1/api/ HTTP/1.1\r\nHost: h\r\n", "GET http://h/v1//api/ HTTP/1.1\r\nHost: h\r\n", "GET / HTTP/1.1\r\nHost: localhost\r\n",
}

// TestNoSpellingBuysAToken sends 200 requests of every spelling at once, on one connection: as many
// pass as the bucket holds, and no more reach a backend.
func TestNoSpellingBuysAToken(t *testing.T) {
	const capacity, requests = 7, 200
	url, seen := startRequestCounter(t)
	for seed, fields := range oddFields {
		o := testOptions(url)
		o.Limiter = limits(capacity, 0.001)
		o.API = apiOf(func(*fasthttp.RequestCtx) { t.Error("a request reached the API") })
		_, address := startProxy(t, o)
		seen.Store(0)
		var all strings.Builder
		for i := range requests {
			all.WriteString(oddRequests[(seed+i)%len(oddRequests)] + fmt.Sprintf(fields, i) + "\r\n\r\n")
		}
		w := newWire(t, address)
		w.send(all.String())
		passed := 0
		for i := range requests {
			switch got := w.receive("GET"); got.StatusCode {
			case 200:
				passed++
			case 429:
			default:
				t.Fatalf("%q: request %d, %q: got %d", fields, i, oddRequests[(seed+i)%len(oddRequests)], got.StatusCode)
			}
		}
		if passed != capacity || seen.Load() != capacity {
			t.Errorf("%q: %d passed and %d reached the backend, want %d", fields, passed, seen.Load(), capacity)
		}
	}
}

// TestNoFramingBuysAToken tries what ends the connection, once the bucket is empty.
func TestNoFramingBuysAToken(t *testing.T) {
	url, seen := startRequestCounter(t)
	o := testOptions(url)
	o.Limiter = limits(1, 0.001)
	_, address := startProxy(t, o)
	if got := status(t, address, get("/")); got != 200 {
		t.Fatalf("the first request got %d", got)
	}
	smuggled := "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
	for _, request := range []string{
		withHost("POST / HTTP/1.1", "Content-Length: 5", "Expect: 100-continue", "Connection: close") + "hello",
		withHost("POST / HTTP/1.1", "Transfer-Encoding: chunked", "Connection: close") + inChunks([]byte(smuggled)),
		withHost("POST / HTTP/1.1", "Content-Length: 1000000"),
		withHost("POST / HTTP/1.1", fmt.Sprintf("Content-Length: %d", len(smuggled)), "Connection: close") + smuggled,
		withHost("POST / HTTP/1.1", "Content-Length: 0", "Transfer-Encoding: chunked") + "0\r\n\r\n" + smuggled,
		withHost("POST / HTTP/1.1", "Content-Length: 0", fmt.Sprintf("Content-Length: %d", len(smuggled))) + smuggled,
		withHost("GET / HTTP/1.1", "Upgrade: websocket", "Connection: upgrade, close"),
		withHost("GET / HTTP/1.1", "Host: other"), withHost("GET / HTTP/1.1", "X_Forwarded_For: 192.0.2.1"),
		withHost("GET / HTTP/1.1", "X-Forwarded-For : 192.0.2.1"), withHost("GET / HTTP/1.1", " X-Forwarded-For: 192.0.2.1"),
		"GET / HTTP/1.0\r\n\r\n", "GET http://other/ HTTP/1.1\r\nHost: h\r\n\r\n", "GET / HTTP/1.1\n\n", proxyV1 + get("/"),
	} {
		if got := talk(t, address, request); strings.Contains(got, "HTTP/1.1 2") || !strings.HasPrefix(got, "HTTP/1.1 4") {
			t.Errorf("%.80q: got %q", request, got)
		}
	}
	if got := seen.Load(); got != 1 {
		t.Errorf("%d requests reached the backend, want 1", got)
	}
}

func TestRateLimitFields(t *testing.T) {
	o := testOptions(startRawBackend(t, answerAll(lines("HTTP/1.1 200 OK", "Content-Length: 2")+"ok")))
	o.Limiter = limits(1, 0.01)
	_, address := startProxy(t, o)
	got := withoutIDs(t, 1, talk(t, address, get("/")))
	if want := lines("HTTP/1.1 200 OK", "Content-Length: 2", `RateLimit-Policy: "default";q=1;w=100`, `RateLimit: "default";r=0;t=100`, "Connection: close") + "ok"; got != want {
		t.Errorf("admitted: got\n%q, want\n%q", got, want)
	}
	got = talk(t, address, get("/"))
	for _, want := range []string{"HTTP/1.1 429 ", `RateLimit-Policy: "default";q=1;w=100`, `RateLimit: "default";r=0;t=100`, "Retry-After: 100", `"reason":"limited"`} {
		if !strings.Contains(got, want) {
			t.Errorf("rejected: %q is missing in %q", want, got)
		}
	}
}

// backendLimits are the fields of a backend that limits its clients too.
const backendLimits = "ratelimit: \"b\";r=1;t=2\r\nRateLimit-Policy: \"b\";q=3;w=4\r\nRATELIMIT-POLICY: \"c\";q=5;w=6\r\n" +
	"X-RateLimit-Limit: 7\r\nx-ratelimit-remaining: 8\r\nX-Ratelimit-Reset: 9\r\n"

const ownLimits = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + backendLimits

// limitFieldsOf returns the lines of an answer that speak of limits.
func limitFieldsOf(answer string) []string {
	header, _, _ := strings.Cut(answer, "\r\n\r\n")
	return slices.DeleteFunc(strings.Split(header, "\r\n"), func(line string) bool {
		line = strings.ToLower(line)
		return !strings.Contains(line, "ratelimit") && !strings.HasPrefix(line, "retry-after")
	})
}

// TestLimitFields has a backend that tells of limits of its own. What the balancer tells takes the
// place of what the backend does under the same names, and of nothing else.
func TestLimitFields(t *testing.T) {
	backends := strings.Split(strings.TrimSpace(backendLimits), "\r\n")
	standard := []string{`RateLimit-Policy: "default";q=1;w=100`, `RateLimit: "default";r=0;t=100`}
	legacy := []string{"X-RateLimit-Limit: 1", "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 100"}
	url := startRawBackend(t, answerAll(ownLimits+"\r\nok"))
	for _, test := range []struct {
		headers string
		passes  []string // of the backend's
		tells   []string
	}{
		{"standard", backends[3:], standard},
		{"legacy", backends[:3], legacy},
		{"both", nil, slices.Concat(standard, legacy)},
		{"off", backends, nil},
	} {
		t.Run(test.headers, func(t *testing.T) {
			o := testOptions(url)
			o.Limiter, o.LimitFields = limitsTold(test.headers, 1, 0.01)
			_, address := startProxy(t, o)
			got := talk(t, address, get("/"))
			if fields := limitFieldsOf(got); !strings.HasPrefix(got, "HTTP/1.1 200 ") || !slices.Equal(fields, slices.Concat(test.passes, test.tells)) {
				t.Errorf("admitted: got %q in %q", fields, got)
			}
			got = talk(t, address, get("/"))
			if fields := limitFieldsOf(got); !strings.HasPrefix(got, "HTTP/1.1 429 ") || !slices.Equal(fields, append(test.tells, "Retry-After: 100")) {
				t.Errorf("rejected: got %q in %q", fields, got)
			}
		})
	}
	t.Run("no client is limited", func(t *testing.T) {
		_, address := startProxy(t, testOptions(url))
		if got := limitFieldsOf(talk(t, address, get("/"))); !slices.Equal(got, backends) {
			t.Errorf("got %q", got)
		}
	})
}

// TestBackendThatLimits checks that a backend's own 429 keeps the backend's limit fields, without
// ours, which would say that tokens are left.
func TestBackendThatLimits(t *testing.T) {
	const retry = "Retry-After: 60\r\n"
	for _, headers := range []string{"standard", "legacy", "both", "off"} {
		o := testOptions(startRawBackend(t, answerAll("HTTP/1.1 429 Slow Down\r\nContent-Length: 0\r\n"+backendLimits+retry+"\r\n")))
		o.Limiter, o.LimitFields = limitsTold(headers, 100, 1)
		_, address := startProxy(t, o)
		if got := strings.Join(limitFieldsOf(talk(t, address, get("/"))), "\r\n") + "\r\n"; got != backendLimits+retry {
			t.Errorf("%s: got %q", headers, got)
		}
	}
}

// TestLimitFieldsElsewhere checks that a backend's Retry-After passes, while limit fields in its
// trailers are dropped as in its header, and so are those that Connection names.
func TestLimitFieldsElsewhere(t *testing.T) {
	for _, test := range []struct{ name, headers, response, want string }{
		{"Retry-After of a backend", "both", lines("HTTP/1.1 503 Service Unavailable", "Retry-After: 7", "Content-Length: 0"),
			"Retry-After: 7\r\nContent-Length: 0\r\n" + `RateLimit-Policy: "default";q=9;w=9000` + "\r\n"},
		{"trailers", "standard", lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + "0\r\nA: 1\r\nRateLimit: \"b\";r=1;t=2\r\nX-RateLimit-Limit: 3\r\n\r\n",
			"\r\n\r\n0\r\nA: 1\r\nX-RateLimit-Limit: 3\r\n\r\n"},
		{"trailers, off", "off", lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + "0\r\nRateLimit: \"b\";r=1;t=2\r\n\r\n",
			"\r\n\r\n0\r\nRateLimit: \"b\";r=1;t=2\r\n\r\n"},
		{"named by Connection, off", "off", lines("HTTP/1.1 200 OK", "Connection: RateLimit", "RateLimit: \"b\";r=1;t=2", "A: 1", "Content-Length: 0"),
			"HTTP/1.1 200 OK\r\nA: 1\r\n"},
		{"interim response", "off", lines("HTTP/1.1 103 Early Hints", "Link: a") + lines("HTTP/1.1 200 OK", "Content-Length: 0"),
			"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := testOptions(startRawBackend(t, answerAll(test.response)))
			o.Limiter, o.LimitFields = limitsTold(test.headers, 9, 0.001)
			o.Server.EarlyHints = true
			_, address := startProxy(t, o)
			if got := withoutIDs(t, 1, talk(t, address, get("/"))); !strings.Contains(got, test.want) {
				t.Errorf("got\n%q, which lacks\n%q", got, test.want)
			}
		})
	}
}

// TestRequestsKeepLimitFields checks that limit fields of a request go on: the backend may want
// them.
func TestRequestsKeepLimitFields(t *testing.T) {
	url, seen := startRecordingBackend(t)
	o := testOptions(url)
	o.Limiter, o.LimitFields = limitsTold("both", 9, 0.001)
	_, address := startProxy(t, o)
	talk(t, address, strings.Replace(get("/"), "Connection", backendLimits+"Connection", 1))
	if got := <-seen; !strings.Contains(got, backendLimits) {
		t.Errorf("got %q", got)
	}
}

// TestLimitFieldsAreReplaced compares the two lists: exactly the fields that the limiter writes are
// dropped from a response.
func TestLimitFieldsAreReplaced(t *testing.T) {
	names := []string{
		"RateLimit", "RateLimit-Policy", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset",
		"Retry-After", "RateLimit-Limit", "RateLimit-Reset", "X-RateLimit", "X-RateLimit-Used", "X-RateLimit-Limits", "X_RateLimit_Limit",
		"Set-Cookie", "Last-Modified", "X-Frame-Options", "X-Permitted-Policies",
	}
	for headers, count := range map[string]int{"standard": 2, "legacy": 3, "both": 5, "off": 0} {
		f, had := limiter.Config{Headers: headers}.Fields(), 0
		written := string(f.Append(nil, limiter.Decision{Capacity: 1, RetryAfter: 1, Reset: 1, Window: 1}))
		for _, name := range names {
			want := name != "Retry-After" && strings.Contains("\r\n"+written, "\r\n"+name+": ")
			for _, spelled := range []string{name, strings.ToLower(name), strings.ToUpper(name)} {
				var r message.Response
				if !r.Parse([]byte(lines("HTTP/1.1 200 OK", spelled+": 1")), false) {
					t.Fatalf("%s is refused", spelled)
				}
				if got := !strings.Contains(string(r.AppendHeader(nil, false, limitFields(f), nil)), spelled); got != want {
					t.Errorf("%s: %s is replaced: %v", headers, spelled, got)
				}
			}
			if want {
				had++
			}
		}
		if had != count {
			t.Errorf("%s: %d fields are written, want %d", headers, had, count)
		}
	}
}

// startAtTimes serves a proxy for which each request has come at the time that is set. It replaces
// the proxy's server, as no option sets the time.
func startAtTimes(t *testing.T, o Options) (at *atomic.Pointer[time.Time], address string) {
	t.Helper()
	at = new(atomic.Pointer[time.Time])
	p := New(o)
	p.server = http1.NewServer(http1.Options{
		Bounds:        http1.Bounds{ReadHeaderTimeout: time.Minute, IdleTimeout: time.Minute, ShutdownTimeout: time.Second},
		MaxHeaderSize: 16 << 10,
		Proxied:       p.isProxied, Log: zerolog.Nop(),
		Handle: func(s ends.Stream) {
			s.Started = *at.Load()
			p.handle(s)
		},
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveUntilEnd(t, p, ln)
	return at, ln.Addr().String()
}

// TestRetryAfterIsExact checks that a retry one millisecond before the next token comes is
// rejected, and one at that instant admitted. A retry after the whole seconds of Retry-After is
// admitted, and that is not a second too many.
func TestRetryAfterIsExact(t *testing.T) {
	url := startRawBackend(t, answerAll("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	for _, test := range []struct {
		rate    float64
		wait    time.Duration // for one token
		seconds int           // the same, as Retry-After says it
	}{
		{0.1, 10 * time.Second, 10},
		{0.3, 3333333334 * time.Nanosecond, 4}, // the first nanosecond that is not before the instant
		{0.5, 2 * time.Second, 2},
		{0.7, 1428571429 * time.Nanosecond, 2},
		{1, time.Second, 1},
		{7, 142857143 * time.Nanosecond, 1},
		{500, 2 * time.Millisecond, 1},
	} {
		o := testOptions(url)
		const capacity = 3
		o.Limiter = limits(capacity, test.rate)
		at, address := startAtTimes(t, o)
		w := newWire(t, address)
		t0 := time.Now().Add(time.Hour)
		expect := func(after time.Duration, want int) answer {
			t.Helper()
			now := t0.Add(after)
			at.Store(&now)
			w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			got := w.receive("GET")
			if got.StatusCode != want {
				t.Errorf("%v per second: %d after %s, want %d", test.rate, got.StatusCode, after, want)
			}
			return got
		}
		for range capacity {
			expect(0, 200)
		}
		if got := expect(0, 429).Header.Get("Retry-After"); got != strconv.Itoa(test.seconds) {
			t.Errorf("%v per second: Retry-After is %q, want %d", test.rate, got, test.seconds)
		}
		expect(test.wait-time.Millisecond, 429)
		expect(test.wait-1, 429)
		expect(test.wait, 200)
		got := expect(test.wait, 429)
		wait, _ := strconv.Atoi(got.Header.Get("Retry-After"))
		expect(test.wait+time.Duration(wait)*time.Second, 200)
	}
}

// TestRetryAfterOnTheWire waits as a client would. The clock runs while a request is on its way, so
// its instant is known to lie between two times only; a retry that has come a millisecond before
// the first of them is too early for certain.
func TestRetryAfterOnTheWire(t *testing.T) {
	o := testOptions(startRawBackend(t, answerAll("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")))
	const token = time.Second
	o.Limiter = limits(1, 1)
	_, address := startProxy(t, o)
	w := newWire(t, address)
	ask := func() (got answer, sent, received time.Time) {
		sent = time.Now()
		w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		got = w.receive("GET")
		return got, sent, time.Now()
	}
	for try := 1; ; try++ {
		got, first, _ := ask()
		if got.StatusCode != 200 {
			t.Fatalf("the first request got %d", got.StatusCode)
		}
		rejected, _, received := ask()
		if received.Sub(first) < token && rejected.StatusCode != 429 {
			t.Errorf("the second request got %d", rejected.StatusCode)
		}
		time.Sleep(time.Until(first.Add(token - 3*time.Millisecond)))
		early, _, late := ask()
		if early.StatusCode != 429 {
			if late.Sub(first) <= token-time.Millisecond {
				t.Errorf("%s after the first request got %d", late.Sub(first), early.StatusCode)
			}
			if try == 5 {
				t.Fatalf("a request took more than 3 ms, %d times", try)
			}
			time.Sleep(time.Until(late.Add(token))) // it was too late to be early, and has the token
			continue
		}
		seconds, err := strconv.Atoi(rejected.Header.Get("Retry-After"))
		if err != nil || seconds != 1 {
			t.Fatalf("Retry-After is %q", rejected.Header.Get("Retry-After"))
		}
		time.Sleep(time.Until(received.Add(time.Duration(seconds) * time.Second)))
		if got, _, _ := ask(); got.StatusCode != 200 {
			t.Errorf("after the %d s of Retry-After: got %d", seconds, got.StatusCode)
		}
		return
	}
}

// TestShadowMode lets pass what is beyond a limit, tells the client nothing of the limit, and tells
// the operator by the metric and the log.
func TestShadowMode(t *testing.T) {
	scarce := limiter.Limit{Capacity: 2, RatePerSecond: 0.0001}
	byDefault := limiter.DefaultConfig()
	byDefault.Default, byDefault.Headers = limiter.Default{Limit: scarce, Shadow: true}, "both"
	registered := limiter.DefaultConfig()
	registered.Headers = "both"
	for _, test := range []struct {
		name   string
		config limiter.Config
		terms  limiter.Terms // of loopback; the zero value: it is not registered
	}{
		{"registered", registered, limiter.Terms{Limit: scarce, Shadow: true}},
		{"other clients", byDefault, limiter.Terms{}},
	} {
		for _, access := range []Access{AccessOff, AccessErrors, AccessAll} {
			t.Run(test.name+", log "+string(access), func(t *testing.T) {
				var log logLines
				o := testOptions(startRawBackend(t, answerAll(ownLimits+"\r\nok")))
				o.Limiter, o.LimitFields = limiter.New(test.config), test.config.Fields()
				o.Access, o.Log = access, zerolog.New(&log)
				if test.terms != (limiter.Terms{}) {
					o.Limiter.Set(limiter.Registration{ID: loopback, Terms: test.terms})
				}
				p, address := startProxy(t, o)
				for range 5 {
					got := talk(t, address, get("/"))
					own := strings.Split(strings.TrimSpace(backendLimits), "\r\n")
					if fields := limitFieldsOf(got); !strings.HasPrefix(got, "HTTP/1.1 200 ") || !slices.Equal(fields, own) {
						t.Errorf("got %q, of limits the backend's alone are wanted", got)
					}
				}
				eventually(t, "the counts", func() bool {
					return metric(p, "lb_shadow_limited_total") == "3" && metric(p, "lb_limited_total") == "0" && errorsWith(p, "limited") == "0"
				})
				want := map[Access][]any{AccessOff: nil, AccessErrors: {"limited", "limited", "limited"}, AccessAll: {nil, nil, "limited", "limited", "limited"}}[access]
				eventually(t, "the log", func() bool { return len(log.parsed(t)) >= len(want) })
				var shadows []any
				for _, line := range log.parsed(t) {
					shadows = append(shadows, line["shadow"])
					if line["status"] != 200. || line["reason"] != nil || line["level"] != "info" {
						t.Errorf("logged %v", line)
					}
				}
				if !slices.Equal(shadows, want) {
					t.Errorf("shadow in the log: %v, want %v", shadows, want)
				}
			})
		}
	}
}

// TestShadowOfTooMany has two requests at the backend where one may be.
func TestShadowOfTooMany(t *testing.T) {
	var log logLines
	release, entered := make(chan bool), make(chan bool)
	o := testOptions(startHoldingBackend(t, entered, release))
	o.Limiter = limitsOf(limiter.Terms{Limit: ample, MaxInFlight: 1, Shadow: true})
	o.Access, o.Log = AccessErrors, zerolog.New(&log)
	p, address := startProxy(t, o)
	wires := []*rawClient{newWire(t, address), newWire(t, address)}
	for i, w := range wires {
		w.send(fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: h\r\n\r\n", i))
		<-entered
	}
	if n := underWay(o.Limiter); n != 2 {
		t.Errorf("%d requests are under way, want 2", n)
	}
	close(release)
	for _, w := range wires {
		if got := w.receive("GET"); got.StatusCode != 200 || got.Header.Get("RateLimit") != "" {
			t.Errorf("got %d, %v", got.StatusCode, got.Header)
		}
	}
	eventually(t, "the count", func() bool { return metric(p, "lb_shadow_limited_total") == "1" })
	eventually(t, "the log", func() bool { return len(log.parsed(t)) == 1 })
	if line := log.parsed(t)[0]; line["shadow"] != "too_many_in_flight" || line["path"] != "/1" || line["status"] != 200. {
		t.Errorf("logged %v", line)
	}
	eventually(t, "nothing to be under way", func() bool { return underWay(o.Limiter) == 0 })
}
