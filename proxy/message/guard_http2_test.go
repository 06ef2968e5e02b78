package message

import (
	"strings"
	"testing"

	"loadbalancer/proxy/reason"
)

// TestGuardHTTP2 has the guard judge requests of HTTP/2 whatever their connection has let through.
func TestGuardHTTP2(t *testing.T) {
	for _, test := range []struct {
		method, target, lines string // the lines end in commas in place of CRLF
		open                  bool   // more than the header follows
		want                  reason.Code
		framing               Framing
	}{
		{"GET", "/", "", false, reason.None, NoBody},
		{"GET", "/", "", true, reason.None, Chunked},
		{"POST", "/", "content-length: 5,", true, reason.None, FixedLength},
		{"POST", "/", "content-length: 5,", false, reason.BadRequest, 0},
		{"POST", "/", "content-length: 0,", false, reason.None, NoBody},
		{"POST", "/", "content-length: 0,", true, reason.None, NoBody},
		{"POST", "/", "content-length: 5,content-length: 5,", true, reason.BadRequest, 0},
		{"OPTIONS", "*", "", false, reason.None, NoBody},
		{"GET", "http://a/", "", false, reason.BadRequest, 0},
		{"GET", "/ HTTP/1.1", "", false, reason.BadRequest, 0},
		{"G T", "/", "", false, reason.BadRequest, 0},
		{"", "/", "", false, reason.BadRequest, 0},
		{"CONNECT", "a", "", false, reason.MethodNotAllowed, 0},
		{"GET", "/", "host: b,", false, reason.BadRequest, 0},
		{"GET", "/", "te: trailers,", false, reason.None, NoBody},
		{"GET", "/", "te: trailers, gzip,", false, reason.BadRequest, 0},
		{"GET", "/", "te: gzip,", false, reason.BadRequest, 0},
		{"GET", "/", "te: ,", false, reason.BadRequest, 0},
		{"GET", "/", "te: trailers and a value that is longer,", false, reason.BadRequest, 0},
		{"GET", "/", "connection: close,", false, reason.BadRequest, 0},
		{"GET", "/", "keep-alive: timeout=5,", false, reason.BadRequest, 0},
		{"GET", "/", "proxy-connection: close,", false, reason.BadRequest, 0},
		{"GET", "/", "transfer-encoding: chunked,", true, reason.BadRequest, 0},
		{"GET", "/", "upgrade: websocket,", false, reason.BadRequest, 0},
		{"GET", "/", "A: b,", false, reason.BadRequest, 0},
		{"GET", "/", "transfer_encoding: chunked,", false, reason.BadRequest, 0},
	} {
		lines := "host: a\r\n" + strings.ReplaceAll(strings.ReplaceAll(test.lines, ", ", "; "), ",", "\r\n")
		lines = strings.ReplaceAll(lines, "; ", ", ")
		r := Request{Method: []byte(test.method), Target: []byte(test.target), Proto: []byte("HTTP/2.0"), Header: []byte(lines), HTTP2: true, Open: test.open}
		if got := r.Guard(&Rules{}); got != test.want || got == reason.None && r.Framing != test.framing {
			t.Errorf("%s %s %q, open: %v: %q and framing %d, want %q and %d", test.method, test.target, lines, test.open, got.String(), r.Framing, test.want.String(), test.framing)
		}
	}
	r := Request{Method: []byte("GET"), Target: []byte("/"), Proto: []byte("HTTP/2.0"), Header: []byte("Host: a\r\n")}
	if got := r.Guard(&Rules{}); got != reason.BadRequest {
		t.Errorf("the version in a request line of HTTP/1: %q", got.String())
	}
}
