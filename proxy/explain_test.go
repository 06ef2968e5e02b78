package proxy

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"loadbalancer/limiter"
	"loadbalancer/proxy/balance"
	"loadbalancer/proxy/routes"
	"loadbalancer/proxy/upstream"
)

// explained puts a question from 192.0.2.1 to a proxy with these options.
func explained(t *testing.T, o Options, method, url string, headers ...string) Explanation {
	t.Helper()
	e, err := New(o).Explain(Question{Method: method, URL: url, From: netip.MustParseAddr("192.0.2.1"), Headers: headers})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestExplainRefusals(t *testing.T) {
	o := testOptions("http://127.0.0.1:1")
	o.Server.MaxBodySize, o.Server.MaxHeaderSize = 10, 1<<10
	o.Routes = []routes.Config{{Host: "example.com", Path: "/a", Pool: "main"}}
	for _, test := range []struct {
		name, method, url string
		headers           []string
		want              string // the reason; "" if it would be forwarded
	}{
		{"forwarded", "GET", "http://example.com/a", nil, ""},
		{"another path", "GET", "http://example.com/b", nil, "no_route"},
		{"another host", "GET", "/a", []string{"Host: other"}, "no_route"},
		{"two hosts", "GET", "/a", []string{"Host: example.com", "Host: example.com"}, "bad_request"},
		{"a large body", "POST", "http://example.com/a", []string{"Content-Length: 11"}, "body_too_large"},
		{"an expectation", "POST", "http://example.com/a", []string{"Expect: b"}, "bad_request"},
		{"CONNECT", "CONNECT", "http://example.com/a", nil, "bad_request"},
		{"a query and no path", "GET", "http://example.com?/a", nil, "no_route"},
		{"a user and a fragment", "GET", "http://user:word@example.com/a#b", nil, ""},
		{"two slashes are no host", "GET", "//a", []string{"Host: example.com"}, ""},
		{"dots", "GET", "http://example.com/x/../%61", nil, ""},
		{"an ambiguous path", "GET", "http://example.com/x/..%2fa", nil, "bad_request"},
		{"a backslash", "GET", `http://example.com/x/..\a`, nil, "bad_request"},
		{"a broken escape", "GET", "/%zz", []string{"Host: example.com"}, "bad_request"},
		{"no path and no URL", "GET", "a/b", []string{"Host: example.com"}, "bad_request"},
		{"a header as large as allowed", "GET", "/a", []string{"Host: example.com", "A: " + strings.Repeat("a", 1<<10-len("GET /a HTTP/1.1\r\nHost: example.com\r\nA: \r\n\r\n"))}, ""},
		{"a larger header", "GET", "/a", []string{"Host: example.com", "A: " + strings.Repeat("a", 1<<10-len("GET /a HTTP/1.1\r\nHost: example.com\r\nA: \r\n\r\n")+1)}, "header_too_large"},
		{"a method that is no token", "G(T", "http://example.com/a", nil, "bad_request"},
		{"no method", "", "http://example.com/a", nil, "bad_request"},
		{"a space in the method", "GET /", "http://example.com/a", nil, "bad_request"},
		{"a space in the path", "GET", "http://example.com/a b", nil, "bad_request"},
		{"a space in the host", "GET", "http://example .com/a", nil, "bad_request"},
		{"a space in a field's name", "GET", "http://example.com/a", []string{"A : 1"}, "bad_request"},
	} {
		e := explained(t, o, test.method, test.url, test.headers...)
		switch {
		case test.want == "" && e.Refused == nil:
		case e.Refused == nil || e.Refused.Reason != test.want || e.Refused.Status < 400 || e.Refused.Detail == "":
			t.Errorf("%s: refused %+v, want %q", test.name, e.Refused, test.want)
		case (e.Refused.Cause == "") != (test.want == "no_route"):
			t.Errorf("%s: the cause is %q", test.name, e.Refused.Cause)
		}
	}
	for _, q := range []Question{
		{Method: "GET", URL: "/", From: netip.Addr{}}, {Method: "GET", URL: "", From: netip.IPv6Loopback()},
		{Method: "GET", URL: "/ HTTP/1.1\r\nA: 1", From: netip.IPv6Loopback()}, {Method: "GET / HTTP/1.1\r\nA: 1\r\n\r\nGET", URL: "/", From: netip.IPv6Loopback()},
		{Method: "GET", URL: "/", From: netip.IPv6Loopback(), Headers: []string{"A: 1\r\nB: 2"}}, {Method: "GET", URL: "/", From: netip.IPv6Loopback(), Headers: []string{"A"}},
	} {
		if e, err := New(o).Explain(q); err == nil {
			t.Errorf("%+v is explained: %+v", q, e)
		}
	}
}

// TestExplainOfTheAPI wants the API's paths to go to no pool where it answers, and like others
// where it does not.
func TestExplainOfTheAPI(t *testing.T) {
	o := testOptions("http://127.0.0.1:1")
	for _, served := range []bool{false, true} {
		if o.API = nil; served {
			o.API = &API{}
		}
		for path, isCall := range map[string]bool{"/v1/api/clients/": served, "/v1/api": false, "/": false} {
			e := explained(t, o, "GET", path)
			if (e.API != "") != isCall || (e.Pool == nil) != isCall || e.Client == nil || e.Refused != nil {
				t.Errorf("%s, served %t: %+v", path, served, e)
			}
		}
	}
}

// TestExplainClient asks for whom a request counts, and takes no token by asking.
func TestExplainClient(t *testing.T) {
	o := testOptions("http://127.0.0.1:1")
	l := limits(3, 0.001)
	l.Set(limiter.Registration{ID: limiter.ID{Prefix: netip.MustParsePrefix("203.0.113.0/24")}, Terms: limiter.Terms{Limit: limiter.Limit{Capacity: 7, RatePerSecond: 1}, MaxInFlight: 2}})
	l.Set(limiter.Registration{ID: limiter.ID{Prefix: netip.MustParsePrefix("192.0.2.9/32")}, Terms: limiter.Terms{Limit: limiter.Limit{Capacity: 8, RatePerSecond: 1}, Shadow: true}})
	l.Set(limiter.Registration{ID: partner, Keys: [limiter.MaxKeys]limiter.KeyDigest{limiter.DigestKey([]byte(partnerKey))}, Terms: limiter.Terms{Limit: ample}})
	o.Limiter, o.KeyField = l, "x-api-key"
	o.Server.TrustedProxies = prefixes("192.0.2.1")
	o.Exempt = ExemptConfig{Paths: []string{"/up"}}
	for range 3 {
		var d limiter.Decision
		l.Admit(l.Identify(netip.MustParseAddr("198.51.100.1"), nil), time.Now(), &d)
	}
	for _, test := range []struct {
		name, path     string
		headers        []string
		address, named string
		by             string
		capacity       int64
		passes         bool
	}{
		{"the proxy itself", "/", nil, "192.0.2.1", "", "no registered client", 3, true},
		{"an unregistered client", "/", []string{"X-Forwarded-For: 198.51.100.2"}, "198.51.100.2", "", "no registered client", 3, true},
		{"one that is over its limit", "/", []string{"X-Forwarded-For: 198.51.100.1"}, "198.51.100.1", "", "no registered client", 3, false},
		{"the same, exempt", "/up?x", []string{"X-Forwarded-For: 198.51.100.1"}, "198.51.100.1", "", "no registered client", 3, true},
		{"a range", "/", []string{"X-Forwarded-For: 203.0.113.5"}, "203.0.113.5", "203.0.113.0/24", "the range", 7, true},
		{"an address", "/", []string{"X-Forwarded-For: 192.0.2.9"}, "192.0.2.9", "192.0.2.9", "the address", 8, true},
		{"a key", "/", []string{"X-API-Key: " + partnerKey}, "192.0.2.1", "partner", "the API key", ample.Capacity, true},
	} {
		for range 2 {
			e := explained(t, o, "GET", test.path, test.headers...)
			if e.Client.Address != test.address || e.Client.Name != test.named || !strings.HasPrefix(e.Client.By, test.by) || e.Client.Why == "" {
				t.Errorf("%s: the client is %+v", test.name, e.Client)
			}
			if e.Limit.Capacity != test.capacity || e.Limit.Passes != test.passes || test.passes && !e.Limit.Exempt && e.Limit.Tokens != float64(test.capacity) {
				t.Errorf("%s: the limit is %+v", test.name, e.Limit)
			}
			if (e.Refused != nil) != !test.passes {
				t.Errorf("%s: refused %+v", test.name, e.Refused)
			}
		}
	}
	if e := explained(t, o, "GET", "/"); e.Limit.Shared {
		t.Errorf("a limit of this instance is shared: %+v", e.Limit)
	}
	if e := explained(t, testOptions("http://127.0.0.1:1"), "GET", "/"); e.Limit != nil || e.Client.By != "no client is limited" {
		t.Errorf("without limits: %+v", e.Client)
	}
}

// A limit is shared unless it is in shadow mode: then each instance counts for itself.
func TestExplainSharedLimit(t *testing.T) {
	o := testOptions("http://127.0.0.1:1")
	l := limiter.New(limiter.DefaultConfig())
	l.Share(time.Millisecond)
	l.Set(limiter.Registration{ID: limiter.ID{Prefix: netip.MustParsePrefix("192.0.2.9/32")}, Terms: limiter.Terms{Limit: ample, Shadow: true}})
	o.Limiter, o.Server.TrustedProxies = l, prefixes("192.0.2.1")
	for from, want := range map[string]bool{"192.0.2.8": true, "192.0.2.9": false} {
		if e := explained(t, o, "GET", "/", "X-Forwarded-For: "+from); e.Limit.Shared != want {
			t.Errorf("%s: the limit is %+v", from, e.Limit)
		}
	}
}

// TestExplainPick wants the backend that the next request does get, and no turn taken by asking.
func TestExplainPick(t *testing.T) {
	o := testOptions("http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3")
	p := New(o)
	pool := p.settings.Load().pools[0]
	ask := func() *ExplainPool {
		t.Helper()
		e, err := p.Explain(Question{Method: "GET", URL: "/", From: netip.MustParseAddr("192.0.2.1")})
		if err != nil {
			t.Fatal(err)
		}
		return e.Pool
	}
	for range 5 {
		want := ask()
		if again := ask(); again.Pick != want.Pick {
			t.Errorf("asked twice: %s and %s", want.Pick, again.Pick)
		}
		if got := pool.Pick(0, time.Now(), &upstream.Tried{}); "http://"+got.Name() != want.Pick {
			t.Errorf("picked %s, explained %s", got.Name(), want.Pick)
		}
	}
	for _, name := range []string{"127.0.0.1:1", "127.0.0.1:2"} {
		pool.Mark(backendOf(t, pool, name), upstream.Down, true)
	}
	if got := ask(); got.Pick != "http://127.0.0.1:3" || len(got.Backends) != 3 || got.Backends[0].State != "down" || got.Backends[2].State != "up" {
		t.Errorf("with two of three down: %+v", got)
	}
	pool.Mark(backendOf(t, pool, "127.0.0.1:3"), upstream.Down, true)
	if e, _ := p.Explain(Question{Method: "GET", URL: "/", From: netip.IPv6Loopback()}); e.Refused == nil || e.Refused.Reason != "no_backend" {
		t.Errorf("with all down: %+v", e.Refused)
	}
	for policy := range balance.Latency + 1 {
		config := o.Pools["main"]
		config.Balance = policy
		o.Pools["main"] = config
		if e := explained(t, o, "GET", "/"); e.Pool.Balance != policy.String() || e.Pool.Why == "" || e.Pool.Pick == "" {
			t.Errorf("%s: %+v", policy, e.Pool)
		}
	}
}

func TestExplainFieldsAndRetry(t *testing.T) {
	o := testOptions("http://127.0.0.1:1")
	e := explained(t, o, "GET", "http://example.com/", "A: 1", "X-Forwarded-For: 1.2.3.4", "Connection: B", "B: 2")
	if want := []string{"X-Forwarded-For: 1.2.3.4", "Connection: B", "B: 2"}; !slices.Equal(e.Removed, want) {
		t.Errorf("removed %q, want %q", e.Removed, want)
	}
	if !slices.Contains(e.Added, "X-Forwarded-For: 192.0.2.1") || slices.Contains(e.Added, "A: 1") {
		t.Errorf("added %q", e.Added)
	}
	o.Server.TrustedProxies = prefixes("192.0.2.1")
	for _, test := range []struct {
		name    string
		options Options
		headers []string
		removed bool // the X-Request-Id of the request
		added   bool // a new one
	}{
		{"no ID", o, nil, false, true},
		{"a client's ID", testOptions("http://127.0.0.1:1"), []string{"X-Request-Id: a"}, true, true},
		{"a trusted proxy's ID", o, []string{"X-Request-Id: a"}, false, false},
		{"a trusted proxy's invalid ID", o, []string{"X-Request-Id: a b"}, true, true},
	} {
		e := explained(t, test.options, "GET", "/", test.headers...)
		removed := slices.ContainsFunc(e.Removed, func(line string) bool { return strings.HasPrefix(line, "X-Request-Id: ") })
		added := slices.ContainsFunc(e.Added, func(line string) bool { return strings.HasPrefix(line, "X-Request-Id: ") })
		if removed != test.removed || added != test.added || added && !slices.Contains(e.Added, "X-Request-Id: (a new one)") {
			t.Errorf("%s: removed %q, added %q", test.name, e.Removed, e.Added)
		}
	}
	retry := func(method string, attempts int, headers ...string) string {
		config := o.Pools["main"]
		config.Retry = upstream.RetryConfig{Attempts: attempts, IdempotencyKey: true, Statuses: []int{502, 503}, Timeouts: true}
		o.Pools["main"] = config
		return explained(t, o, method, "/", headers...).Retry
	}
	for _, test := range []struct{ got, want string }{
		{retry("GET", 3), "no byte of a response has come"},
		{retry("POST", 3), "a POST may not be sent twice"},
		{retry("POST", 3, "Idempotency-Key: a"), "no byte of a response has come"},
		{retry("GET", 3), "its status is one of 502 503, or it is late"},
		{retry("GET", 1), "never"},
	} {
		if !strings.Contains(test.got, test.want) {
			t.Errorf("got %q, want %q in it", test.got, test.want)
		}
	}
}

// TestExplainRoute wants the route by its place in the config, and what goes on by it. No value
// that may be secret is shown.
func TestExplainRoute(t *testing.T) {
	o := testOptions("http://127.0.0.1:1")
	canary := testOptions("http://127.0.0.1:2").Pools["main"]
	canary.Host = upstream.HostBackend
	o.Pools["canary"] = canary
	o.Routes = []routes.Config{{Pool: "main"}, {
		Host: "*.example.com", Path: "/v2", Methods: []string{"GET", "HEAD"}, Headers: routes.Values{"X-Beta": "1"}, Pool: "main",
		StripPrefix: "/v2", Split: []routes.SplitConfig{{Pool: "canary", Percent: 100}},
		RequestHeaders:  routes.FieldsConfig{Set: routes.Values{"X-Team": "a", "Authorization": "Bearer hidden"}, Remove: []string{"X-Beta"}},
		ResponseHeaders: routes.FieldsConfig{Set: routes.Values{"X-Team": "b"}, Remove: []string{"Server"}},
	}}
	e := explained(t, o, "GET", "http://a.example.com/x/..//v2/%61?b=c", "X-Beta: 1")
	if want := "routes[1]: host *.example.com, path /v2, methods GET HEAD, headers {X-Beta: 1}"; e.Route != want {
		t.Errorf("the route is %q, want %q", e.Route, want)
	}
	if e.Target != "/a?b=c" || e.Pool.Name != "canary" || e.Split != "in the share of canary, 100 % of the clients" {
		t.Errorf("target %q, pool %q, split %q", e.Target, e.Pool.Name, e.Split)
	}
	if want := []string{"Host: a.example.com", "X-Beta: 1"}; !slices.Equal(e.Removed, want) {
		t.Errorf("removed %q, want %q", e.Removed, want)
	}
	for _, line := range []string{"Host: 127.0.0.1:2", "X-Team: a", "Authorization: …", "X-Forwarded-Host: a.example.com"} {
		if !slices.Contains(e.Added, line) {
			t.Errorf("added %q, want %q among them", e.Added, line)
		}
	}
	if want := []string{"set X-Team: b", "remove Server"}; !slices.Equal(e.Response, want) {
		t.Errorf("response fields %q, want %q", e.Response, want)
	}
	e = explained(t, o, "POST", "http://a.example.com/v2", "X-Beta: 1")
	if e.Route != "routes[0]: every request" || e.Target != "" || e.Split != "" || e.Response != nil || e.Pool.Name != "main" {
		t.Errorf("another method: %+v", e)
	}
	e = explained(t, o, "GET", "/x/..%2fv2")
	if e.Refused == nil || e.Refused.Reason != "bad_request" || !strings.Contains(e.Refused.Cause, "%2f") || e.Route != "" {
		t.Errorf("an ambiguous path: %+v", e.Refused)
	}
	if e := explained(t, testOptions("http://127.0.0.1:1"), "GET", "/"); e.Route != "the only pool: the config has no routes" {
		t.Errorf("without routes: %q", e.Route)
	}
}

// TestExplainFirstRefusal: of two reasons the first on the road counts. An address that stands for one
// of IPv4 is that.
func TestExplainFirstRefusal(t *testing.T) {
	o := testOptions("http://127.0.0.1:1")
	o.Routes = []routes.Config{{Path: "/a", Pool: "main"}}
	o.Limiter = limits(1, 0.0001)
	o.Server.TrustedProxies = prefixes("10.0.0.0/8")
	p, address := startProxy(t, o)
	talk(t, address, get("/a")) // spends the only token of the address
	e, err := p.Explain(Question{Method: "GET", URL: "/b", Headers: []string{"Host: h"}, From: netip.MustParseAddr("::ffff:127.0.0.1")})
	if err != nil || e.Refused == nil || e.Refused.Reason != "limited" {
		t.Errorf("got %+v, %v, want limited and not no_route", e.Refused, err)
	}
	e, err = p.Explain(Question{Method: "GET", URL: "/a", Headers: []string{"Host: h", "X-Forwarded-For: 192.0.2.7"}, From: netip.MustParseAddr("::ffff:10.0.0.1")})
	if err != nil || e.Client.Address != "192.0.2.7" {
		t.Errorf("the client is %+v, %v", e.Client, err)
	}
}
