package proxy

import (
	"testing"

	"github.com/valyala/fasthttp"
)

// TestAPIAccessBeforeTheBody wants who may not use the API to be told so before
// his body is read.
func TestAPIAccessBeforeTheBody(t *testing.T) {
	o := testOptions("http://" + closedPort(t))
	o.API = func(*fasthttp.RequestCtx) { t.Error("the API was called") }
	o.MayUseAPI = func(ctx *fasthttp.RequestCtx) bool {
		ctx.SetStatusCode(fasthttp.StatusForbidden)
		return false
	}
	_, address := startProxy(t, o)
	w := newWire(t, address)
	w.send("POST /v1/api/clients/ HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n")
	if got := w.receive("POST"); got.StatusCode != 403 || !got.Close {
		t.Errorf("got %d, close %v, want 403 and the end of the connection", got.StatusCode, got.Close)
	}
}
