package proxy

import (
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"loadbalancer/proxy/reason"
)

// TestHTTP2API calls the API over HTTP/2: bodies that are read whole or as they come, responses that
// are made whole or as they go, HEAD, and what fails.
func TestHTTP2API(t *testing.T) {
	var log logLines
	o := http2Options("http://" + closedPort(t))
	o.Access, o.Log = AccessAll, zerolog.New(&log)
	o.Server.BodyTimeout = 300 * time.Millisecond
	o.API = apiOf(func(ctx *fasthttp.RequestCtx) {
		var body []byte
		if stream := ctx.RequestBodyStream(); stream != nil {
			var err error
			if body, err = io.ReadAll(stream); err != nil {
				ctx.SetStatusCode(400)
				return
			}
		}
		ctx.Response.Header.Set("X-Path", string(ctx.RequestURI()))
		ctx.Response.Header.Set("X-Peer", ctx.RemoteAddr().String())
		switch string(ctx.Path()) {
		case "/v1/api/none":
			ctx.SetStatusCode(204)
		case "/v1/api/fails":
			ctx.Response.SetBodyStream(writes(func(w io.Writer) error { _, _ = io.WriteString(w, "part"); return io.ErrUnexpectedEOF }), -1)
		case "/v1/api/panics":
			panic("in the API")
		case "/v1/api/stream":
			ctx.Response.SetBodyStream(writes(func(w io.Writer) error { _, err := w.Write(body); return err }), -1)
		default:
			ctx.SetStatusCode(201)
			_, _ = ctx.Write(body)
		}
	})
	_, address := startProxy(t, o)
	large := strings.Repeat("x", 60_000) // within what a stream may send before it is read
	for _, test := range []struct {
		method, path, body string
		want               string // outcome and body
	}{
		{"POST", "/v1/api/echo?a=b", "hello", "201 hello"},
		{"POST", "/v1/api/echo?a=b", large, "201 " + large},
		{"POST", "/v1/api/stream", large, "200 " + large},
		{"GET", "/v1/api/echo", "", "201 "},
		{"HEAD", "/v1/api/stream", "", "200 "},
		{"GET", "/v1/api/none", "", "204 "},
		{"GET", "/v1/api/fails", "", "200 reset INTERNAL_ERROR part"},
		{"GET", "/v1/api/panics", "", "500 " + string(reason.InternalError.Answer().Body)},
		{"POST", "/v1/api/echo", "-part", "400 "},
	} {
		f := dialFrames(t, address)
		stream := f.open(test.body == "", request(test.method, test.path)...)
		body, cut := strings.CutPrefix(test.body, "-")
		for ; len(body) > 0; body = body[min(len(body), 10_000):] {
			f.must(f.write.WriteData(stream, len(body) <= 10_000 && !cut, []byte(body[:min(len(body), 10_000)])))
		}
		a := f.wait(stream)
		if got := a.String() + " " + string(a.body); got != test.want {
			t.Errorf("%s %s: %.200s (%d bytes), want %.200s", test.method, test.path, got, len(got), test.want)
		}
		if a.status[0] == '2' && (a.fields["x-path"] != test.path || a.fields["x-peer"] == "" || a.fields["date"] == "" || a.fields["x-request-id"] == "") {
			t.Errorf("%s %s: %v", test.method, test.path, a.fields)
		}
	}
	eventually(t, "the lines of the log", func() bool { return len(log.parsed(t)) >= 9 })
	all := log.parsed(t) // in any order
	first := slices.IndexFunc(all, func(line map[string]any) bool { return line["status"] == 201.0 })
	checkLine(t, all[max(0, first)], map[string]any{"proto": "HTTP/2.0", "path": "/v1/api/echo", "status": 201.0, "pool": nil})
}
