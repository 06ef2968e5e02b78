package proxy

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// TestHTTP2Request compares what a backend gets with what a client has sent, byte for byte.
func TestHTTP2Request(t *testing.T) {
	url, got := startVerbatimBackend(t)
	o := http2Options(url)
	o.Server.Via = "lb"
	_, address := startProxy(t, o)
	const forwarded = "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: example.com\r\nVia: 2.0 lb\r\n"
	for _, test := range []struct {
		list []string
		data string // "-": none, and the header does not end the request
		want string // header up to the request ID
		body string
	}{
		{request("GET", "/a?b=/c"), "", "GET /a?b=/c HTTP/1.1\r\nhost: example.com\r\n" + forwarded, ""},
		{request("GET", "//x/%2e%2E"), "", "GET //x/%2e%2E HTTP/1.1\r\nhost: example.com\r\n" + forwarded, ""},
		{request("OPTIONS", "*"), "", "OPTIONS * HTTP/1.1\r\nhost: example.com\r\n" + forwarded, ""},
		{request("GET", "/", "host: EXAMPLE.com"), "", "GET / HTTP/1.1\r\nhost: example.com\r\n" + forwarded, ""},
		{[]string{":method: GET", ":scheme: http", ":path: /", "host: example.com"}, "", "GET / HTTP/1.1\r\nhost: example.com\r\n" + forwarded, ""},
		{request("GET", "/", "z: 1", "b: 2", "a: \x80", "b: 3", "b: 2", "empty: "), "", "GET / HTTP/1.1\r\nhost: example.com\r\nz: 1\r\nb: 2\r\na: \x80\r\nb: 3\r\nb: 2\r\nempty: \r\n" + forwarded, ""},
		{request("GET", "/", "cookie: a=b", "x: y", "cookie: c=d", "cookie: e"), "", "GET / HTTP/1.1\r\nhost: example.com\r\ncookie: a=b; c=d; e\r\nx: y\r\n" + forwarded, ""},
		{request("GET", "/", "te: trailers"), "", "GET / HTTP/1.1\r\nhost: example.com\r\nTE: trailers\r\nConnection: TE\r\n" + forwarded, ""},
		{request("GET", "/", "x-forwarded-for: 1.2.3.4", "x-forwarded-proto: https"), "", "GET / HTTP/1.1\r\nhost: example.com\r\n" + forwarded, ""},
		{request("POST", "/", "content-length: 5"), "hello", "POST / HTTP/1.1\r\nhost: example.com\r\ncontent-length: 5\r\n" + forwarded, "hello"},
		{request("POST", "/", "content-length: 5", "expect: 100-continue"), "hello", "POST / HTTP/1.1\r\nhost: example.com\r\ncontent-length: 5\r\n" + forwarded, "hello"},
		{request("POST", "/", "content-length: 0"), "-", "POST / HTTP/1.1\r\nhost: example.com\r\ncontent-length: 0\r\n" + forwarded, ""},
		{request("POST", "/"), "hello", "POST / HTTP/1.1\r\nhost: example.com\r\nTransfer-Encoding: chunked\r\n" + forwarded, "hello"},
		{request("POST", "/", "trailer: b", "trailer: a, B"), "hello", "POST / HTTP/1.1\r\nhost: example.com\r\ntrailer: b\r\ntrailer: a, B\r\nTransfer-Encoding: chunked\r\n" + forwarded, "hello"},
		{request("GET", "/"), "hello", "GET / HTTP/1.1\r\nhost: example.com\r\nTransfer-Encoding: chunked\r\n" + forwarded, "hello"},
		{request("POST", "/"), "-", "POST / HTTP/1.1\r\nhost: example.com\r\nTransfer-Encoding: chunked\r\n" + forwarded, ""},
	} {
		f := dialFrames(t, address)
		stream := f.open(test.data == "", test.list...)
		if test.data != "" {
			f.must(f.write.WriteData(stream, true, []byte(strings.TrimPrefix(test.data, "-"))))
		}
		if a := f.wait(stream); a.String() != "204" {
			t.Errorf("%q: %s", test.list, a)
			continue
		}
		r := <-got
		header, _, _ := strings.Cut(r.header, "X-Request-Id: ")
		if header != test.want || r.body != test.body {
			t.Errorf("%q: the backend got\n%q\nand %q, want\n%q\nand %q", test.list, header, r.body, test.want, test.body)
		}
	}
}

