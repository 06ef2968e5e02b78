package proxy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/net/http2"

	"loadbalancer/limiter"
	"loadbalancer/proxy/upstream"
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
	response, err := http2Client(t).Do(r)
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
	line := log.parsed(t)[0]
	checkLine(t, line, map[string]any{
		"proto": "HTTP/2.0", "method": "POST", "path": "/a", "host": address, "status": 200.0, "client": "127.0.0.1", "pool": "main",
		"duration_ms": brief, "backend_ms": brief, "user_agent": "Go-http-client/2.0", "reason": nil, "cause": nil,
	})
	if in, out := line["bytes_in"].(float64), line["bytes_out"].(float64); in < 50 || in > 400 || out < 50 || out > 400 {
		t.Errorf("%g bytes in, %g out", in, out)
	}
}

// TestHTTP2ProxyHeader takes the client's address from the PROXY header before the preface, and
// reads HTTP/1 behind one, or without one, as before.
func TestHTTP2ProxyHeader(t *testing.T) {
	url, got := startRecordingBackend(t)
	o := http2Options(url)
	o.Server.TrustedProxies, o.Server.ProxyProtocol = prefixes("127.0.0.1"), true
	_, address := startProxy(t, o)
	for _, test := range []struct{ preface, list string }{
		{http2.ClientPreface, "\x00\x00\x00\x04\x00\x00\x00\x00\x00" + "\x00\x00\x0f\x01\x05\x00\x00\x00\x01" + "\x82\x86\x84\x41\x8a\x08\x9d\x5c\x0b\x81\x70\xdc\x78\x0f\x03"},
		{"", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"},
	} {
		for _, cut := range []int{0, 1, 20, 40, 50} {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			all := "PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\n" + test.preface + test.list
			_, _ = io.WriteString(conn, all[:cut])
			time.Sleep(5 * time.Millisecond) // so that it comes in two pieces
			_, _ = io.WriteString(conn, all[cut:])
			if header := <-got; !strings.Contains(header, "X-Forwarded-For: 192.0.2.7\r\n") {
				t.Errorf("preface %q, cut at %d: the backend got %q", test.preface, cut, header)
			}
			conn.Close()
		}
	}
}

// TestHTTP2Preface tells the protocols apart, however the first bytes come, and holds a preface that
// does not come to its end to server.read_header_timeout.
func TestHTTP2Preface(t *testing.T) {
	t.Parallel()
	o := http2Options(startBackend(t, mirror))
	shortTimeouts(&o)
	_, address := startProxy(t, o)
	plain := withHost("GET / HTTP/1.1", "Connection: close")
	for _, test := range []struct{ first, rest, want string }{
		{"", plain, "HTTP/1.1 200"},
		{"G", plain[1:], "HTTP/1.1 200"},
		{"P", withHost("POST / HTTP/1.1", "Connection: close", "Content-Length: 0")[1:], "HTTP/1.1 200"},
		{"PR", withHost("PROPFIND / HTTP/1.1", "Connection: close")[2:], "HTTP/1.1 200"},
		{"PRI", withHost("PRI / HTTP/1.1", "Connection: close")[3:], "HTTP/1.1 200"},
		{"PRI * HTTP/2.0\r\n", "\r\nSX", "HTTP/1.1 400"},
		{"PRI * HTTP/2.0\r\n\r\n", "", "HTTP/1.1 400"},
		{"PRI", "", "HTTP/1.1 408"},
		{"", "", ""},
		{"PRI * HTTP/2.0\r\n\r\n", "SM\r\n\r\n", "\x00\x00"}, // SETTINGS
	} {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.WriteString(conn, test.first)
		time.Sleep(5 * time.Millisecond) // so that it comes in two pieces
		_, _ = io.WriteString(conn, test.rest)
		got := make([]byte, len(test.want))
		if test.want == "" {
			got = make([]byte, 1)
		}
		n, err := io.ReadFull(conn, got)
		if string(got[:n]) != test.want || test.want == "" && err != io.EOF {
			t.Errorf("%q, then %q: got %q, %v, want %q", test.first, test.rest, got[:n], err, test.want)
		}
		conn.Close()
	}
	// Where it is off, the preface is a request like others, which is refused.
	_, address = startProxy(t, testOptions(startBackend(t, mirror)))
	if got := exchangeRaw(t, address, http2.ClientPreface); !strings.HasPrefix(got, "HTTP/1.1 400") {
		t.Errorf("with h2c off: %q", got)
	}
}

// exchangeRaw sends bytes, and returns all that comes back.
func exchangeRaw(t *testing.T, address, send string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(conn, send)
	got, _ := io.ReadAll(conn)
	return string(got)
}

// TestHTTP2ResetEndsTheWork checks that a client that resets its stream frees the backend at once,
// whatever the backend is doing, and that the other streams of the connection go on.
func TestHTTP2ResetEndsTheWork(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		body bool   // the request has one that does not end
		part string // what the backend has sent before
	}{{"before the response", false, ""}, {"within the response", false, lines("HTTP/1.1 200 OK", "Content-Length: 10") + "part"}, {"while it uploads", true, ""}} {
		left, entered := make(chan time.Time, 1), make(chan bool, 1)
		url := startRawBackend(t, func(conn net.Conn) {
			buf := make([]byte, 64<<10)
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			if strings.Contains(string(buf[:n]), "/plain") {
				_, _ = io.WriteString(conn, leaseOK)
				return
			}
			_, _ = io.WriteString(conn, test.part)
			entered <- true
			_, _ = io.Copy(io.Discard, conn)
			left <- time.Now()
		})
		o := http2Options(url)
		o.Access = AccessAll
		var log logLines
		o.Log = zerolog.New(&log)
		_, address := startProxy(t, o)
		f := dialFrames(t, address)
		stream := f.open(!test.body, request("POST", "/")...)
		if test.body {
			f.must(f.write.WriteData(stream, false, make([]byte, 1000)))
		}
		<-entered
		began := time.Now()
		f.must(f.write.WriteRSTStream(stream, http2.ErrCodeCancel))
		select {
		case at := <-left:
			if took := at.Sub(began); took > 500*time.Millisecond { // well under wire.WatchAfter
				t.Errorf("%s: the backend heard of it after %s", test.name, took)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: the backend never heard of it", test.name)
		}
		if a := f.wait(f.open(true, request("GET", "/plain")...)); a.String() != "200" {
			t.Errorf("%s: another stream then gets %s", test.name, a)
		}
		eventually(t, "the line in the log", func() bool { return len(log.parsed(t)) == 2 })
		checkLine(t, log.parsed(t)[0], map[string]any{"reason": "client_gone"})
	}
}

// TestHTTP2SlowStreams checks that neither a stream whose response is not read, nor one whose body is
// not read by its backend, nor one whose backend is silent holds up another of the same connection.
func TestHTTP2SlowStreams(t *testing.T) {
	t.Parallel()
	release := make(chan bool)
	defer close(release)
	o := http2Options(startBackend(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/large":
			_, _ = w.Write(make([]byte, 50<<20))
		case "/unread", "/silent":
			<-release
		default:
			mirror(w, r)
		}
	}))
	_, address := startProxy(t, o)
	client := http2Client(t)
	get := func(path string, body io.Reader) (*http.Response, error) {
		r, _ := http.NewRequest("POST", "http://"+address+path, body)
		return client.Do(r)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for range 10 {
		response, err := get("/large", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close() // without a read: what the windows allow has been sent
		for path, body := range map[string]io.Reader{"/unread": &endless{ctx: ctx}, "/silent": nil} {
			go func() {
				if response, err := get(path, body); err == nil {
					response.Body.Close()
				}
			}()
		}
	}
	for i := range 100 {
		body := bytes.Repeat([]byte("x"), i*1000)
		response, err := get("/quick", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || !bytes.Equal(got, body) {
			t.Fatalf("request %d: %d bytes, %v", i, len(got), err)
		}
	}
}

// endless is a body that ends with its context.
type endless struct{ ctx context.Context }

func (e *endless) Read(p []byte) (int, error) { return len(p), e.ctx.Err() }

// TestHTTP2Timeouts checks that a client that is silent within its body, or takes nothing of the
// response, loses its stream alone, and an idle connection gets a GOAWAY.
func TestHTTP2Timeouts(t *testing.T) {
	t.Parallel()
	o := http2Options(startBackend(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = w.Write(make([]byte, 8<<20))
	}))
	o.Server.BodyTimeout, o.Server.IdleTimeout = 300*time.Millisecond, 400*time.Millisecond
	p, address := startProxy(t, o)
	f := dialFrames(t, address)
	stream := f.open(false, request("POST", "/", "content-length: 10")...)
	f.must(f.write.WriteData(stream, false, []byte("part")))
	if a := f.wait(stream); a.status != "408" {
		t.Errorf("a body that does not end gets %s", a)
	}
	stream = f.open(true, request("GET", "/")...)
	for {
		frame, err := f.write.ReadFrame() // and no window is opened
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := frame.(*http2.RSTStreamFrame); ok && frame.Header().StreamID == stream {
			break
		}
	}
	eventually(t, "the count of clients that are gone", func() bool { return errorsWith(p, "client_gone") == "1" })
	for {
		frame, err := f.write.ReadFrame()
		if err != nil {
			t.Fatalf("no GOAWAY came: %v", err)
		}
		if g, ok := frame.(*http2.GoAwayFrame); ok {
			if g.ErrCode != http2.ErrCodeNo {
				t.Errorf("GOAWAY with %s", g.ErrCode)
			}
			break
		}
	}
	eventually(t, "the end of the connection", func() bool { return metric(p, "lb_connections") == "0" })
}

// TestHTTP2Retries checks that a request goes to another backend where HTTP/1's would, also with a
// part of a body that streams.
func TestHTTP2Retries(t *testing.T) {
	t.Parallel()
	good := startBackend(t, mirror)
	for _, size := range []int{0, 1000, 50_000} {
		bad := startRawBackend(t, func(conn net.Conn) { _, _ = conn.Read(make([]byte, 100)) })
		o := http2Options(bad, good)
		pool := o.Pools["main"]
		pool.Health.Interval = time.Hour
		o.Pools["main"] = pool
		_, address := startProxy(t, o)
		client := http2Client(t)
		for range 4 {
			body := bytes.Repeat([]byte("x"), size)
			r, _ := http.NewRequest("PUT", "http://"+address, io.MultiReader(bytes.NewReader(body))) // of unknown length
			response, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(response.Body)
			response.Body.Close()
			if response.StatusCode != 200 || err != nil || !bytes.Equal(got, body) {
				t.Errorf("%d bytes: %d, %d bytes, %v", size, response.StatusCode, len(got), err)
			}
		}
	}
}

// TestHTTP2Drain ends a proxy under load: clients get a GOAWAY, what is under way ends, and no
// request is lost: each gets its response, or the client knows that it was not taken.
func TestHTTP2Drain(t *testing.T) {
	t.Parallel()
	o := http2Options(startBackend(t, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(20 * time.Millisecond) // requests are under way at any time
		_, _ = io.WriteString(w, "ok")
	}))
	s := serve(t, o)
	var done, lost atomic.Int64
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		client := http2Client(t)
		for range 5 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					response, err := client.Get("http://" + s.address)
					if err != nil {
						if !errors.Is(err, errRefused(err)) {
							lost.Add(1)
							t.Errorf("lost: %v", err)
						}
						return
					}
					body, err := io.ReadAll(response.Body)
					response.Body.Close()
					if err != nil || string(body) != "ok" {
						lost.Add(1)
						t.Errorf("lost in its body: %q, %v", body, err)
					}
					done.Add(1)
				}
			})
		}
	}
	eventually(t, "some requests", func() bool { return done.Load() > 100 })
	s.stop()
	if err := s.ended(t, 5*time.Second); err != nil {
		t.Error(err)
	}
	close(stop)
	wg.Wait()
	if requestsUnderWay(s.Proxy) != 0 || lost.Load() > 0 {
		t.Errorf("%d requests are under way, %d of %d are lost", requestsUnderWay(s.Proxy), lost.Load(), done.Load())
	}
}

