package proxy

import (
	"net/http"
	"regexp"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// TestDateOfOwnAnswers: whatever is answered without a backend has one Date, which
// is that of the answer.
func TestDateOfOwnAnswers(t *testing.T) {
	open := func(*Options) {}
	for _, test := range []struct {
		name, request string
		status        int
		change        func(*Options)
	}{
		{"not parsed", "GET\r\n\r\n", 400, open},
		{"bad request", withHost("GET /a#b HTTP/1.1"), 400, open},
		{"expectation", withHost("POST / HTTP/1.1", "Expect: b"), 417, open},
		{"limited", get("/"), 429, func(o *Options) { o.Limiter = limits(1, 0.0001) }},
		{"no route", get("/"), 404, func(o *Options) { o.Routes = []RouteConfig{{Path: "/a", Pool: "main"}} }},
		{"no PROXY header", get("/"), 400, func(o *Options) {
			o.Server.ProxyProtocol, o.Server.TrustedProxies = true, prefixes("127.0.0.1")
		}},
		{"one connection too many", "", 503, func(o *Options) { o.Server.MaxConnections = 1 }},
		{"late response", get("/slow"), 504, func(o *Options) {
			pool := o.Pools["main"]
			pool.Timeouts.ResponseHeader = 50 * time.Millisecond
			o.Pools["main"] = pool
		}},
		{"API", get("/v1/api/"), 200, func(o *Options) { o.API = apiOf(func(*fasthttp.RequestCtx) {}) }},
		{"API with a Date", get("/v1/api/"), 200, func(o *Options) {
			o.API = apiOf(func(ctx *fasthttp.RequestCtx) { ctx.Response.Header.Set("Date", "never") })
		}},
		{"API that starts its answer over", get("/v1/api/"), 200, func(o *Options) {
			o.API = apiOf(func(ctx *fasthttp.RequestCtx) { ctx.Response.Reset() })
		}},
		{"API for others", get("/v1/api/"), 403, func(o *Options) {
			o.API = apiOf(echoAPI)
			o.API.MayUse = func(ctx *fasthttp.RequestCtx) bool { ctx.SetStatusCode(403); return false }
		}},
		{"broken API", get("/v1/api/"), 500, func(o *Options) { o.API = apiOf(func(*fasthttp.RequestCtx) { panic("the API is broken") }) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o := testOptions(startBackend(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/slow" {
					<-r.Context().Done()
				}
			}))
			test.change(&o)
			_, address := startProxy(t, o)
			first := newWire(t, address) // a limit, and a place, of 1
			first.send(withHost("GET / HTTP/1.1"))
			first.receive("GET")
			w := newWire(t, address)
			before := time.Now().Add(-2 * time.Second) // the API's is up to a second old
			w.send(test.request)
			got := w.receive("GET")
			after := time.Now()
			dates := got.Header["Date"]
			if got.StatusCode != test.status || len(dates) != 1 {
				t.Fatalf("got %d with the dates %q, want %d with one", got.StatusCode, dates, test.status)
			}
			if at, err := time.Parse(http.TimeFormat, dates[0]); err != nil || at.Before(before) || at.After(after) {
				t.Errorf("Date %q, %v, want one between %v and %v", dates[0], err, before, after)
			}
		})
	}
}

var dateLine = regexp.MustCompile(`\r\nDate: [^\r]* GMT\r\n`)

// withoutDate takes the Date off an answer of the balancer's own.
func withoutDate(answer string) string { return dateLine.ReplaceAllString(answer, "\r\n") }