// TestHTTP2Response compares what a client gets with what the backend has sent.
func TestHTTP2Response(t *testing.T) {
	date := "Date: Mon, 02 Jan 2006 15:04:05 GMT"
	for _, test := range []struct {
		method   string
		response string
		want     string // outcome, fields in order of their names, body and trailers
	}{
		{"GET", lines("HTTP/1.1 200 OK", "Content-Length: 5", date, "X-B: 1", "Set-Cookie: a", "X-b: 2", "set-cookie: b") + "hello",
			"200 content-length=5 date=Mon, 02 Jan 2006 15:04:05 GMT set-cookie=a|b x-b=1|2; hello; "},
		{"GET", lines("HTTP/1.1 200 OK", "Content-Length: 5") + "hello", "200 content-length=5; hello; "},
		{"HEAD", lines("HTTP/1.1 200 OK", "Content-Length: 5"), "200 content-length=5; ; "},
		{"GET", lines("HTTP/1.1 204 No Content"), "204; ; "},
		{"GET", lines("HTTP/1.1 304 Not Modified", "Content-Length: 5", "ETag: a"), "304 content-length=5 etag=a; ; "},
		{"GET", lines("HTTP/1.1 404 Whatever you say", "Content-Length: 0"), "404 content-length=0; ; "},
		{"GET", lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Trailer: X-Sum, X-More", "X-More: no trailer") + "5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-sum: 2\r\nContent-Length: 9\r\n\r\n",
			"200 trailer=X-Sum, X-More x-more=no trailer; hello; x-sum=1|2"},
		{"GET", lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + "5\r\nhello\r\n0\r\nServer-Timing: a\r\n\r\n", "200; hello; server-timing=a"},
		{"GET", lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + "0\r\nGrpc-Status: 0\r\n\r\n", "200; ; grpc-status=0"},
		{"GET", lines("HTTP/1.1 200 OK", "Connection: close, x-hop", "X-Hop: 1", "Keep-Alive: timeout=5", "Proxy-Connection: close", "Upgrade: h2c", "Content-Length: 2") + "ok", "200 content-length=2; ok; "},
		{"GET", lines("HTTP/1.1 426 Upgrade Required", "Upgrade: websocket", "Content-Length: 2") + "ok", "426 content-length=2; ok; "},
		{"GET", lines("HTTP/1.0 200 OK") + "hello", "200; hello; "},
		{"GET", lines("HTTP/1.1 103 Early Hints", "Link: a", "Connection: x") + lines("HTTP/1.1 102 Processing") + leaseOK, "103map[link:a],102map[],200 content-length=2; ok; "},
		{"GET", lines("HTTP/1.1 200 OK", "Content-Length: 6") + "hello", "200 reset INTERNAL_ERROR content-length=6; hello; "},
		{"GET", lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + "5\r\nhello\r\n", "200 reset INTERNAL_ERROR; hello; "},
		{"GET", lines("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket"), "502 content-length content-type date; …; "},
		{"GET", "nonsense", "502 content-length content-type date; …; "},
	} {
		o := http2Options(startRawBackend(t, func(conn net.Conn) {
			if _, err := io.ReadFull(conn, make([]byte, 1)); err == nil {
				_, _ = io.WriteString(conn, test.response)
				_ = conn.(*net.TCPConn).CloseWrite()
				_, _ = io.Copy(io.Discard, conn)
			}
		}))
		o.Server.EarlyHints = true
		_, address := startProxy(t, o)
		f := dialFrames(t, address)
		if got := outline(f.wait(f.open(true, request(test.method, "/")...))); got != test.want {
			t.Errorf("%s %q:\ngot  %s\nwant %s", test.method, test.response, got, test.want)
		}
	}
}

// outline shows a response without its request ID. The balancer's own answer is shown by the names
// of its fields.
func outline(a *answered) string {
	delete(a.fields, "x-request-id")
	own := strings.HasPrefix(a.fields["content-type"], "application/problem")
	show := func(fields map[string]string) (all []string) {
		for name, value := range fields {
			if !own {
				name += "=" + value
			}
			all = append(all, name)
		}
		slices.Sort(all)
		return all
	}
	head := strings.Join(append(slices.Clone(a.interim), a.String()), ",")
	body := string(a.body)
	if own {
		body = "…"
	}
	return strings.Join(append([]string{head}, show(a.fields)...), " ") + "; " + body + "; " + strings.Join(show(a.trailers), " ")
}

