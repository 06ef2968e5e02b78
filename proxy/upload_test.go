package proxy

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/upstream"
	"loadbalancer/proxy/wire"
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
	for why := reason.BadRequest; why < reason.Count; why++ {
		if n := p.errors[why].Load(); n != 0 {
			t.Errorf("%d errors of %s", n, why.String())
		}
	}
}

// TestWhatAnUploadLeavesBehind: the next try can read on where the client was only
// interrupted, and must not where reading has failed.
func TestWhatAnUploadLeavesBehind(t *testing.T) {
	for _, test := range []struct {
		finished bool // before it was stopped
		result   reason.Code
		lost     bool
	}{
		{true, reason.None, false},
		{true, reason.BackendReset, false},
		{true, reason.RequestTimeout, true},
		{true, reason.ResponseTimeout, true},
		{true, reason.ClientGone, true},
		{true, reason.BadRequest, true},
		{true, reason.BodyTooLarge, true},
		{true, reason.InternalError, true},
		{false, reason.None, false},
		{false, reason.BackendReset, false},
		{false, reason.RequestTimeout, false},
		{false, reason.ResponseTimeout, false},
		{false, reason.ClientGone, true},
		{false, reason.BadRequest, true},
		{false, reason.BodyTooLarge, true},
		{false, reason.InternalError, true},
	} {
		t.Run(fmt.Sprintf("%s, finished: %v", test.result.String(), test.finished), func(t *testing.T) {
			client, backend := net.Pipe()
			x := &exchange{client: &clientConn{Conn: wire.Over(client)}}
			c := &upstream.Conn{Conn: wire.Over(backend)}
			u := &x.upload
			u.started, u.finished, u.result, u.done = true, test.finished, test.result, make(chan struct{}, 1)
			u.done <- struct{}{}
			u.kept.keep([]byte("body"))
			defer u.kept.release()
			if sent := x.stopUpload(c); sent != (test.result == reason.None) {
				t.Errorf("stopUpload returned %v", sent)
			}
			if u.kept.lost != test.lost || u.started || x.client.IsStopped() || c.IsStopped() || x.ends() {
				t.Errorf("lost: %v, want %v; started: %v, cut: %v", u.kept.lost, test.lost, u.started, x.ends())
			}
		})
	}
}

// TestBufferGoesWithTheResponse: what is kept of a body is of no use any more once
// a response has come, which may last for hours.
func TestBufferGoesWithTheResponse(t *testing.T) {
	for _, finished := range []bool{false, true} {
		u := &upload{started: true, finished: finished}
		u.kept.keep([]byte("body"))
		u.headerCame(&upstream.Conn{})
		if got := u.kept.buf == nil; got != finished {
			t.Errorf("finished: %v, the buffer was given back: %v", finished, got)
		}
		u.kept.release()
	}
}
