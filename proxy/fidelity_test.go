package proxy

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"loadbalancer/proxy/routes"

	"github.com/rs/zerolog"
)

// multipartBody has what a parser that writes it anew would lose: preamble, epilogue, odd white
// space and case, and a part without a name.
const multipartBody = "preamble\r\n--b-1 \t\r\ncontent-disposition:form-data;name=a\r\n\r\n\x00\x01\r\n--b-1\r\n" +
	"Content-Disposition: form-data; name=\"f\"; filename=\"\xe4.bin\"\r\nX-Odd: 1\r\n\r\n\n\r\r\n--b-1\r\n\r\nno name\r\n--b-1--\r\nepilogue"

// TestRequestArrivesAsSent compares whole headers: nothing is added to a request but X-Forwarded-*
// and X-Request-Id, and nothing is taken off, moved or written anew.
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
			if r := <-got; withoutIDs(t, 1, r.header) != want || r.body != test.body {
				t.Errorf("got\n%q %q, want\n%q %q", r.header, r.body, want, test.body)
			}
		})
	}
}

// TestEveryMethodMayHaveABody checks that framing alone, and not the method, tells whether a
// request or its response has a body, and that the connection stays open.
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

// TestHeaderDoesNotWaitForABody has the backend get the header of a request whose body is large, or
// of unknown length, before a byte of that is sent.
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

func TestMethodAndTargetArriveAsSent(t *testing.T) {
	_, address := startProxy(t, testOptions(startBackend(t, mirror)))
	w := newWire(t, address)
	for _, method := range []string{"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "x-odd!", "get"} {
		for _, target := range []string{"/", "/a/b?c=d&e", "/a//b/../c/./d", "/%2e%2E/c%2Fd?x=%00", "/?", "/a?b?c=/&;'\"<>[]{}|\\^`", "/" + strings.Repeat("long/", 1000)} {
			w.send(method + " " + target + " HTTP/1.1\r\nHost: h\r\n\r\n")
			got := w.receive(method)
			if got.Header.Get("X-Method") != method || got.Header.Get("X-Target") != target {
				t.Errorf("sent %s %s, arrived as %s %s (status %d)", method, target, got.Header.Get("X-Method"), got.Header.Get("X-Target"), got.StatusCode)
			}
		}
	}
}

func TestBodiesArriveByteForByte(t *testing.T) {
	_, address := startProxy(t, testOptions(startBackend(t, mirror)))
	for _, size := range []int{0, 1, 4 << 10, 16<<10 - 1, 16 << 10, 16<<10 + 1, 64 << 10, 1 << 20, 10 << 20} {
		body := randomBytes(size)
		framed := map[string]string{
			"Content-Length": fmt.Sprintf("Content-Length: %d\r\n\r\n%s", size, body),
			"chunked":        "Transfer-Encoding: chunked\r\n\r\n" + inChunks(body),
		}
		for framing, rest := range framed {
			for _, response := range []string{"chunked", "X-Plain: 1\r\n"} {
				t.Run(fmt.Sprintf("%d %s %.7s", size, framing, response), func(t *testing.T) {
					w := newWire(t, address)
					go func() { // the response may come while we still send
						_, _ = io.WriteString(w, "POST /p HTTP/1.1\r\nHost: h\r\n"+strings.TrimPrefix(response, "chunked")+rest)
					}()
					got := w.receive("POST")
					if sha256.Sum256(got.body) != sha256.Sum256(body) {
						t.Errorf("%d bytes came back, not the %d that were sent", len(got.body), size)
					}
					want := strconv.Itoa(size)
					if framing == "chunked" {
						want = "-1"
					}
					if l := got.Header.Get("X-Length"); l != want {
						t.Errorf("the backend saw Content-Length %s, want %s", l, want)
					}
				})
			}
		}
	}
}

