package proxy

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// TestEarlyAnswerIsWhole though its backend does not read the upload, for longer
// than it may be silent, while it answers.
func TestEarlyAnswerIsWhole(t *testing.T) {
	t.Parallel()
	const pieces = 50
	o := testOptions(startRawBackend(t, func(conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 413 Content Too Large\r\nTransfer-Encoding: chunked\r\n\r\n")
		drip(conn, 2*time.Millisecond, strings.Repeat("1\r\nx\r\n", pieces)+"0\r\n\r\n")
		_, _ = io.Copy(io.Discard, conn)
	}))
	o.Server.BodyTimeout = 80 * time.Millisecond
	p, address := startProxy(t, o)
	w := newWire(t, address)
	go func() {
		_, _ = io.WriteString(w, withHost("POST / HTTP/1.1", "Content-Length: 1099511627776"))
		_, _ = io.Copy(w, zeros{})
	}()
	if got := w.receive("POST"); got.StatusCode != 413 || len(got.body) != pieces {
		t.Errorf("got %d with %d bytes, want 413 with %d", got.StatusCode, len(got.body), pieces)
	}
	mustHaveNoErrors(t, p)
}
