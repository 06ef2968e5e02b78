package proxy

import (
	"strings"
	"testing"
	"time"
)

// TestServesOn has a backend write a second response as soon as another request
// comes on the connection, as one does that still has the rest of its answer to send.
// Where more than the answer may come, that connection serves no other request.
func TestServesOn(t *testing.T) {
	const head, request, old = "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "GET / HTTP/1.0\r\n\r\n"
	interim := lines("HTTP/1.1 103 Early Hints", "Link: a")
	for _, test := range []struct {
		name, request, response string
		status                  int
		body                    string
		servesOn                bool
	}{
		{"GET", request, lines("HTTP/1.1 200 OK", "Content-Length: 2") + "ok", 200, "ok", true},
		{"205 with a body", request, lines("HTTP/1.1 205 Reset Content", "Content-Length: 2") + "ok", 205, "ok", true},
		{"HEAD", head, lines("HTTP/1.1 200 OK", "Content-Length: 69"), 200, "", false},
		{"HEAD, length twice", head, lines("HTTP/1.1 200 OK", "Content-Length: 69", "Content-Length: 69"), 200, "", false},
		{"HEAD, keep-alive", head, lines("HTTP/1.1 200 OK", "Content-Length: 69", "Connection: keep-alive"), 200, "", false},
		{"HEAD, in chunks", head, lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"), 200, "", false},
		{"HEAD, no length", head, lines("HTTP/1.1 200 OK"), 200, "", false},
		{"HEAD, no length, HTTP/1.0", head, lines("HTTP/1.0 200 OK", "Connection: keep-alive"), 200, "", false},
		{"HEAD, no body", head, lines("HTTP/1.1 200 OK", "Content-Length: 0"), 200, "", true},
		{"HEAD, not found", head, lines("HTTP/1.1 404 Not Found", "Content-Length: 9"), 404, "", false},
		{"HEAD, 204", head, lines("HTTP/1.1 204 No Content"), 204, "", true},
		{"HEAD, 304", head, lines("HTTP/1.1 304 Not Modified"), 304, "", true},
		{"204", request, lines("HTTP/1.1 204 No Content"), 204, "", true},
		{"204, no body", request, lines("HTTP/1.1 204 No Content", "Content-Length: 0"), 204, "", true},
		{"204, length", request, lines("HTTP/1.1 204 No Content", "Content-Length: 69", "Connection: keep-alive"), 204, "", false},
		{"204, in chunks", request, lines("HTTP/1.1 204 No Content", "Transfer-Encoding: chunked"), 204, "", false},
		{"304", request, lines("HTTP/1.1 304 Not Modified"), 304, "", true},
		{"304, no body", request, lines("HTTP/1.1 304 Not Modified", "Content-Length: 0"), 304, "", true},
		{"304, length", request, lines("HTTP/1.1 304 Not Modified", "Content-Length: 69"), 304, "", false},
		{"304, in chunks", request, lines("HTTP/1.1 304 Not Modified", "Transfer-Encoding: chunked"), 304, "", false},
		{"304, length, client of HTTP/1.0", old, lines("HTTP/1.1 304 Not Modified", "Content-Length: 69"), 304, "", false},
		{"chunks of HTTP/1.0", request, lines("HTTP/1.0 200 OK", "Transfer-Encoding: chunked", "Connection: keep-alive") + "2\r\nok\r\n0\r\n\r\n", 200, "ok", false},
		{"close, then keep-alive", request, lines("HTTP/1.0 200 OK", "Content-Length: 2", "Connection: close", "Connection: keep-alive") + "ok", 200, "ok", false},
		{"interim response", request, interim + lines("HTTP/1.1 200 OK", "Content-Length: 2") + "ok", 200, "ok", true},
		{"interim response alone", request, interim, 504, "response_timeout", false},
		{"interim responses without end", request, strings.Repeat(interim, maxInterim+1), 502, "bad_response", false},
		{"interim response with a length", request, lines("HTTP/1.1 103 Early Hints", "Content-Length: 69"), 502, "bad_response", false},
		{"interim response in chunks", request, lines("HTTP/1.1 100 Continue", "Transfer-Encoding: chunked"), 502, "bad_response", false},
		{"a protocol not asked for", request, lines("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: a"), 502, "bad_response", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o := testOptions(startHostile(t, test.response, false))
			pool := o.Pools["main"]
			pool.Timeouts.ResponseHeader = time.Second
			if test.status == 504 {
				pool.Timeouts.ResponseHeader = 50 * time.Millisecond
			}
			o.Pools["main"] = pool
			_, address := startProxy(t, o)
			w := newWire(t, address)
			w.send(test.request)
			method, _, _ := strings.Cut(test.request, " ")
			if got := w.receive(method); got.StatusCode != test.status || !strings.Contains(string(got.body), test.body) {
				t.Errorf("got %d %q, want %d %q", got.StatusCode, got.body, test.status, test.body)
			}
			want := "clean"
			if test.servesOn {
				want = "evil" // what any second request on that connection gets
			}
			other := newWire(t, address)
			other.send(get("/"))
			if got := other.receive("GET"); string(got.body) != want {
				t.Errorf("the next client got %d %q, want %q", got.StatusCode, got.body, want)
			}
		})
	}
}
