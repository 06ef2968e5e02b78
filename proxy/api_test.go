package proxy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"
)

// refusingAPI is a proxy whose API lets no call pass.
func refusingAPI(t *testing.T) (p *Proxy, address string) {
	o := testOptions("http://" + closedPort(t))
	o.API = apiOf(func(*fasthttp.RequestCtx) { t.Error("the API was called") })
	o.API.MayUse = func(ctx *fasthttp.RequestCtx) bool {
		ctx.SetStatusCode(fasthttp.StatusUnauthorized)
		ctx.SetBodyString("no token")
		return false
	}
	return startProxy(t, o)
}

// requireRefusal receives the refusal of a POST to the API.
func requireRefusal(t *testing.T, w *rawClient, closes bool) {
	t.Helper()
	got, err := w.tryReceive("POST")
	if err != nil {
		t.Fatalf("the refusal was lost: %v", err)
	}
	if got.StatusCode != 401 || string(got.body) != "no token" || got.Close != closes {
		t.Fatalf("got %d %q, close: %v, want 401 and close: %v", got.StatusCode, got.body, got.Close, closes)
	}
}

// TestAPIAccessBeforeTheBody checks that a call that may not use the API is refused before its body
// is read.
func TestAPIAccessBeforeTheBody(t *testing.T) {
	_, address := refusingAPI(t)
	w := newWire(t, address)
	w.send("POST /v1/api/clients/ HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n")
	requireRefusal(t, w, true)
}

// TestAPIRefusalsArrive checks that each refused call gets its answer, however much of its body has
// come and whatever follows it.
func TestAPIRefusalsArrive(t *testing.T) {
	const head = "POST /v1/api/clients/ HTTP/1.1\r\nHost: h\r\n"
	client := `{"ip_address":"192.0.2.1","capacity":1,"rate_per_second":1}`
	bodies := map[string]string{
		"with a length": fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(client), client),
		"chunked":       "Transfer-Encoding: chunked\r\n\r\n" + inChunks([]byte(client)),
	}
	for name, body := range bodies {
		t.Run(name, func(t *testing.T) {
			_, address := refusingAPI(t)
			w := newWire(t, address) // one after the other
			for range 8 {
				w.send(head + body)
				requireRefusal(t, w, false)
			}
			w = newWire(t, address) // all at once
			w.send(strings.Repeat(head+body, 8))
			for range 8 {
				requireRefusal(t, w, false)
			}
			for range 8 { // with a body that is not there in full
				w := newWire(t, address)
				w.send(head + "Transfer-Encoding: chunked\r\n\r\n5\r\nhe")
				requireRefusal(t, w, true)
				w.mustEnd()
			}
		})
	}
	t.Run("both", func(t *testing.T) {
		_, address := refusingAPI(t)
		w := newWire(t, address)
		w.send(strings.Repeat(head+bodies["chunked"]+head+bodies["with a length"], 4))
		for range 8 {
			requireRefusal(t, w, false)
		}
	})
}

// TestAPIInTheAccessLog checks that a call has its line, with the client address from a trusted
// proxy.
func TestAPIInTheAccessLog(t *testing.T) {
	var log logLines
	o := testOptions("http://" + closedPort(t))
	o.Server.TrustedProxies = prefixes("127.0.0.1")
	o.API = apiOf(func(ctx *fasthttp.RequestCtx) { ctx.SetStatusCode(204) })
	o.Access, o.Log = AccessAll, zerolog.New(&log)
	_, address := startProxy(t, o)
	talk(t, address, withHost("GET /v1/api/x HTTP/1.1", "X-Forwarded-For: 192.0.2.1", "Connection: close"))
	if got := log.parsed(t); len(got) != 1 || got[0]["client"] != "192.0.2.1" || got[0]["status"] != 204. || got[0]["path"] != "/v1/api/x" {
		t.Errorf("logged %v", got)
	}
}