// errRefused returns err if a client may send the request again: no connection could be made.
func errRefused(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return err
	}
	return nil
}

// TestHTTP2Eviction checks that a connection without a stream makes place for another, and one with
// a stream does not.
func TestHTTP2Eviction(t *testing.T) {
	t.Parallel()
	entered, release := make(chan bool, 1), make(chan bool)
	o := http2Options(startHoldingBackend(t, entered, release))
	o.Server.MaxConnections = 1
	p, address := startProxy(t, o)
	first := dialFrames(t, address)
	stream := first.open(true, request("GET", "/")...)
	<-entered
	if got := exchangeRaw(t, address, withHost("GET / HTTP/1.1")); !strings.HasPrefix(got, "HTTP/1.1 503") {
		t.Errorf("while a stream is open another connection gets %.20q", got)
	}
	release <- true
	if a := first.wait(stream); a.String() != "200" {
		t.Errorf("the stream gets %s", a)
	}
	eventually(t, "place for another connection", func() bool {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		_, _ = io.WriteString(conn, withHost("GET / HTTP/1.1", "Connection: close"))
		select {
		case <-entered:
			release <- true
		case <-time.After(200 * time.Millisecond): // it was turned away
		}
		got, _ := io.ReadAll(conn)
		return strings.HasPrefix(string(got), "HTTP/1.1 200")
	})
	if a := first.wait(stream + 2); !a.closed {
		t.Errorf("the idle connection gets %s", a)
	}
	_ = p
}

