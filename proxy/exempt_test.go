package proxy

import (
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"loadbalancer/limiter"
)

func TestExemptConfigValidate(t *testing.T) {
	for _, test := range []struct {
		config ExemptConfig
		want   string
	}{
		{ExemptConfig{}, ""},
		{ExemptConfig{Methods: []string{"OPTIONS", "get", "M-SEARCH", "!#$%&'*+-.^_`|~"}, Paths: []string{"/", "/healthz", "/a%20b/;c=d", "/A"}}, ""},
		{ExemptConfig{Methods: []string{"", "A B", "GET/", "GET\r\n", "É", strings.Repeat("M", 65), "GET"}},
			"methods[0] methods[1] methods[2] methods[3] methods[4] methods[5]"},
		{ExemptConfig{Paths: []string{"", "healthz", "*", "/a?b", "/a#b", "/a b", "/a\tb", "/a\x7fb", "/é", "http://h/", "/a"}},
			"paths[0] paths[1] paths[2] paths[3] paths[4] paths[5] paths[6] paths[7] paths[8] paths[9]"},
	} {
		if got := strings.Join(faults(test.config.Validate), " "); got != test.want {
			t.Errorf("%q: got %s, want %s", test.config, got, test.want)
		}
	}
}

// exemptOptions are those of a proxy with an empty bucket behind it, before a backend that tells of
// limits of its own.
func exemptOptions(t *testing.T, l *limiter.Limiter) Options {
	o := testOptions(startRawBackend(t, answerAll(ownLimits+"\r\nok")))
	o.Limiter = l
	o.Exempt = ExemptConfig{Methods: []string{"OPTIONS", "PURGE"}, Paths: []string{"/healthz", "/a/%7e", "/"}}
	return o
}

// TestExempt tells which requests take no token. The bucket is empty.
func TestExempt(t *testing.T) {
	l, fields := limitsTold("both", 1, 0.0001)
	o := exemptOptions(t, l)
	o.LimitFields = fields
	p, address := startProxy(t, o)
	if got := talk(t, address, get("/spends")); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
		t.Fatalf("got %q", got)
	}
	rejected := 0
	for _, test := range []struct {
		request string
		exempt  bool
	}{
		{"GET /healthz", true}, {"POST /healthz", true}, {"HEAD /healthz", true}, {"GET /healthz?a=/b?c", true}, {"GET /healthz?", true},
		{"GET http://example.com/healthz", true}, {"GET http://example.com", true}, {"GET /", true}, {"GET /?q", true}, {"GET /a/%7e", true},
		{"OPTIONS /anything", true}, {"OPTIONS *", true}, {"PURGE /x", true},
		{"GET /healthz/", false}, {"GET /Healthz", false}, {"GET /health", false}, {"GET /healthz2", false}, {"GET /./healthz", false},
		{"GET /%68ealthz", false}, {"GET /a/%7E", false}, {"GET /a/~", false}, {"GET /x?/healthz", false}, {"GET /healthz;a", false},
		{"options /anything", false}, {"OPTION /anything", false}, {"GET /OPTIONS", false},
	} {
		got := talk(t, address, test.request+" HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n")
		if passed := strings.HasPrefix(got, "HTTP/1.1 200 "); passed != test.exempt {
			t.Errorf("%s: got %q", test.request, got)
		}
		if own := strings.Join(limitFieldsOf(got), "\r\n") + "\r\n"; test.exempt && own != backendLimits {
			t.Errorf("%s: of limits the backend's alone are wanted, got %q", test.request, own)
		}
		if !test.exempt {
			rejected++
		}
	}
	waitMetrics(t, p, map[string]float64{"lb_limited_total": float64(rejected), "lb_shadow_limited_total": 0})
	if l.Tracked() != 1 {
		t.Errorf("%d clients have a bucket, want the one that has spent a token", l.Tracked())
	}
}