// TestAPIAnswerThatIsNotRead checks that a client that reads nothing of an API answer loses its
// connection after body_timeout, even if the rest of its body had to be dropped first.
func TestAPIAnswerThatIsNotRead(t *testing.T) {
	for name, body := range map[string]string{
		"without a body": "\r\n", "chunked": "Transfer-Encoding: chunked\r\n\r\n1\r\n!\r\n0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			o := testOptions("http://" + closedPort(t))
			o.Server.BodyTimeout = 100 * time.Millisecond
			o.API = apiOf(func(*fasthttp.RequestCtx) { t.Error("the API was called") })
			o.API.MayUse = func(ctx *fasthttp.RequestCtx) bool {
				ctx.SetBody(make([]byte, 64<<20)) // more than the sockets' buffers hold
				return false
			}
			p, address := startProxy(t, o)
			w := newWire(t, address)
			w.send("POST /v1/api/ HTTP/1.1\r\nHost: h\r\n" + body)
			if _, err := w.in.Peek(1); err != nil {
				t.Fatalf("the answer did not begin: %v", err)
			}
			eventually(t, "the connection to end", func() bool { return metric(p, "lb_connections") == "0" })
		})
	}
}

// TestAPIAfterALongPause has a deadline left on the connection by a proxied request run out before
// the API answers there.
func TestAPIAfterALongPause(t *testing.T) {
	o := testOptions(startBackend(t, mirror))
	o.API = apiOf(echoAPI)
	o.Server.BodyTimeout = 50 * time.Millisecond
	_, address := startProxy(t, o)
	w := newWire(t, address)
	w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	w.receive("GET")
	time.Sleep(3 * o.Server.BodyTimeout) // the pause is what is tested
	w.send("GET /v1/api/x HTTP/1.1\r\nHost: h\r\n\r\n")
	if got := w.receive("GET"); got.StatusCode != 201 {
		t.Errorf("got %d, want 201", got.StatusCode)
	}
}

func TestAPIHead(t *testing.T) {
	o := testOptions(startBackend(t, mirror))
	o.API = apiOf(echoAPI)
	_, address := startProxy(t, o)
	w := newWire(t, address)
	for range 2 {
		w.send("HEAD /v1/api/x HTTP/1.1\r\nHost: h\r\n\r\n")
		if got := w.receive("HEAD"); got.StatusCode != 201 || got.ContentLength != int64(len("/v1/api/x ")) {
			t.Errorf("got %d, Content-Length %d", got.StatusCode, got.ContentLength)
		}
	}
}

// TestAPIResponseGainsDate checks that an API answer has the fields that the API sets, and Date.
func TestAPIResponseGainsDate(t *testing.T) {
	o := testOptions(startBackend(t, mirror))
	o.API = apiOf(func(ctx *fasthttp.RequestCtx) { _, _ = ctx.WriteString("ok") })
	_, address := startProxy(t, o)
	got := talk(t, address, get("/v1/api/"))
	if names := fieldNames(t, got); !slices.Equal(names, []string{"Date", "Content-Length", "X-Request-Id", "Connection"}) || !strings.HasSuffix(got, "ok") {
		t.Errorf("got %q", got)
	}
}

// TestPanicEndsOneConnection checks that a panic ends its own connection, and neither the others
// nor the process.
func TestPanicEndsOneConnection(t *testing.T) {
	o := testOptions(startBackend(t, mirror))
	o.API = apiOf(func(*fasthttp.RequestCtx) { panic("the API is broken") })
	_, address := startProxy(t, o)
	other := newWire(t, address)
	for range 3 {
		if got := talk(t, address, "GET /v1/api/ HTTP/1.1\r\nHost: h\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 500 ") {
			t.Errorf("got %q", got)
		}
		other.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		if got := other.receive("GET"); got.StatusCode != 200 || got.Close {
			t.Errorf("another client got %d, close: %v", got.StatusCode, got.Close)
		}
	}
}
