package proxy

import (
	"fmt"
	"net"
	"testing"
)

// TestWhatAnUploadLeavesBehind: the next try can read on where the client was only
// interrupted, and must not where reading has failed.
func TestWhatAnUploadLeavesBehind(t *testing.T) {
	for _, test := range []struct {
		finished bool // before it was stopped
		result   reason
		lost     bool
	}{
		{true, none, false},
		{true, backendReset, false},
		{true, requestTimeout, true},
		{true, responseTimeout, true},
		{true, clientGone, true},
		{true, badRequest, true},
		{true, bodyTooLarge, true},
		{true, internalError, true},
		{false, none, false},
		{false, backendReset, false},
		{false, requestTimeout, false},
		{false, responseTimeout, false},
		{false, clientGone, true},
		{false, badRequest, true},
		{false, bodyTooLarge, true},
		{false, internalError, true},
	} {
		t.Run(fmt.Sprintf("%s, finished: %v", reasonTable[test.result].code, test.finished), func(t *testing.T) {
			client, backend := net.Pipe()
			x := &exchange{client: &clientConn{timedConn: timedConn{socket: newSocket(client)}}}
			c := &backendConn{timedConn: timedConn{socket: newSocket(backend)}}
			u := &x.upload
			u.started, u.finished, u.result, u.done = true, test.finished, test.result, make(chan struct{}, 1)
			u.done <- struct{}{}
			u.kept.keep([]byte("body"))
			defer u.kept.release()
			if sent := x.stopUpload(c); sent != (test.result == none) {
				t.Errorf("stopUpload returned %v", sent)
			}
			if u.kept.lost != test.lost || u.started || x.client.stopped.Load() || c.stopped.Load() || x.cut {
				t.Errorf("lost: %v, want %v; started: %v, cut: %v", u.kept.lost, test.lost, u.started, x.cut)
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
		u.headerCame(&backendConn{})
		if got := u.kept.buf == nil; got != finished {
			t.Errorf("finished: %v, the buffer was given back: %v", finished, got)
		}
		u.kept.release()
	}
}