// TestExemptByOneRule checks that a method or a path is enough, and that no rule exempts nothing.
func TestExemptByOneRule(t *testing.T) {
	for _, test := range []struct {
		config                    ExemptConfig
		byMethod, byPath, neither int
	}{
		{ExemptConfig{}, 429, 429, 429},
		{ExemptConfig{Methods: []string{"OPTIONS"}}, 200, 429, 429},
		{ExemptConfig{Paths: []string{"/healthz"}}, 429, 200, 429},
	} {
		o := exemptOptions(t, limits(1, 0.0001))
		o.Exempt = test.config
		_, address := startProxy(t, o)
		talk(t, address, get("/spends"))
		for request, want := range map[string]int{"OPTIONS /x": test.byMethod, "GET /healthz": test.byPath, "GET /x": test.neither} {
			if got := status(t, address, request+" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"); got != want {
				t.Errorf("%+v, %s: got %d, want %d", test.config, request, got, want)
			}
		}
	}
}

// TestExemptIsUnderWay checks that exempt requests count towards max_in_flight, and towards no
// other limit.
func TestExemptIsUnderWay(t *testing.T) {
	release, entered := make(chan bool), make(chan bool, 10)
	o := testOptions(startHoldingBackend(t, entered, release))
	o.Limiter = limitsOf(limiter.Terms{Limit: limiter.Limit{Capacity: 1, RatePerSecond: 0.0001}, MaxInFlight: 2, Trial: limiter.Limit{Capacity: 1, RatePerSecond: 0.0001}})
	o.Exempt = ExemptConfig{Paths: []string{"/healthz"}}
	p, address := startProxy(t, o)
	const request = " HTTP/1.1\r\nHost: h\r\n\r\n"
	var wires []*rawClient
	for range 2 {
		w := newWire(t, address)
		w.send("GET /healthz" + request)
		<-entered
		wires = append(wires, w)
	}
	if u, _ := o.Limiter.Usage(loopback); u != (limiter.Usage{Tokens: 1, InFlight: 2}) {
		t.Errorf("with two exempt requests under way the usage is %+v", u)
	}
	third := newWire(t, address)
	third.send("GET /healthz" + request)
	got := third.receive("GET")
	checkProblem(t, got, 429, "too_many_in_flight", "http://-:-")
	if got.Header.Get("Retry-After") != "1" || got.Header.Get("RateLimit") != "" || got.Header.Get("RateLimit-Policy") != "" {
		t.Errorf("an exempt request beyond the bound gets %v", got.Header)
	}
	third.send("GET /x" + request)
	if got := third.receive("GET"); got.StatusCode != 429 || got.Header.Get("RateLimit") == "" {
		t.Errorf("another request beyond the bound gets %d with %v", got.StatusCode, got.Header)
	}
	for _, w := range wires {
		release <- true
		if got := w.receive("GET"); got.StatusCode != 200 {
			t.Errorf("got %d", got.StatusCode)
		}
	}
	eventually(t, "nothing to be under way", func() bool { return underWay(o.Limiter) == 0 })
	u, _ := o.Limiter.Usage(loopback)
	if u.Limited != 1 || u.Allowed != 0 || u.TrialLimited != 0 || u.Tokens != 1 {
		t.Errorf("at the end the usage is %+v", u)
	}
	waitMetrics(t, p, map[string]float64{"lb_limited_total": 2})
}

// TestExemptInShadowMode checks that an exempt request, which no limit would have rejected, is not
// counted or logged as such.
func TestExemptInShadowMode(t *testing.T) {
	var log logLines
	release, entered := make(chan bool), make(chan bool, 10)
	o := testOptions(startHoldingBackend(t, entered, release))
	o.Limiter = limitsOf(limiter.Terms{Limit: ample, MaxInFlight: 1, Shadow: true})
	o.Exempt, o.Access, o.Log = ExemptConfig{Paths: []string{"/healthz"}}, AccessAll, zerolog.New(&log)
	p, address := startProxy(t, o)
	var wires []*rawClient
	for range 3 {
		w := newWire(t, address)
		w.send("GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
		<-entered
		wires = append(wires, w)
	}
	for _, w := range wires {
		release <- true
		w.receive("GET")
	}
	eventually(t, "the log", func() bool { return len(log.parsed(t)) == len(wires) })
	for _, line := range log.parsed(t) {
		if line["shadow"] != nil {
			t.Errorf("logged %v", line)
		}
	}
	waitMetrics(t, p, map[string]float64{"lb_shadow_limited_total": 0, "lb_limited_total": 0})
}
