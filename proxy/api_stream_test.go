package proxy

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"
)

// writes is the body of a response that writes itself.
type writes func(io.Writer) error

func (writes) Read([]byte) (int, error)                   { panic("BUG: read") }
func (f writes) WriteTo(w io.Writer) (n int64, err error) { return 0, f(w) }

// loggedAPI is a proxy with an API that answers so, a short body_timeout and an access log.
func loggedAPI(t *testing.T, answer fasthttp.RequestHandler) (p *Proxy, address string, log *logLines) {
	log = &logLines{}
	o := testOptions("http://" + closedPort(t))
	o.API = apiOf(answer)
	o.Server.BodyTimeout = 200 * time.Millisecond
	o.Access, o.Log = AccessAll, zerolog.New(log)
	p, address = startProxy(t, o)
	return p, address, log
}

// requireLine waits for the one line of the access log.
func requireLine(t *testing.T, log *logLines, want map[string]any) map[string]any {
	t.Helper()
	var line map[string]any
	eventually(t, "the line of the log", func() bool {
		for _, l := range log.parsed(t) {
			if l["message"] == "request" {
				line = l
			}
		}
		return line != nil
	})
	for key, value := range want {
		if line[key] != value {
			t.Errorf("%s is %v in the log, want %v", key, line[key], value)
		}
	}
	return line
}

// TestAPIStream checks a response that is sent as it is made, and what is logged once it is.
func TestAPIStream(t *testing.T) {
	body := strings.Repeat("x", 300_000)
	_, address, log := loggedAPI(t, func(ctx *fasthttp.RequestCtx) {
		ctx.SetContentType("text/csv")
		ctx.Response.Header.Set("Lb-Version", "7")
		ctx.Response.SetBodyStream(writes(func(w io.Writer) error { _, err := io.WriteString(w, body); return err }), -1)
	})
	w := newWire(t, address)
	w.send("GET /v1/api/x HTTP/1.1\r\nHost: h\r\n\r\n")
	got := w.receive("GET")
	if string(got.body) != body || got.StatusCode != 200 || got.Close {
		t.Errorf("got %d and %d bytes, close: %v", got.StatusCode, len(got.body), got.Close)
	}
	for name, value := range map[string]string{"Content-Type": "text/csv", "Lb-Version": "7"} {
		if got.Header.Get(name) != value {
			t.Errorf("%s is %q", name, got.Header.Get(name))
		}
	}
	for _, name := range []string{"Date", "X-Request-Id"} {
		if len(got.Header[http.CanonicalHeaderKey(name)]) != 1 {
			t.Errorf("%s is %q", name, got.Header[name])
		}
	}
	line := requireLine(t, log, map[string]any{"status": 200., "reason": nil})
	if sent := line["bytes_out"].(float64); sent < float64(len(body)) {
		t.Errorf("bytes_out is %v", sent)
	}
}

// TestAPIStreamThatFails checks what the client and the log say of a body that ends early, and that
// one which fails before its first byte becomes an error.
func TestAPIStreamThatFails(t *testing.T) {
	for name, c := range map[string]struct {
		first  string
		status float64
	}{"within": {"begun", 200}, "at once": {"", 500}} {
		_, address, log := loggedAPI(t, func(ctx *fasthttp.RequestCtx) {
			ctx.Response.SetBodyStream(writes(func(w io.Writer) error {
				_, _ = io.WriteString(w, c.first)
				return errors.New("the store is away")
			}), -1)
		})
		w := newWire(t, address)
		w.send("GET /v1/api/x HTTP/1.1\r\nHost: h\r\n\r\n")
		got, err := w.tryReceive("GET")
		if c.first != "" && err == nil {
			t.Errorf("%s: got %q, which looks complete", name, got.body)
		}
		if c.first == "" && (err != nil || got.StatusCode != 500) {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
		requireLine(t, log, map[string]any{"status": c.status, "reason": "internal_error", "cause": "the store is away", "level": "error"})
	}
}

// TestAPIStreamNotTaken checks that a client that takes nothing is recorded as one that is gone.
func TestAPIStreamNotTaken(t *testing.T) {
	ended := make(chan error, 1)
	_, address, log := loggedAPI(t, func(ctx *fasthttp.RequestCtx) {
		ctx.Response.SetBodyStream(writes(func(w io.Writer) error {
			for {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					ended <- err
					return err
				}
			}
		}), -1)
	})
	newWire(t, address).send("GET /v1/api/x HTTP/1.1\r\nHost: h\r\n\r\n")
	<-ended
	requireLine(t, log, map[string]any{"status": 200., "reason": "client_gone"})
}

// TestAPIBodyThatDoesNotCome checks that the call's own answer stands, and that the reason is
// recorded.
func TestAPIBodyThatDoesNotCome(t *testing.T) {
	for name, c := range map[string]struct{ sent, reason string }{
		"late":    {"Content-Length: 9\r\n\r\nx", "request_timeout"},
		"invalid": {"Transfer-Encoding: chunked\r\n\r\nx\r\n", "bad_request"},
	} {
		_, address, log := loggedAPI(t, func(ctx *fasthttp.RequestCtx) {
			if _, err := io.ReadAll(ctx.RequestBodyStream()); err == nil {
				t.Errorf("%s: the body came", name)
			}
			ctx.SetStatusCode(422)
			ctx.SetBodyString("half of it is done")
		})
		w := newWire(t, address)
		w.send("POST /v1/api/x HTTP/1.1\r\nHost: h\r\n" + c.sent)
		got := w.receive("POST")
		if got.StatusCode != 422 || string(got.body) != "half of it is done" || !got.Close {
			t.Errorf("%s: got %d %q, close: %v", name, got.StatusCode, got.body, got.Close)
		}
		requireLine(t, log, map[string]any{"status": 422., "reason": c.reason})
	}
}

// TestAPIAsksForNoBodyItDoesNotRead has a client that waits for 100 Continue.
func TestAPIAsksForNoBodyItDoesNotRead(t *testing.T) {
	_, address, _ := loggedAPI(t, func(ctx *fasthttp.RequestCtx) { ctx.SetStatusCode(415) })
	got := talk(t, address, withHost("POST /v1/api/x HTTP/1.1", "Content-Length: 9", "Expect: 100-continue"))
	if !strings.HasPrefix(got, "HTTP/1.1 415 ") {
		t.Errorf("got %q", got)
	}
}
