package proxy

import (
	"fmt"
	"strings"
	"testing"
)

// TestHTTP2Smuggling sends requests that mean another thing in HTTP/1 than in HTTP/2. Not a byte of
// any of them comes to the backend, and the connection or another one serves on.
func TestHTTP2Smuggling(t *testing.T) {
	url, seen := startCountingBackend(t)
	_, address := startProxy(t, http2Options(url))
	evil := "GET /evil HTTP/1.1\r\nHost: example.com\r\n\r\n"
	with := func(more ...string) []string { return request("GET", "/", more...) }
	post := func(more ...string) []string { return request("POST", "/", more...) }
	pseudo := func(method, scheme, authority, path string) []string {
		return []string{":method: " + method, ":scheme: " + scheme, ":authority: " + authority, ":path: " + path}
	}
	for _, test := range []struct {
		name  string
		want  string // a malformed request is reset; any other is the guard's to answer
		lists [][]string
		body  string // "": the request ends with its header
	}{
		{"line ends and NUL in a value", "reset PROTOCOL_ERROR", [][]string{
			with("a: b\r\nx: y"), with("a: b\n"), with("a: b\r"), with("a: b\x00"), with("a: \r\n\r\n" + evil), with("cookie: a\r\nb: c"), with("user-agent: a\nb"),
		}, ""},
		{"line ends, NUL and colons in a name", "reset PROTOCOL_ERROR", [][]string{
			with("a\r\nb: c"), with("a\n: c"), with("a\x00: c"), with("a:b: c"), with("a : c"), with("transfer-encoding: chunked\r\nx: y"), with("a b: c"),
		}, ""},
		{"upper case in a name", "reset PROTOCOL_ERROR", [][]string{with("A: b"), with("Content-Length: 1"), with("hosT: example.com")}, ""},
		{"a pseudo-field that is not one, or comes twice, or late", "reset PROTOCOL_ERROR", [][]string{
			with(":evil: x"), with(":status: 200"), with("a: b", ":path: /evil"), with(":path: /evil"), with(":method: POST"), with(":authority: evil"),
		}, ""},
		{"a pseudo-field is missing", "reset PROTOCOL_ERROR", [][]string{
			{":scheme: http", ":authority: example.com", ":path: /"}, {":method: GET", ":authority: example.com", ":path: /"}, {":method: GET", ":scheme: http", ":authority: example.com"},
			pseudo("GET", "http", "example.com", ""), pseudo("GET", "ftp", "example.com", "/"), pseudo("", "http", "example.com", "/"),
		}, ""},
		{"line ends in a pseudo-field", "reset PROTOCOL_ERROR", [][]string{
			pseudo("GET", "http", "example.com", "/ HTTP/1.1\r\nHost: evil\r\n\r\n"), pseudo("GET / HTTP/1.1\r\nX: y\r\n\r\nGET", "http", "example.com", "/"),
			pseudo("GET", "http", "example.com\r\nx: y", "/"), pseudo("GET", "http", "example.com", "/\x00"),
		}, ""},
		{"a user in :authority", "reset PROTOCOL_ERROR", [][]string{pseudo("GET", "http", "user@example.com", "/")}, ""},
		{"a path that no URL has", "reset PROTOCOL_ERROR", [][]string{pseudo("GET", "http", "example.com", "a"), pseudo("GET", "http", "example.com", "http://example.com/"), pseudo("GET", "http", "example.com", "http://evil/"), pseudo("OPTIONS", "http", "example.com", "**")}, ""},
		{"spaces and other bytes in :path", "400", [][]string{
			pseudo("GET", "http", "example.com", "/a b"), pseudo("GET", "http", "example.com", "/ HTTP/1.1"), pseudo("GET", "http", "example.com", "/ä"),
			pseudo("GET", "http", "example.com", "/a#b"), pseudo("GET", "http", "example.com", "/a\tb"),
		}, ""},
		{"another form of :path", "400", [][]string{
			pseudo("GET", "http", "example.com", "*"),
		}, ""},
		{"a method that is no token", "400", [][]string{
			pseudo("GET /evil", "http", "example.com", "/"), pseudo("GET /evil HTTP/1.1", "http", "example.com", "/"), pseudo("G(T", "http", "example.com", "/"), pseudo(" GET", "http", "example.com", "/"),
			pseudo(strings.Repeat("A", 65), "http", "example.com", "/"),
		}, ""},
		{"a second host", "400", [][]string{
			with("host: evil"), with("host: example.com", "host: example.com:81"), with("host: "), with("host: example.com,evil"),
			{":method: GET", ":scheme: http", ":path: /", "host: a", "host: b"},
		}, ""},
		{"no host, or none that is one", "400", [][]string{
			{":method: GET", ":scheme: http", ":path: /"}, pseudo("GET", "http", "a b", "/"), pseudo("GET", "http", "a/b", "/"), pseudo("GET", "http", "example.com, evil", "/"),
		}, ""},
		{"transfer-encoding and other fields of a connection", "reset PROTOCOL_ERROR", [][]string{
			with("transfer-encoding: chunked"), with("transfer-encoding: identity"), with("connection: close"), with("connection: x"), with("keep-alive: timeout=5"), with("proxy-connection: close"),
			with("upgrade: websocket"), with("te: gzip"), with("te: trailers, gzip"), with("te: Trailers"), with("te: "),
		}, ""},
		{"a content-length, and no body", "400", [][]string{with("content-length: 5"), post("content-length: 5"), post(fmt.Sprintf("content-length: %d", len(evil)))}, ""},
		{"content-lengths that are none, or two", "400", [][]string{
			post("content-length: +5"), post("content-length: 5, 5"), post("content-length: 5", "content-length: 5"), post("content-length: 5", "content-length: 0"), post("content-length: 0x5"),
			post("content-length: -1"), post("content-length: "), post("content_length: 0"),
		}, ""},
		{"a body longer than its content-length", "reset PROTOCOL_ERROR", [][]string{post("content-length: 3")}, evil},
		{"a body shorter than its content-length", "400", [][]string{post("content-length: 1000")}, evil},
		{"a transfer-encoding in disguise", "400", [][]string{with("transfer_encoding: chunked")}, ""},
		{"transfer-encoding beside a body", "reset PROTOCOL_ERROR", [][]string{post("transfer-encoding: chunked"), post("transfer-encoding: identity")}, "0\r\n\r\n" + evil},
		{"CONNECT", "405", [][]string{{":method: CONNECT", ":authority: example.com:443"}}, ""},
		{"CONNECT with a path, or to a protocol", "reset PROTOCOL_ERROR", [][]string{
			request("CONNECT", "/"), {":method: CONNECT", ":scheme: http", ":authority: example.com", ":path: /", ":protocol: websocket"}, {":method: CONNECT"},
		}, ""},
		{"an expectation", "417", [][]string{with("expect: x")}, ""},
	} {
		for i, list := range test.lists {
			f := dialFrames(t, address)
			stream := f.open(test.body == "", list...)
			if test.body != "" {
				f.must(f.write.WriteData(stream, true, []byte(test.body)))
			}
			if got := f.wait(stream).String(); got != test.want {
				t.Errorf("%s, case %d: %s, want %s", test.name, i, got, test.want)
			}
			if n := seen.Load(); n > 0 {
				t.Fatalf("%s, case %d: %d bytes came to the backend", test.name, i, n)
			}
		}
	}
	f := dialFrames(t, address)
	if got := f.wait(f.open(true, request("GET", "/")...)); got.String() != "200" {
		t.Errorf("then a plain request gets %s", got)
	}
}

