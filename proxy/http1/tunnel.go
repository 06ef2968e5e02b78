package http1

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/wire"
)

// tunnel joins a client's connection and a backend's after 101 Switching Protocols. Between two TCP
// connections the bytes stay in the kernel (splice).
type tunnel struct {
	client, backend *wire.Conn
	idle            time.Duration // longest time without bytes in either direction
	passed          atomic.Bool   // bytes have passed since oversee last looked
	ended           atomic.Bool
	why             error // the reason for the end, once ended
	up, down        int64 // bytes sent to the backend and to the client, once run has returned
}

var errIdle = errors.New("neither side sent anything within the tunnel timeout")

// Tunnel forwards the 101 whose header EndHeader has completed, which ends HTTP on both
// connections, and then copies bytes between them until both sides have ended, one fails, or
// neither sends anything for the time idle. Both ends must be those of this package: in no other
// protocol does a request ask for another one, nor a response switch to it.
func Tunnel(stream ends.ClientEnd, call ends.BackendEnd, idle time.Duration) reason.Code {
	return stream.(*Stream).tunnel(call.(*Call), idle)
}

func (s *Stream) tunnel(c *Call, idle time.Duration) reason.Code {
	s.activity.Tunnels.Add(1)
	defer s.activity.Tunnels.Add(-1)
	c.watch.Stop() // from here on the copying notices when a side leaves
	s.closeIf(true)
	c.Response.Keep = false
	s.Out = append(s.Out, c.in.buffered()...)
	if why := s.Flush(); why != reason.None {
		return why
	}
	if early := s.conn.in.buffered(); len(early) > 0 { // the client did not wait for the 101
		s.received += int64(len(early))
		c.conn.ExpectWrite(time.Now(), s.Limits.BodyTimeout)
		if _, err := c.conn.Write(early); err != nil {
			s.conn.abort()
			return reason.None
		}
		s.conn.in.r = s.conn.in.w
	}
	t := tunnel{client: &s.conn.Conn, backend: c.conn, idle: idle}
	err := t.run()
	s.received += t.up
	s.Sent += t.down
	if errors.Is(err, errIdle) {
		s.Cause = err
		return reason.TunnelTimeout
	}
	if err != nil {
		s.conn.abort() // a failure must not look like a regular end
	}
	return reason.None
}

// run copies in both directions, and returns the first error.
func (t *tunnel) run() error {
	_ = t.client.SetWriteDeadline(time.Time{}) // drop the deadlines of HTTP
	_ = t.backend.SetWriteDeadline(time.Time{})
	over := make(chan struct{}, 2)
	go func() {
		t.up = t.carry(t.backend.Raw(), t.client.Raw())
		over <- struct{}{}
	}()
	go func() {
		t.down = t.carry(t.client.Raw(), t.backend.Raw())
		over <- struct{}{}
	}()
	t.oversee(over)
	return t.why
}

// looks is how often oversee checks for activity within the idle timeout.
const looks = 8

// oversee ends a tunnel after the idle timeout, or up to a quarter later, and returns when both
// directions are over. A copy to a slow reader may block for long without any progress of its own,
// because the kernel wakes the writer only once a third of its buffer is free. A shrinking send
// queue therefore counts as activity: it shows that the peer still reads.
func (t *tunnel) oversee(over <-chan struct{}) {
	tick := time.NewTicker(t.idle / looks)
	defer tick.Stop()
	ways := 2
	var toClient, toBackend int
	for silent := 0; silent < looks; silent++ {
		select {
		case <-over:
			if ways--; ways == 0 {
				return
			}
			silent = -1
			continue
		case <-tick.C:
		}
		c, b := t.client.UnderWay(), t.backend.UnderWay()
		if t.passed.Swap(false) || c != toClient || b != toBackend {
			silent = -1
		}
		toClient, toBackend = c, b
	}
	t.end(errIdle)
	for ; ways > 0; ways-- {
		<-over
	}
}

// carry copies until the source ends, and passes that end on: the other direction may still have
// something to send.
func (t *tunnel) carry(dst, src net.Conn) (total int64) {
	for {
		// A copy does not tell that bytes pass. So it is stopped now and then, between two reads,
		// where nothing gets lost, and asked.
		_ = src.SetReadDeadline(time.Now().Add(t.idle / looks))
		if t.ended.Load() {
			return total
		}
		n, err := io.Copy(dst, src)
		total += n
		if n > 0 {
			t.passed.Store(true)
		}
		switch {
		case err == nil:
			if half, ok := dst.(interface{ CloseWrite() error }); ok {
				_ = half.CloseWrite() // fails if the peer has gone, which its own copy reports
			}
			return total
		case !wire.TimedOut(err):
			t.end(err)
			return total
		}
	}
}

// end stops both directions. The first reason counts.
func (t *tunnel) end(why error) {
	if !t.ended.CompareAndSwap(false, true) {
		return
	}
	t.why = why
	t.client.Stop()
	t.backend.Stop()
}
