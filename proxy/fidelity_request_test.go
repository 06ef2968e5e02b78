package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// received is a request as it came to a backend.
type received struct {
	header string // byte for byte
	body   string // without its framing
}

// startVerbatimBackend hands over each request as it came, and answers with 204.
func startVerbatimBackend(t *testing.T) (url string, got <-chan received) {
	requests := make(chan received, 16)
	return startRawBackend(t, func(conn net.Conn) {
		var raw bytes.Buffer
		in := bufio.NewReader(io.TeeReader(conn, &raw)) // the proxy sends no request before the one before is answered
		for {
			raw.Reset()
			_, body, err := readRequest(in)
			if err != nil {
				return
			}
			header, _, _ := strings.Cut(raw.String(), "\r\n\r\n")
			requests <- received{header + "\r\n\r\n", string(body)}
			if _, err := io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n"); err != nil {
				return
			}
		}
	}), requests
}

// multipartBody has what a parser that writes it anew would lose: preamble,
// epilogue, odd white space and case, and a part without a name.
const multipartBody = "preamble\r\n--b-1 \t\r\ncontent-disposition:form-data;name=a\r\n\r\n\x00\x01\r\n--b-1\r\n" +
	"Content-Disposition: form-data; name=\"f\"; filename=\"\xe4.bin\"\r\nX-Odd: 1\r\n\r\n\n\r\r\n--b-1\r\n\r\nno name\r\n--b-1--\r\nepilogue"

// TestRequestArrivesAsSent compares whole headers: nothing is added to a request
// but X-Forwarded-*, and nothing is taken off, moved or written anew.
func TestRequestArrivesAsSent(t *testing.T) {
	url, got := startVerbatimBackend(t)
	_, address := startProxy(t, testOptions(url))
	for _, test := range []struct {
		name, line string
		fields     []string
		body       string
		want       []string // the fields that arrive; nil: those that were sent
	}{
		{name: "nothing but Host", line: "GET / HTTP/1.1"},
		{name: "POST without Content-Type", line: "POST / HTTP/1.1", fields: []string{"Content-Length: 5"}, body: "hello"},
		{name: "POST without a body", line: "POST / HTTP/1.1"},
		{name: "length 0", line: "PUT / HTTP/1.1", fields: []string{"Content-Length: 0"}},
		{name: "multipart", line: "POST / HTTP/1.1", body: multipartBody,
			fields: []string{"Content-Type: multipart/form-data; boundary=b-1", fmt.Sprint("content-length:", len(multipartBody))}},
		{name: "form", line: "POST /?a=1&a=2;b=%zz&&c HTTP/1.1", body: "a=%zz&a;b=+&=",
			fields: []string{"Content-Type: application/x-www-form-urlencoded", "Content-Length: 13"}},
		{name: "query", line: "GET /?q=a+b%20c&q=%C3%A4&;=&%&? HTTP/1.1"},
		{name: "target", line: "GET /a//b/%2e%2E/c%2Fd?x HTTP/1.1"},
		{name: "empty User-Agent", line: "GET / HTTP/1.1", fields: []string{"User-Agent:"}},
		{name: "fields that are kept apart elsewhere", line: "GET / HTTP/1.1",
			fields: []string{"Server: a", "Content-Type: a/b", "X: 1", "User-Agent: u", "Set-Cookie: s=1", "Date: never", "Content-Type: c/d", "user-agent: v", "server: b"}},
		{name: "stacked Content-Encoding", line: "PUT / HTTP/1.1", fields: []string{"Content-Encoding: br", "Content-Length: 1", "Content-Encoding: gzip"}, body: "x"},
		{name: "cookies", line: "GET / HTTP/1.1", fields: []string{`Cookie: a=1;b="x; y";;c=; =d;e`, "A: 1", "cookie:  a=2 ", "Cookie:"}},
		{name: "order", line: "GET / HTTP/1.1", fields: []string{"Via: 1.0 a", "Cookie: a=1", "Via: 1.1 b", "Accept: a/b", "Via: 1.1 c", "Cookie: b=2"}},
		{name: "order around what ends here", line: "GET / HTTP/1.1",
			fields: []string{"A: 1", "Keep-Alive: 1", "B: 1", "TE: gzip", "C: 1", "X-Forwarded-For: 192.0.2.1", "A: 2", "x-forwarded-for: 192.0.2.2", "B: 2"},
			want:   []string{"A: 1", "B: 1", "C: 1", "A: 2", "B: 2"}},
		{name: "8-bit values", line: "GET / HTTP/1.1", fields: []string{"A: \x80\xff caf\xc3\xa9 \xe9", "B:\xa0"}},
		{name: "white space", line: "GET / HTTP/1.1", fields: []string{"A:  \t a \t b\t ", "B:", "C: ", "D:\t"}},
		{name: "names", line: "GET / HTTP/1.1", fields: []string{"x-lower: 1", "X-UPPER: 1", "ETAG: 1", "!#$%&'*+-.^_`|~09: 1", "WWW-authenticate: a"}},
		{name: "Authorization", line: "GET / HTTP/1.1", fields: []string{"AUTHORIZATION: Basic dTpw"}},
		{name: "Connection in two lines", line: "GET / HTTP/1.1",
			fields: []string{"Connection: x-a", "X-B: 1", "X-A: 1", "X-C: 1", "connection: keep-alive,X-B"}, want: []string{"X-C: 1"}},
		{name: "empty elements in Connection", line: "GET / HTTP/1.1",
			fields: []string{"Connection:", "X-A: 1", "Connection: ,, x-a ,\t,", "X-B: 1"}, want: []string{"X-B: 1"}},
		{name: "Connection names what is not there", line: "GET / HTTP/1.1", fields: []string{"Connection: x-z", "X-A: 1"}, want: []string{"X-A: 1"}},
		{name: "chunks without Content-Type", line: "POST / HTTP/1.1", fields: []string{"A: 1", "Transfer-Encoding: chunked", "B: 1"},
			body: "hello", want: []string{"A: 1", "B: 1", "Transfer-Encoding: chunked"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWire(t, address)
			body := test.body
			if test.want == nil {
				test.want = test.fields
			} else if body != "" {
				body = inChunks([]byte(body))
			}
			w.send(withHost(append([]string{test.line}, test.fields...)...) + body)
			if a := w.receive("POST"); a.StatusCode != 204 {
				t.Fatalf("got %d", a.StatusCode)
			}
			want := withHost(append(append([]string{test.line}, test.want...), plainForwarded)...)
			if r := <-got; r.header != want || r.body != test.body {
				t.Errorf("got\n%q %q, want\n%q %q", r.header, r.body, want, test.body)
			}
		})
	}
}