// TestHTTP2Bodies sends bodies of many sizes both ways at once, of known length and of unknown, on
// one connection.
func TestHTTP2Bodies(t *testing.T) {
	t.Parallel()
	p, address := startProxy(t, http2Options(startBackend(t, mirror)))
	client := http2Client(t)
	var wg sync.WaitGroup
	for _, size := range []int{0, 1, 4095, 16 << 10, 16<<10 + 1, 64 << 10, 200_000, 3 << 20} {
		for _, known := range []bool{true, false} {
			for _, plain := range []string{"", "yes"} {
				wg.Go(func() {
					body := bytes.Repeat([]byte("0123456789abcde\n"), size/16+1)[:size]
					r, _ := http.NewRequest("POST", "http://"+address+"/path", bytes.NewReader(body))
					if !known {
						r.ContentLength = -1
						r.Body = io.NopCloser(bytes.NewReader(body))
					}
					r.Header.Set("X-Plain", plain)
					response, err := client.Do(r)
					if err != nil {
						t.Error(err)
						return
					}
					defer response.Body.Close()
					got, err := io.ReadAll(response.Body)
					if err != nil || response.StatusCode != 200 || response.Proto != "HTTP/2.0" || sha256.Sum256(got) != sha256.Sum256(body) {
						t.Errorf("%d bytes, known: %v: %s %d, %d bytes, %v", size, known, response.Proto, response.StatusCode, len(got), err)
					}
					if length := response.Header.Get("X-Length"); known && length != fmt.Sprint(size) || !known && size > 0 && length != "-1" {
						t.Errorf("%d bytes, known: %v: the backend saw a length of %s", size, known, length)
					}
				})
			}
		}
	}
	wg.Wait()
	mustHaveNoErrors(t, p)
	if n := metric(p, "lb_connections"); n != "1" {
		t.Errorf("%s connections are open, want 1", n)
	}
}

// TestHTTP2ContinueAndTrailers has Go's client wait for 100 Continue, and trailers pass both ways.
func TestHTTP2ContinueAndTrailers(t *testing.T) {
	_, address := startProxy(t, http2Options(startBackend(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Trailer", "X-Back")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("X-Back", r.Trailer.Get("X-There"))
	})))
	r, _ := http.NewRequest("POST", "http://"+address, io.NopCloser(strings.NewReader("hello")))
	r.ContentLength = -1
	r.Header.Set("Expect", "100-continue")
	r.Trailer = http.Header{"X-There": {"sum"}}
	continued := false
	r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, _ textproto.MIMEHeader) error { continued = continued || code == 100; return nil },
		Got100Continue: func() { continued = true },
	}))
	client := http2Client(t)
	client.Transport.(*http.Transport).ExpectContinueTimeout = 5 * time.Second
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || string(body) != "body" || response.Trailer.Get("X-Back") != "sum" || !continued {
		t.Errorf("%q, %v, trailers %v, continued: %v", body, err, response.Trailer, continued)
	}
}

// TestHTTP2Limits sees that limits, header bounds, metrics and the access log are those of HTTP/1.
func TestHTTP2Limits(t *testing.T) {
	var log logLines
	o := http2Options(startBackend(t, mirror))
	o.Limiter, o.Access = limits(2, 0.001), AccessAll
	o.Log = zerolog.New(&log)
	o.Server.MaxHeaderSize, o.Server.MaxBodySize = 2<<10, 1000
	p, address := startProxy(t, o)
	client := http2Client(t)
	status := func(path, body string) int {
		r, _ := http.NewRequest("POST", "http://"+address+path, strings.NewReader(body))
		response, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		_, _ = io.Copy(io.Discard, response.Body)
		return response.StatusCode
	}
	got := []int{status("/a?b", "hello"), status("/", ""), status("/", ""), status("/", strings.Repeat("x", 1001))}
	if want := []int{200, 200, 429, 413}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	f := dialFrames(t, address)
	if a := f.wait(f.open(true, request("GET", "/", "x-long: "+strings.Repeat("x", 1500), "x-longer: "+strings.Repeat("x", 1500))...)); a.String() != "431" {
		t.Errorf("a long header gets %s", a)
	}
	if n := errorsWith(p, "limited"); n != "1" {
		t.Errorf("%s requests count as limited", n)
	}
	var line map[string]any
	eventually(t, "the line of the first request", func() bool { // a line may follow the response, and the next one
		for _, l := range log.parsed(t) {
			if l["path"] == "/a" {
				line = l
			}
		}
		return line != nil
	})
	checkLine(t, line, map[string]any{
		"proto": "HTTP/2.0", "method": "POST", "path": "/a", "host": address, "status": 200.0, "client": "127.0.0.1", "pool": "main",
		"duration_ms": brief, "backend_ms": brief, "user_agent": "Go-http-client/2.0", "reason": nil, "cause": nil,
	})
	if in, out := line["bytes_in"].(float64), line["bytes_out"].(float64); in < 50 || in > 400 || out < 50 || out > 400 {
		t.Errorf("%g bytes in, %g out", in, out)
	}
}
