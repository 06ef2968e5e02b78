package proxy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rs/zerolog"
)

// TestResponseArrivesAsSent compares whole headers: nothing is added to a response
// but what tells the client of its connection, and nothing is moved or written anew.
func TestResponseArrivesAsSent(t *testing.T) {
	const ok = "HTTP/1.1 200 OK"
	for _, test := range []struct {
		name, line string
		fields     []string
		want       []string // nil: what was sent
		body       string
	}{
		{name: "a body without Content-Type", line: ok, fields: []string{"Content-Length: 5"}, body: "hello"},
		{name: "no body, no Content-Type", line: "HTTP/1.1 404 Not Found", fields: []string{"Content-Length: 0"}},
		{name: "Date and Server", line: ok, fields: []string{"Server: lighttpd/1.4", "Date: Thu, 01 Jan 1970 00:00:00 GMT", "Content-Length: 0", "Server: a"}},
		{name: "Date twice, and wrong", line: ok, fields: []string{"date: yesterday", "Content-Length: 0", "Date:"}},
		{name: "stacked Content-Encoding", line: ok, fields: []string{"Content-Encoding: br", "Content-Length: 1", "Content-Encoding: gzip"}, body: "x"},
		{name: "duplicates", line: ok, fields: []string{"Content-Type: a/b", "Set-Cookie: a=1; Path=/", "Via: 1.1 a", "Set-Cookie: a=1; Path=/", "Content-Length: 0", "Via: 1.0 b", "set-cookie: b", "Content-Type: c/d"}},
		{name: "challenges", line: "HTTP/1.1 401 Unauthorized", fields: []string{"WWW-Authenticate: Basic realm=\"a, b\"", "www-authenticate: Negotiate", "Content-Length: 0", "Authentication-Info: a"}},
		{name: "8-bit bytes", line: "HTTP/1.1 200 d\xe9j\xc3\xa0 vu", fields: []string{"A: \x80\xff caf\xc3\xa9", "Content-Length: 0", "B:\xa0"}},
		{name: "white space", line: "HTTP/1.1 200  two  spaces ", fields: []string{"A:  \t a \t b\t ", "B:", "Content-Length:0", "C: "}},
		{name: "unknown status", line: "HTTP/1.1 299 Odd", fields: []string{"Content-Length: 2"}, body: "ok"},
		{name: "status above the classes", line: "HTTP/1.1 600 Custom", fields: []string{"Content-Length: 2"}, body: "ok"},
		{name: "highest status", line: "HTTP/1.1 999 ", fields: []string{"Content-Length: 2"}, body: "ok"},
		{name: "control bytes", line: "HTTP/1.1 200 \x01O\x07K\x7f", fields: []string{"A: \x01b\x1f\x7f\x0b c\x0c", "Content-Length: 2", "B:\x08"}, body: "ok"},
		{name: "205", line: "HTTP/1.1 205 Reset Content", fields: []string{"Content-Length: 0"}},
		{name: "error with a problem of its own", line: "HTTP/1.1 502 Bad Gateway", fields: []string{"Content-Type: text/html", "Content-Length: 4"}, body: "mine"},
		{name: "redirect", line: "HTTP/1.1 302 Found", fields: []string{"Location: //other//a/../b?c#d", "Refresh: 0; url=http://backend:1/", "Content-Length: 0"}},
		{name: "Connection in two lines", line: ok, fields: []string{"Connection: x-a", "X-B: 1", "X-A: 1", "Content-Length: 0", "connection: keep-alive,X-B"}, want: []string{"Content-Length: 0"}},
		{name: "empty elements in Connection", line: ok, fields: []string{"Connection:", "X-A: 1", "Connection: ,, x-a ,\t,", "Content-Length: 0"}, want: []string{"Content-Length: 0"}},
		{name: "304 with the length of what it stands for", line: "HTTP/1.1 304 Not Modified", fields: []string{"Content-Length: 5368709120", "ETag: \"a\""}},
		{name: "304 without", line: "HTTP/1.1 304 Not Modified", fields: []string{"Etag: W/\"a\""}},
		{name: "304 in chunks that do not come", line: "HTTP/1.1 304 Not Modified", fields: []string{"A: 1", "Transfer-Encoding: chunked"}, want: []string{"A: 1"}},
		{name: "length twice", line: ok, fields: []string{"A: 1", "content-length: 2", "B: 1", "Content-Length:2", "C: 1"}, want: []string{"A: 1", "content-length: 2", "B: 1", "C: 1"}, body: "ok"},
		{name: "length in a list", line: ok, fields: []string{"Content-length:\t02 ,02, 02", "A: 1", "CONTENT-LENGTH: 02,02"}, want: []string{"Content-length: 02", "A: 1"}, body: "ok"},
		{name: "304 with the length twice", line: "HTTP/1.1 304 Not Modified", fields: []string{"Content-Length: 7", "Content-Length: 7"}, want: []string{"Content-Length: 7"}},
		{name: "204", line: "HTTP/1.1 204 No Content", fields: []string{"A: 1"}},
		{name: "204 with a length", line: "HTTP/1.1 204 No Content", fields: []string{"Content-Length: 5", "A: 1"}, want: []string{"A: 1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, address := startProxy(t, testOptions(startRawBackend(t, answerAll(lines(append([]string{test.line}, test.fields...)...)+test.body))))
			if test.want == nil {
				test.want = test.fields
			}
			want := lines(append(append([]string{test.line}, test.want...), "Connection: close")...) + test.body
			if got := talk(t, address, get("/")); got != want {
				t.Errorf("got\n%q, want\n%q", got, want)
			}
		})
	}
}