// TestEveryMethodMayHaveABody: it is the framing that tells, for requests and for
// their responses, and the connection serves on.
func TestEveryMethodMayHaveABody(t *testing.T) {
	p, address := startProxy(t, testOptions(startBackend(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Body", fmt.Sprintf("%s %d %.9s", r.Method, len(body), body))
	})))
	w := newWire(t, address)
	for _, method := range []string{"GET", "HEAD", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "FOOBAR", "M-SEARCH"} {
		for _, body := range []string{"", "body", strings.Repeat("large", 10_000)} {
			for _, framed := range []string{fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body), "Transfer-Encoding: chunked\r\n\r\n" + inChunks([]byte(body))} {
				w.send(method + " / HTTP/1.1\r\nHost: h\r\n" + framed)
				got, want := w.receive(method), fmt.Sprintf("%s %d %.9s", method, len(body), body)
				if arrived := got.Header.Get("X-Body"); got.StatusCode != 200 || strings.TrimSpace(want) != arrived || got.Close {
					t.Errorf("%s with %.30q: got %d, close: %v, the backend saw %q", method, framed, got.StatusCode, got.Close, arrived)
				}
			}
		}
	}
	if n := metric(p, "lb_connections"); n != "1" {
		t.Errorf("lb_connections is %s, want 1", n)
	}
}

// TestHeaderDoesNotWaitForABody has the backend get the header of a request whose
// body is large, or of unknown length, before a byte of that is sent.
func TestHeaderDoesNotWaitForABody(t *testing.T) {
	arrived := make(chan string, 1)
	_, address := startProxy(t, testOptions(startBackend(t, func(w http.ResponseWriter, r *http.Request) {
		arrived <- r.RequestURI
		piece := make([]byte, 5)
		for range 5 {
			_, _ = io.ReadFull(r.Body, piece)
			arrived <- string(piece)
		}
		_, _ = io.Copy(io.Discard, r.Body)
	})))
	for _, test := range []struct{ path, framing, format, end string }{
		{"/length", "Content-Length: 100000\r\n\r\n", "%s", strings.Repeat("e", 100_000-5*5)},
		{"/chunks", "Transfer-Encoding: chunked\r\n\r\n", "5\r\n%s\r\n", lastChunk},
	} {
		w := newWire(t, address)
		w.send("POST " + test.path + " HTTP/1.1\r\nHost: h\r\n" + test.framing)
		if got := <-arrived; got != test.path {
			t.Fatalf("got %q, want %q", got, test.path)
		}
		for range 5 {
			if w.send(fmt.Sprintf(test.format, "piece")); <-arrived != "piece" {
				t.Fatal("another piece arrived than the one sent")
			}
		}
		go w.send(test.end)
		if got := w.receive("POST"); got.StatusCode != 200 {
			t.Errorf("got %d", got.StatusCode)
		}
	}
}
