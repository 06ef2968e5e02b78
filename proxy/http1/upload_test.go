package http1

import (
	"fmt"
	"net"
	"testing"
	"time"

	"loadbalancer/proxy/message"
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
		{true, reason.ResponseTimeout, false},
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
			s := &Stream{conn: &clientConn{Conn: wire.Over(client)}}
			c := &Call{stream: endOf(s), conn: &conn}
			u := &c.upload
			u.Init()
			u.Begin()
			finish := func() { u.Finish(c.stream, &conn, test.result, nil, time.Minute, false) }
			if test.finished {
				finish()
				conn.Resume() // what the result means for the wait is not looked at here
			} else {
				go func() {
					for !conn.IsStopped() {
						time.Sleep(time.Millisecond)
					}
					finish()
				}()
			}
			if sent := c.stopUpload(); sent != (test.result == reason.None) {
				t.Errorf("stopUpload returned %v", sent)
			}
			if s.Replay.Lost() != test.lost || u.Started || s.conn.IsStopped() || conn.IsStopped() || s.Ends() {
				t.Errorf("lost: %v, want %v; started: %v, cut: %v", s.Replay.Lost(), test.lost, u.Started, s.Ends())
			}
		})
	}
}

// TestBufferGoesWithTheResponse checks that the kept part of a body is given up once a response is
// accepted, which may last for hours, and that the request can be repeated until then.
func TestBufferGoesWithTheResponse(t *testing.T) {
	for _, finished := range []bool{false, true} {
		_, backend := net.Pipe()
		conn := wire.Over(backend)
		c := &Call{stream: endOf(new(Stream)), conn: &conn}
		u := &c.upload
		u.Init()
		if u.Begin(); finished {
			u.Finish(c.stream, &conn, reason.None, nil, time.Minute, false)
		}
		c.headerCame()
		if c.RepeatableAnswered(true) {
			t.Error("may be repeated before the body was read to its end")
		}
		if u.Taken(); !c.RepeatableAnswered(true) || c.RepeatableAnswered(false) {
			t.Error("may not be repeated, or is not idempotent and may")
		}
		c.Accept()
		if got := c.stream.Replay.Lost(); got != finished || finished && c.RepeatableAnswered(true) {
			t.Errorf("finished: %v, what was kept is given up: %v", finished, got)
		}
	}
}

// TestSkip discards a body only where no more of it has to come.
func TestSkip(t *testing.T) {
	for _, test := range []struct {
		response string
		want     bool // the connection serves on
	}{
		{"HTTP/1.1 503 No\r\nContent-Length: 5\r\n\r\nhello", true},
		{"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", true},
		{"HTTP/1.1 503 No\r\nContent-Length: 5\r\n\r\nhell", false},
		{"HTTP/1.1 503 No\r\nContent-Length: 5\r\n\r\nhelloHTTP", false},
		{"HTTP/1.1 503 No\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", false},
		{"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", false},
		{"HTTP/1.1 503 No\r\n\r\nhello", false},
	} {
		c, err := readResponse(newPieces(test.response), message.Request{})
		if err != nil {
			t.Fatal(err)
		}
		if c.Skip(); c.reusable() != test.want {
			t.Errorf("%q: the connection serves on: %v", test.response, c.reusable())
		}
	}
}