// TestHeadOfLargeFiles: the length is that of a body which does not come, and the
// next response follows at once.
func TestHeadOfLargeFiles(t *testing.T) {
	const size = 5 << 30
	_, address := startProxy(t, testOptions(startRawBackend(t, answerAll(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size)))))
	w := newWire(t, address)
	w.send(strings.Repeat("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", 3))
	for range 3 {
		if got := w.receive("HEAD"); got.ContentLength != size || got.Close {
			t.Errorf("got Content-Length %d, close: %v", got.ContentLength, got.Close)
		}
	}
}

// TestBackendThatCloses ends its own connection with each response, not that of
// the client.
func TestBackendThatCloses(t *testing.T) {
	var dials atomic.Int32
	_, address := startProxy(t, testOptions(startRawBackend(t, func(conn net.Conn) {
		dials.Add(1)
		answerAll("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")(conn)
	})))
	w := newWire(t, address)
	for i := range int32(3) {
		w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		if got := w.receive("GET"); got.Close || string(got.body) != "ok" {
			t.Errorf("got %q, close: %v", got.body, got.Close)
		}
		if n := dials.Load(); n != i+1 {
			t.Errorf("%d connections for %d requests", n, i+1)
		}
	}
}

// TestNoCleanEnd has backends die when the header of the response is all that was
// sent, or not even that. Nothing may look like a whole response.
func TestNoCleanEnd(t *testing.T) {
	for _, test := range []struct {
		name, request, response string
		status                  int
	}{
		{"length", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200},
		{"chunks", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200},
		{"length, HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200},
		{"chunks, HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200},
		{"no chunk", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n", 502},
		{"no chunk, HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhello\r\n", 502},
		{"within the header", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", 502},
		{"within an interim response", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 102 Processing\r\n", 502},
		{"behind an interim response", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n", 502},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, address := startProxy(t, testOptions(rawAnswer(test.response)(t)))
			w := newWire(t, address)
			w.send(test.request)
			got, err := http.ReadResponse(w.in, nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(got.Body)
			if got.StatusCode != test.status || (err != nil) != (test.status == 200) || isTimeout(err) {
				t.Errorf("got %d, body %q, %v, want %d", got.StatusCode, body, err, test.status)
			}
		})
	}
}

// TestStatusAboveClasses: such a status is counted as it is, and is an error to the
// access log, as a recipient that does not know it takes it for one (RFC 9110, section
// 15).
func TestStatusAboveClasses(t *testing.T) {
	var log logLines
	url := startRawBackend(t, answerAll("HTTP/1.1 999 Request Denied\r\nContent-Length: 2\r\n\r\nok"))
	o := testOptions(url)
	o.Access, o.Log = AccessErrors, zerolog.New(&log)
	p, address := startProxy(t, o)
	if got := status(t, address, get("/")); got != 999 {
		t.Errorf("got %d", got)
	}
	for _, name := range []string{`lb_requests_total{pool="main",code="999"}`, attemptsAt(url, 999)} {
		eventually(t, name+" to be counted", func() bool { return metric(p, name) == "1" })
	}
	eventually(t, "the line of the log", func() bool { return len(log.parsed(t)) == 1 })
	if line := log.parsed(t)[0]; line["status"] != 999. || line["level"] != "error" || line["reason"] != nil {
		t.Errorf("logged %v", line)
	}
}
