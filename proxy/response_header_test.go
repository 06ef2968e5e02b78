package proxy

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"loadbalancer/proxy/upstream"
)

func TestResponseHeaderToClient(t *testing.T) {
	const (
		get11 = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
		get10 = "GET / HTTP/1.0\r\n\r\n"
		head  = "HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
		close = "Connection: close"
	)
	for _, test := range []struct{ name, request, response, want string }{
		{"order, case, duplicates and empty values stay", get11,
			lines("HTTP/1.1 200 Fine", "sERVER: x", "Set-Cookie: a=1", "Date: never", "set-cookie:b=2 ", "X-Empty:", "Content-Length: 2", "Content-Type: a/b") + "ok",
			lines("HTTP/1.1 200 Fine", "sERVER: x", "Set-Cookie: a=1", "Date: never", "set-cookie:b=2 ", "X-Empty:", "Content-Length: 2", "Content-Type: a/b", close) + "ok"},
		{"nothing is added", get11, lines("HTTP/1.1 200 OK", "Content-Length: 0"), lines("HTTP/1.1 200 OK", "Content-Length: 0", close)},
		{"fields of this hop end here", get11,
			lines("HTTP/1.1 200 OK", "A: 1", "Connection: X-Hop", "Keep-Alive: 5", "Upgrade: h2c", "Trailer: B", "Proxy-Connection: a", "x-hop: 1", "Content-Length: 0", "B: 2"),
			lines("HTTP/1.1 200 OK", "A: 1", "Content-Length: 0", "B: 2", close)},
		{"Connection cannot take the length off", get11, lines("HTTP/1.1 200 OK", "Connection: Content-Length", "Content-Length: 2") + "ok", lines("HTTP/1.1 200 OK", "Content-Length: 2", close) + "ok"},
		{"no phrase", get11, lines("HTTP/1.1 299", "Content-Length: 0"), lines("HTTP/1.1 299 ", "Content-Length: 0", close)},
		{"HTTP/1.0 of the backend", get11, lines("HTTP/1.0 200 OK", "Content-Length: 0"), lines("HTTP/1.1 200 OK", "Content-Length: 0", close)},
		{"the protocol that the backend wants", get11, lines("HTTP/1.1 426 Upgrade Required", "Upgrade: TLS/1.0", "Connection: Upgrade", "Content-Length: 0"),
			lines("HTTP/1.1 426 Upgrade Required", "Upgrade: TLS/1.0", "Content-Length: 0", "Connection: Upgrade", close)},
		{"chunked", get11, lines("HTTP/1.1 200 OK", "transfer-encoding: Chunked", "A: 1") + "2\r\nok\r\n0\r\nT: 1\r\n\r\n",
			lines("HTTP/1.1 200 OK", "A: 1", "Transfer-Encoding: chunked", close) + "2\r\nok\r\n0\r\nT: 1\r\n\r\n"},
		{"trailers announced", get11, lines("HTTP/1.1 200 OK", "trailer:T", "Transfer-Encoding: chunked", "TE: trailers") + "0\r\nT: 1\r\n\r\n",
			lines("HTTP/1.1 200 OK", "trailer:T", "Transfer-Encoding: chunked", close) + "0\r\nT: 1\r\n\r\n"},
		{"trailers announced, but for this hop", get11, lines("HTTP/1.1 200 OK", "Trailer: T", "Connection: Trailer", "Transfer-Encoding: chunked") + "0\r\n\r\n",
			lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", close) + "0\r\n\r\n"},
		{"trailers for HTTP/1.0", get10, lines("HTTP/1.1 200 OK", "Trailer: T", "Transfer-Encoding: chunked") + "2\r\nok\r\n0\r\nT: 1\r\n\r\n",
			lines("HTTP/1.1 200 OK", close) + "ok"},
		{"trailers announced to HEAD", head, lines("HTTP/1.1 200 OK", "Trailer: T", "Transfer-Encoding: chunked"), lines("HTTP/1.1 200 OK", close)},
		{"chunks of HTTP/1.0", get11, lines("HTTP/1.0 200 OK", "Transfer-Encoding: chunked", "Connection: keep-alive") + "2\r\nok\r\n0\r\nT: 1\r\n\r\n",
			lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", close) + "2\r\nok\r\n0\r\nT: 1\r\n\r\n"},
		{"control bytes in trailers", get11, lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + "0\r\nT: \x01\x7f\r\n\r\n",
			lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", close) + "0\r\nT: \x01\x7f\r\n\r\n"},
		{"chunked for HTTP/1.0", get10, lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "A: 1") + "2\r\nok\r\n0\r\n\r\n", lines("HTTP/1.1 200 OK", "A: 1", close) + "ok"},
		{"HTTP/1.0 that closes", get10, lines("HTTP/1.1 200 OK", "Content-Length: 2") + "ok", lines("HTTP/1.1 200 OK", "Content-Length: 2", close) + "ok"},
		{"HEAD", head, lines("HTTP/1.1 200 OK", "Content-Length: 2"), lines("HTTP/1.1 200 OK", "Content-Length: 2", close)},
		{"HEAD of chunked", head, lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"), lines("HTTP/1.1 200 OK", close)},
		{"304", get11, lines("HTTP/1.1 304 Not Modified", "Content-Length: 2"), lines("HTTP/1.1 304 Not Modified", "Content-Length: 2", close)},
		{"204 has no length", get11, lines("HTTP/1.1 204 No Content", "Content-Length: 0", "A: 1"), lines("HTTP/1.1 204 No Content", "A: 1", close)},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, address := startProxy(t, testOptions(startRawBackend(t, answerAll(test.response))))
			if got := withoutIDs(t, 1, talk(t, address, test.request)); got != test.want {
				t.Errorf("got\n%q, want\n%q", got, test.want)
			}
		})
	}
}

// TestLinesThatEndInLF checks that a client gets CRLF, and that the body begins after the first
// empty line, however that ends.
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
			if got := withoutIDs(t, 1, talk(t, address, get("/"))); got != test.want {
				t.Errorf("got\n%q, want\n%q", got, test.want)
			}
		})
	}
}