func TestResponsesWithoutBody(t *testing.T) {
	for _, test := range []struct{ method, response, length string }{
		{"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "5"},
		{"HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", ""},
		{"HEAD", "HTTP/1.1 200 OK\r\n\r\n", ""},
		{"GET", "HTTP/1.1 204 No Content\r\n\r\n", ""},
		{"GET", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", ""}, // RFC 9110, section 8.6
		{"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\nETag: \"x\"\r\n\r\n", "7"},
		{"GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "0"},
		{"GET", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "0"}, // no reason phrase, nor the space before it
		{"GET", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "0"},
	} {
		t.Run(fmt.Sprintf("%s %.40s", test.method, test.response), func(t *testing.T) {
			_, address := startProxy(t, testOptions(startRawBackend(t, answerAll(test.response))))
			w := newWire(t, address)
			for range 3 { // what is left over would be taken for the next response
				w.send(test.method + " / HTTP/1.1\r\nHost: h\r\n\r\n")
				got := w.receive(test.method)
				if len(got.body) != 0 || got.Header.Get("Content-Length") != test.length || len(got.TransferEncoding) != 0 && test.method != "HEAD" {
					t.Errorf("got %d bytes, Content-Length %q, %v", len(got.body), got.Header.Get("Content-Length"), got.TransferEncoding)
				}
			}
		})
	}
}

func TestUntilCloseResponse(t *testing.T) {
	body := randomBytes(300_000)
	_, address := startProxy(t, testOptions(startRawBackend(t, func(conn net.Conn) {
		buf := make([]byte, 4096)
		_, _ = conn.Read(buf)
		_, _ = io.WriteString(conn, "HTTP/1.0 200 OK\r\nX-A: b\r\n\r\n")
		_, _ = conn.Write(body)
	})))
	w := newWire(t, address)
	for range 2 { // its end is told by framing, so the client's connection lives on
		w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		if got := w.receive("GET"); !bytes.Equal(got.body, body) || got.Proto != "HTTP/1.1" {
			t.Errorf("got %s and %d bytes, want HTTP/1.1 and the %d sent", got.Proto, len(got.body), len(body))
		}
	}
}

// TestResponseArrivesAsSent compares whole headers: nothing is added to a response but what tells
// the client of its connection, and nothing is moved or written anew.
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
			if got := withoutIDs(t, 1, talk(t, address, get("/"))); got != want {
				t.Errorf("got\n%q, want\n%q", got, want)
			}
		})
	}
}

// TestHeadOfLargeFiles checks that the length of a body that does not come passes, and that the
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

// TestStatusAboveClasses checks that such a status is counted as it is. The access log has it as an
// error, as a recipient that does not know it treats it as one (RFC 9110, section 15).
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

// TestOneAuthority has one authority decide about the pool and about what the backend sees: Host as
// it was received or, where HTTP/1.0 sent none, that of the target.
func TestOneAuthority(t *testing.T) {
	named := func(name string) string {
		return startBackend(t, func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%s %s %s", name, r.Host, r.Header.Get("X-Forwarded-Host"))
		})
	}
	o := testOptions(named("main"))
	o.Pools["shop"] = testOptions(named("shop")).Pools["main"]
	o.Routes = []routes.Config{{Host: "shop.example", Pool: "shop"}, {Pool: "main"}}
	_, address := startProxy(t, o)
	for request, want := range map[string]string{
		"GET http://shop.example/ HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n":       "shop shop.example shop.example",
		"GET http://Shop.Example:80/ HTTP/1.1\r\nHost: shop.example:80\r\nConnection: close\r\n\r\n": "shop shop.example:80 shop.example:80",
		"GET https://shop.example:443?a HTTP/1.1\r\nHost: SHOP.example\r\nConnection: close\r\n\r\n": "shop SHOP.example SHOP.example",
		"GET http://shop.example/ HTTP/1.0\r\n\r\n":                                                  "shop shop.example shop.example",
		"GET http://other.example/ HTTP/1.0\r\n\r\n":                                                 "main other.example other.example",
		"GET / HTTP/1.1\r\nHost: SHOP.example\r\nX-Forwarded-Host: a\r\nConnection: close\r\n\r\n":   "shop SHOP.example SHOP.example",
	} {
		if got := talk(t, address, request); !strings.HasSuffix(got, "\r\n\r\n"+want) {
			t.Errorf("%q: got %q, want %q", request, got, want)
		}
	}
}

// TestOptionsOfTheServer checks that a target without a path becomes *, as RFC 9112, section 3.2.4,
// asks of the last proxy.
func TestOptionsOfTheServer(t *testing.T) {
	url, got := startVerbatimBackend(t)
	_, address := startProxy(t, testOptions(url))
	for target, want := range map[string]string{
		"*": "*", "/": "/", "http://example.com": "*", "http://example.com/": "/", "http://example.com/*": "/*",
	} {
		w := newWire(t, address)
		w.send(withHost("OPTIONS " + target + " HTTP/1.1"))
		w.receive("OPTIONS")
		if r := <-got; !strings.HasPrefix(r.header, "OPTIONS "+want+" HTTP/1.1\r\n") {
			t.Errorf("OPTIONS %s arrived as %.30q, want %s", target, r.header, want)
		}
	}
}
