package proxy

import (
	"io"
	"net"
	"strings"
	"testing"
)

// TestLinesThatEndInLF: a client gets CRLF, and behind the first empty line, however
// it ends, stands the body.
func TestLinesThatEndInLF(t *testing.T) {
	plain := lines("HTTP/1.1 200 OK", "A: b", "Content-Length: 8", "Connection: close")
	for _, test := range []struct{ name, response, want string }{
		{"LF", "HTTP/1.1 200 OK\nA: b\nContent-Length: 8\n\nthe body", plain + "the body"},
		{"the status line", "HTTP/1.1 200 OK\nA: b\r\nContent-Length: 8\r\n\r\nthe body", plain + "the body"},
		{"one field", "HTTP/1.1 200 OK\r\nA: b\nContent-Length: 8\r\n\r\nthe body", plain + "the body"},
		{"the empty line", "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 8\r\n\nthe body", plain + "the body"},
		{"all but the empty line", "HTTP/1.1 200 OK\nA: b\nContent-Length: 8\n\r\nthe body", plain + "the body"},
		{"CRLF CRLF in the body", "HTTP/1.1 200 OK\r\nA: b\nContent-Length: 8\n\nC: d\r\n\r\n", plain + "C: d\r\n\r\n"},
		{"a body that begins with LF", "HTTP/1.1 200 OK\nA: b\nContent-Length: 8\n\n\r\n\n\r\nabc", plain + "\r\n\n\r\nabc"},
		{"a body like fields", "HTTP/1.1 200 OK\nA: b\nContent-Length: 8\n\r\nB: 1\r\n\r\n", plain + "B: 1\r\n\r\n"},
		{"no fields", "HTTP/1.1 204\n\n", lines("HTTP/1.1 204 ", "Connection: close")},
		{"trailers and Connection", "HTTP/1.1 200 OK\nConnection: X-A\nX-A: 1\nTransfer-Encoding: chunked\n\n2\r\nok\r\n0\r\nX-A: 1\r\nT: 2\r\n\r\n",
			lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Connection: close") + "2\r\nok\r\n0\r\nT: 2\r\n\r\n"},
		{"length twice", "HTTP/1.1 200 OK\nContent-Length: 2\nA: b\nContent-Length: 2\n\nok", lines("HTTP/1.1 200 OK", "Content-Length: 2", "A: b", "Connection: close") + "ok"},
		{"interim responses", "HTTP/1.1 100 Continue\nLink: a\n\nHTTP/1.1 100 Continue\r\n\nHTTP/1.1 200 OK\nA: b\nContent-Length: 8\n\nthe body", plain + "the body"},
		{"until the end", "HTTP/1.0 200 OK\n\nok", lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Connection: close") + "2\r\nok\r\n0\r\n\r\n"},
		{"large", "HTTP/1.1 200 OK\n" + strings.Repeat("A:b\n", 4000) + "Content-Length:2\n\nok",
			"HTTP/1.1 200 OK\r\n" + strings.Repeat("A:b\r\n", 4000) + "Content-Length:2\r\nConnection: close\r\n\r\nok"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, address := startProxy(t, testOptions(rawAnswer(test.response)(t)))
			if got := talk(t, address, get("/")); got != test.want {
				t.Errorf("got\n%q, want\n%q", got, test.want)
			}
		})
	}
}

// TestBadResponseAtOnce: no answer waits for more of what cannot become a header, nor
// of a header or a line that will never end for a reader that takes LF for its end.
func TestBadResponseAtOnce(t *testing.T) {
	for _, test := range []struct{ name, response string }{
		{"lines that end in CR", "HTTP/1.1 200 OK\rContent-Length: 2\r\rok"},
		{"in a field, before the end", "HTTP/1.1 200 OK\r\nA: b\rc\r\n"},
		{"in a field", "HTTP/1.1 200 OK\nA: b\rc\n\n"},
		{"in an interim response", "HTTP/1.1 103 Early Hints\rA: b\r\r"},
		{"CR CR LF", "HTTP/1.1 200 OK\r\r\n"},
		{"in a chunk's size", lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + "2\rok\r0\r\r"},
		{"SMTP", "220 mail.example ESMTP\r\n"},
		{"SSH", "SSH-2.0-OpenSSH_9.6\r\n"},
		{"a TLS alert", "\x15\x03\x01\x00\x02\x02\x46"},
		{"HTTP/2", "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x04\x00\x10\x00\x00"},
		{"HTTP/2 in words", "HTTP/2 200\r\n"},
		{"an empty line first", "\r\nHTTP/1.1 200 OK\r\n"},
		{"behind an interim response", lines("HTTP/1.1 103 Early Hints") + "ok\n"},
		{"LF in a chunk's size", lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + "2\nok\n0\n\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p, address := startProxy(t, testOptions(startRawBackend(t, func(conn net.Conn) {
				_, _ = conn.Read(make([]byte, 4096))
				_, _ = io.WriteString(conn, test.response)
				_, _ = io.Copy(io.Discard, conn) // until the proxy ends the connection
			})))
			if got := talk(t, address, get("/")); !strings.HasPrefix(got, "HTTP/1.1 502 ") || !strings.Contains(got, `"bad_response"`) {
				t.Errorf("got %q", got)
			}
			eventually(t, "bad_response is counted", func() bool { return errorsWith(p, "bad_response") == "1" })
		})
	}
}
