package proxy

import (
	"bufio"
	"io"
	"net"
	"testing"
	"time"
)

const (
	steadyTimeout = 250 * time.Millisecond // of a body
	steadyBytes   = 1 << 20                // of which a quarter is read in that time
)

// readSteadily reads without a long pause, but so slowly that the kernel makes the writer at the
// other end wait for longer than steadyTimeout: it wakes a writer only when a third of some MiB is
// free.
func readSteadily(r io.Reader) error {
	const piece = 16 << 10
	for buf, left := make([]byte, piece), steadyBytes; left > 0; left -= piece {
		time.Sleep(steadyTimeout * 4 * piece / steadyBytes) // the pace is what is tested
		if _, err := io.ReadFull(r, buf); err != nil {
			return err
		}
	}
	return nil
}

// startFlood is a proxy before a backend that sends without end, and a client
// that has begun to read steadily.
func startFlood(t *testing.T) *Proxy {
	o := testOptions(startRawBackend(t, func(conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		_, _ = io.Copy(conn, zeros{})
	}))
	o.Server.BodyTimeout = steadyTimeout
	p, address := startProxy(t, o)
	w := newWire(t, address)
	w.send(withHost("GET / HTTP/1.1"))
	if err := readSteadily(w.Conn); err != nil {
		t.Errorf("while the client reads: %v", err)
	}
	if n := errorsWith(p, "client_gone"); n != "0" {
		t.Error("the client counts as gone, and reads all the time")
	}
	return p
}

// TestSteadyReaderIsNotCut: what bounds silence must not end a download because it
// is slow. The client would not see it before it has read what the kernel holds.
func TestSteadyReaderIsNotCut(t *testing.T) {
	t.Parallel()
	startFlood(t)
}

// TestReaderThatStops is cut when its time is over, however long it has read before.
func TestReaderThatStops(t *testing.T) {
	t.Parallel()
	p := startFlood(t)
	start := time.Now()
	eventually(t, "the client to be cut off", func() bool { return errorsWith(p, "client_gone") == "1" })
	if took := time.Since(start); took > steadyTimeout*5/4+700*time.Millisecond {
		t.Errorf("it was cut off after %s, want at most %s", took, steadyTimeout*5/4)
	}
}

// TestSteadyBackendIsNotCut is the same for uploads.
func TestSteadyBackendIsNotCut(t *testing.T) {
	t.Parallel()
	o := testOptions(startRawBackend(t, func(conn net.Conn) {
		in := bufio.NewReader(conn)
		if _, err := readRequestHeader(in); err == nil && readSteadily(in) == nil {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nread")
			_, _ = io.Copy(io.Discard, in)
		}
	}))
	o.Server.BodyTimeout = steadyTimeout
	_, address := startProxy(t, o)
	w := newWire(t, address)
	go func() {
		_, _ = io.WriteString(w, withHost("PUT / HTTP/1.1", "Content-Length: 1099511627776"))
		_, _ = io.Copy(w, zeros{})
	}()
	if got := w.receive("PUT"); got.StatusCode != 200 || string(got.body) != "read" {
		t.Errorf("got %d %s", got.StatusCode, got.body)
	}
}
