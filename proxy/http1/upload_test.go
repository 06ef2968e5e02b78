package http1

import (
	"fmt"
	"net"
	"testing"

	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/wire"
)

// TestWhatAnUploadLeavesBehind checks that the next attempt reads on where the client was only
// interrupted, and does not where reading has failed.
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
			conn := wire.Over(backend)
			c := &Call{stream: &Stream{conn: &clientConn{Conn: wire.Over(client)}}, conn: &conn}
			u, s := &c.upload, c.stream
			u.started, u.finished, u.result, u.done = true, test.finished, test.result, make(chan struct{}, 1)
			u.done <- struct{}{}
			u.replay.keep([]byte("body"))
			defer u.replay.release()
			if sent := c.stopUpload(); sent != (test.result == reason.None) {
				t.Errorf("stopUpload returned %v", sent)
			}
			if u.replay.lost != test.lost || u.started || s.conn.IsStopped() || conn.IsStopped() || s.Ends() {
				t.Errorf("lost: %v, want %v; started: %v, cut: %v", u.replay.lost, test.lost, u.started, s.Ends())
			}
		})
	}
}

// TestBufferGoesWithTheResponse checks that the kept part of a body is released once a response has
// come, which may last for hours.
func TestBufferGoesWithTheResponse(t *testing.T) {
	for _, finished := range []bool{false, true} {
		c := &Call{upload: upload{started: true, finished: finished}, conn: new(wire.Conn)}
		u := &c.upload
		u.replay.keep([]byte("body"))
		c.headerCame()
		if got := u.replay.buf == nil; got != finished {
			t.Errorf("finished: %v, the buffer was given back: %v", finished, got)
		}
		u.replay.release()
	}
}