// TestBadResponseAtOnce checks that no answer waits for more of what cannot become a header, or of
// a header or line that never ends for a reader that accepts LF.
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

// TestLargeResponseHeaders pass whole within max_response_header, and get 502 above it. The
// connection to the client serves on.
func TestLargeResponseHeaders(t *testing.T) {
	for _, test := range []struct {
		most   upstream.Size
		cookie int // bytes of each of 20
		status int
	}{
		{64 << 10, 1000, 200},
		{64 << 10, 3000, 200},
		{64 << 10, 3300, 502},
		{16 << 10, 1000, 502},
		{1 << 20, 50_000, 200},
		{1 << 20, 60_000, 502},
	} {
		t.Run(fmt.Sprintf("%d of %d", 20*test.cookie, test.most), func(t *testing.T) {
			cookies := make([]string, 20)
			for i := range cookies {
				cookies[i] = fmt.Sprintf("Set-Cookie: c%d=%s", i, strings.Repeat("x", test.cookie))
			}
			header := lines(append([]string{"HTTP/1.1 200 OK", "Content-Length: 5"}, cookies...)...)
			o := testOptions(startRawBackend(t, answerAll(header+"hello")))
			pool := o.Pools["main"]
			pool.MaxResponseHeader = test.most
			o.Pools["main"] = pool
			_, address := startProxy(t, o)
			w := newWire(t, address)
			for range 3 {
				w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
				got := w.receive("GET")
				if got.StatusCode != test.status {
					t.Fatalf("got %d, want %d", got.StatusCode, test.status)
				}
				if test.status == 502 {
					checkProblem(t, got, 502, "bad_response", "http://-:-")
				} else if all := got.Header["Set-Cookie"]; len(all) != len(cookies) || "Set-Cookie: "+all[19] != cookies[19] || string(got.body) != "hello" {
					t.Errorf("got %d cookies and %q", len(all), got.body)
				}
			}
		})
	}
}