// TestHTTP2Trailers of a request come to the backend in their order, announced or not, if they are
// fields, in a message of one form.
func TestHTTP2Trailers(t *testing.T) {
	url, got := startChunkBackend(t, leaseOK)
	_, address := startProxy(t, http2Options(url))
	for _, test := range []struct {
		announced string
		trailers  []string
		want      string // what becomes of the stream
		lines     string // that the backend gets behind the last chunk
	}{
		{"x-sum, x-more", []string{"x-sum: 1", "x-more: 2"}, "200", "x-sum: 1\r\nx-more: 2\r\n"},
		{"x-sum", []string{"x-sum: 1", "x-more: 2", "x-sum: 3"}, "200", "x-sum: 1\r\nx-more: 2\r\nx-sum: 3\r\n"},
		{"x-forwarded-for, x_real-ip", []string{"x-forwarded-for: 1.2.3.4", "x_real-ip: 1.2.3.4"}, "200", ""},
		{"transfer-encoding", []string{"transfer-encoding: chunked"}, "reset PROTOCOL_ERROR", ""},
		{"host", []string{"host: evil"}, "200", ""},
		{"content-length", []string{"content-length: 5"}, "200", ""},
		{"", []string{"x-sum: 1"}, "200", "x-sum: 1\r\n"},
		{"x-sum", []string{":path: /evil"}, "reset PROTOCOL_ERROR", ""},
		{"x-sum", []string{"x-sum: 1\r\nevil: x"}, "reset PROTOCOL_ERROR", ""},
		{"x-sum", []string{"X-Sum: 1"}, "reset PROTOCOL_ERROR", ""},
	} {
		f := dialFrames(t, address)
		list := request("POST", "/")
		if test.announced != "" {
			list = append(list, "trailer: "+test.announced)
		}
		stream := f.open(false, list...)
		f.must(f.write.WriteData(stream, false, []byte("hello")))
		f.trailers(stream, test.trailers...)
		if a := f.wait(stream); a.String() != test.want {
			t.Errorf("%q: %s, want %s", test.trailers, a, test.want)
		}
		if test.want != "200" || t.Failed() {
			continue
		}
		if message := <-got; !strings.HasSuffix(message, "\r\n0\r\n"+test.lines+"\r\n") {
			t.Errorf("%q: the backend got %q, want the trailers %q", test.trailers, message, test.lines)
		}
	}
}
