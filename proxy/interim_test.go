package proxy

import (
	"strings"
	"testing"
)

// TestInterimResponses: with server.early_hints they go on to clients of HTTP/1.1, and
// without to none; 100 Continue never does.
func TestInterimResponses(t *testing.T) {
	const old = "GET / HTTP/1.0\r\n\r\n"
	final := lines("HTTP/1.1 200 OK", "Content-Length: 0")
	sent := lines("HTTP/1.1 103 Early Hints", "link: a", "Connection: X-Hop", "X-Hop: 1", "Keep-Alive: 1", "Content-Length: 0") +
		lines("HTTP/1.1 100 Continue") + "HTTP/1.0 102 Processing\nA: \x01\n\n" + lines("HTTP/1.1 199 ")
	passed := lines("HTTP/1.1 103 Early Hints", "link: a") + lines("HTTP/1.1 102 Processing", "A: \x01") + lines("HTTP/1.1 199 ")
	end := lines("HTTP/1.1 200 OK", "Content-Length: 0", "Connection: close")
	for _, test := range []struct {
		name, request, response, want string
		hints                         bool
	}{
		{"hints", get("/"), sent + final, passed + end, true},
		{"no hints", get("/"), sent + final, end, false},
		{"hints to HTTP/1.0", old, sent + final, end, true},
		{"no hints to HTTP/1.0", old, sent + final, end, false},
		{"as many as may be", get("/"), strings.Repeat(lines("HTTP/1.1 103 Early Hints"), maxInterim) + final, strings.Repeat(lines("HTTP/1.1 103 Early Hints"), maxInterim) + end, true},
		{"as many as may be, no hints", get("/"), strings.Repeat(lines("HTTP/1.1 100 Continue"), maxInterim) + final, end, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := testOptions(startRawBackend(t, answerAll(test.response)))
			o.Server.EarlyHints = test.hints
			_, address := startProxy(t, o)
			if got := talk(t, address, test.request); got != test.want {
				t.Errorf("got\n%q, want\n%q", got, test.want)
			}
		})
	}
}

// TestTooManyInterimResponses: one more than may be ends the exchange, whether they
// go on or not.
func TestTooManyInterimResponses(t *testing.T) {
	hints := strings.Repeat(lines("HTTP/1.1 103 Early Hints"), maxInterim)
	for _, test := range []struct {
		hints  bool
		before string
	}{{false, ""}, {true, hints}} {
		o := testOptions(startRawBackend(t, answerAll(hints+lines("HTTP/1.1 100 Continue")+lines("HTTP/1.1 200 OK", "Content-Length: 0"))))
		o.Server.EarlyHints = test.hints
		p, address := startProxy(t, o)
		got, ok := strings.CutPrefix(talk(t, address, get("/")), test.before)
		if !ok || !strings.HasPrefix(got, "HTTP/1.1 502 ") || !strings.Contains(got, `"bad_response"`) {
			t.Errorf("got %q", got)
		}
		eventually(t, "bad_response is counted", func() bool { return errorsWith(p, "bad_response") == "1" })
	}
}