// TestHTTP2Reload changes the bounds of connections, the limits and the pools under load: requests go
// by the new ones, also on connections from before, and no request is lost.
func TestHTTP2Reload(t *testing.T) {
	t.Parallel()
	urls := []string{startBackend(t, mirror), startBackend(t, mirror)}
	o := http2Options(urls[0])
	p, address := startProxy(t, o)
	client := http2Client(t)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var done atomic.Int64
	for range 10 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				response, err := client.Get("http://" + address)
				if err != nil {
					t.Error(err)
					return
				}
				response.Body.Close()
				done.Add(1)
			}
		})
	}
	for i := range 20 {
		o.Server.IdleTimeout = time.Duration(20+i%3) * time.Second
		pool := upstream.DefaultPoolConfig()
		pool.Backends = backendConfigs(urls[i%2])
		o.Pools = map[string]upstream.PoolConfig{"main": pool}
		before := done.Load()
		p.Apply(o)
		eventually(t, "more requests", func() bool { return done.Load() > before+20 })
	}
	close(stop)
	wg.Wait()
	o.Limiter = limits(1, 0.001)
	o.LimitFields = limiter.DefaultConfig().Fields()
	p.Apply(o)
	statuses := make([]int, 2)
	for i := range statuses {
		response, err := client.Get("http://" + address)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		statuses[i] = response.StatusCode
	}
	if !slices.Equal(statuses, []int{200, 429}) {
		t.Errorf("with a limit of one request: %v", statuses)
	}
}
