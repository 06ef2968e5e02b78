package healthz

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// TestCheckBody looks for the text in bodies of every framing, over real sockets.
func TestCheckBody(t *testing.T) {
	const limit = maxBodySize
	fill := func(n int) string { return strings.Repeat("x", n) }
	tests := []struct {
		name, answer string
		wantErr      string // "": fit for traffic
	}{
		{"known length", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"s\":\"up\"}", ""},
		{"no length", "HTTP/1.1 200 OK\r\n\r\n{\"s\":\"up\"}", ""},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\n{\"s\":\"up\"}", ""},
		{"after early hints", "HTTP/1.1 103 Early Hints\r\nContent-Length: 1\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{\"s\":\"up\"}", ""},
		{"a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n{\"s\":\"up\"}\r\n0\r\n\r\n", ""},
		{"over two chunks", "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n7\r\n{\"s\":\"u\r\n3\r\np\"}\r\n0\r\n\r\n", ""},
		{"chunks override the length", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\na\r\n{\"s\":\"up\"}\r\n0\r\n\r\n", ""},
		{"chunks with extensions and trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na;x=y\r\n{\"s\":\"up\"}\r\n0\r\nX: y\r\n\r\n", ""},
		{"lines that end in LF", "HTTP/1.1 200\nContent-Length: 10\n\n{\"s\":\"up\"}", ""},
		{"length in a list", "HTTP/1.1 200 OK\r\nContent-Length: 10, 10\r\n\r\n{\"s\":\"up\"}", ""},
		{"found before it breaks off", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"s\":\"up\"}", ""},
		{"the last bytes that count", "HTTP/1.1 200 OK\r\n\r\n" + fill(limit-4) + "\"up\"" + fill(100), ""},
		{"the same in chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000\r\n" + fill(limit-4) + "\"up\"\r\n0\r\n\r\n", ""},
		{"past what counts", "HTTP/1.1 200 OK\r\n\r\n" + fill(limit-3) + "\"up\"" + fill(100), `without "\"up\"" in the first 64 KiB`},
		{"another text", "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{\"s\":\"down\"}", `GET /up?… was answered without "\"up\""`},
		{"past the known length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{\"s\":\"up\"}", "was answered without"},
		{"in the header", "HTTP/1.1 200 OK\r\nX: \"up\"\r\nContent-Length: 0\r\n\r\n", "was answered without"},
		{"in a trailer", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: \"up\"\r\n\r\n", "was answered without"},
		{"in an extension", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;\"up\"\r\nx\r\n0\r\n\r\n", "was answered without"},
		{"no content", "HTTP/1.1 204 No Content\r\n\r\n{\"s\":\"up\"}", "was answered without"},
		{"empty", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "was answered without"},
		{"breaks off", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"s\":", "unexpected EOF"},
		{"breaks off in a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n{\"s\":\"u", "unexpected EOF"},
		{"no chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{\"s\":\"up\"}\r\n", "invalid"},
		{"another status", "HTTP/1.1 503 Oops\r\nContent-Length: 10\r\n\r\n{\"s\":\"up\"}", "status 503"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := listen(t, "tcp", "127.0.0.1:0")
			serve(t, l, func(conn net.Conn) {
				readRequest(conn)
				io.WriteString(conn, tt.answer)
			})
			cfg := httpConfig()
			cfg.Body = `"up"`
			err := check(t.Context(), cfg, targetOf(l))
			if got := fmt.Sprint(err); tt.wantErr == "" && err != nil || tt.wantErr != "" && !strings.Contains(got, tt.wantErr) {
				t.Errorf("got %s, want %q in it", got, tt.wantErr)
			}
		})
	}
}

// The check ends once it has found the text, or all of the body whose length is known, although the
// backend leaves the connection open; and at its timeout otherwise.
func TestCheckBodyOfOpenConnection(t *testing.T) {
	tests := []struct{ name, answer, wantErr string }{
		{"found", "HTTP/1.1 200 OK\r\n\r\nup and on", ""},
		{"found in a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n100\r\nup and on", ""},
		{"known length", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndown", "without \"up\""},
		{"the last chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ndown\r\n0\r\n\r\n", "without \"up\""},
		{"no end", "HTTP/1.1 200 OK\r\n\r\ndown", "not done within 300ms"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := listen(t, "tcp", "127.0.0.1:0")
			serve(t, l, func(conn net.Conn) {
				readRequest(conn)
				io.WriteString(conn, tt.answer)
				io.Copy(io.Discard, conn) // ends when the check closes the connection
			})
			cfg := httpConfig()
			cfg.Body = "up"
			if strings.Contains(tt.wantErr, "300ms") {
				cfg.Timeout = 300 * time.Millisecond
			}
			err := check(t.Context(), cfg, targetOf(l))
			if got := fmt.Sprint(err); tt.wantErr == "" && err != nil || tt.wantErr != "" && !strings.Contains(got, tt.wantErr) {
				t.Errorf("got %s, want %q in it", got, tt.wantErr)
			}
		})
	}
}

// search finds the text however the reads cut it.
func TestSearch(t *testing.T) {
	const text = "needle"
	for _, at := range []int{0, 1, 4<<10 - 3, 4 << 10, 10_000} {
		body := bytes.Repeat([]byte("need"), 5000)
		copy(body[at:], text)
		for name, r := range map[string]io.Reader{
			"whole":    bytes.NewReader(body),
			"halves":   iotest.HalfReader(bytes.NewReader(body)),
			"bytes":    iotest.OneByteReader(bytes.NewReader(body)),
			"with EOF": iotest.DataErrReader(bytes.NewReader(body)),
		} {
			if n, found, err := search(r, []byte(text)); !found || err != nil || n < int64(at+len(text)) {
				t.Errorf("%s, at %d: got %v after %d bytes, %v", name, at, found, n, err)
			}
		}
	}
	broken := errors.New("broken")
	if n, found, err := search(io.MultiReader(strings.NewReader("need"), iotest.ErrReader(broken)), []byte(text)); n != 4 || found || err != broken {
		t.Errorf("a broken body: got %v after %d bytes, %v", found, n, err)
	}
}
