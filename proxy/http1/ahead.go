package http1

import (
	"sync"
	"time"

	"loadbalancer/proxy/reason"
)

// ahead holds the part of a response that a slow client has not taken yet, while more of it is read
// from the backend. One goroutine adds to it, and another delivers it; each waits for the other.
type ahead struct {
	mu     sync.Mutex
	moved  sync.Cond // something has changed
	ring   []byte
	first  int         // index of the oldest byte
	n      int         // bytes held
	ended  bool        // no more will be added
	failed reason.Code // why the client does not take more
	cause  error       // that, in words
	done   chan struct{}
}

// FlushAhead is that of ends.Outgoing. The client is slow from the first time that the system does
// not take all at once.
func (s *Stream) FlushAhead(most int64, allowed bool) reason.Code {
	if s.ahead != nil {
		ok := s.ahead.add(s.Out)
		if s.Out = s.Out[:0]; !ok {
			return s.AwaitAhead()
		}
		return reason.None
	}
	if most == 0 || !allowed {
		return s.Flush()
	}
	s.Status = s.status
	n, slow := s.conn.Offer(s.Out)
	s.Sent += int64(n)
	rest := s.Out[n:]
	if slow && s.activity.Buffers.Take(most) {
		s.begin(most, rest)
		s.Out = s.Out[:0]
		return reason.None
	}
	why := s.write(rest)
	s.Out = s.Out[:0]
	return why
}

// begin begins to deliver beside, with the rest of a write.
func (s *Stream) begin(most int64, rest []byte) {
	a := &ahead{ring: make([]byte, max(int(most), len(rest))), done: make(chan struct{})}
	a.moved.L = &a.mu
	s.ahead, s.aheadOf = a, most
	a.add(rest)
	go func() {
		defer close(a.done)
		a.deliver(s)
	}()
}

// AwaitAhead is that of ends.Outgoing. The connection of a client that does not take more is reset.
func (s *Stream) AwaitAhead() reason.Code {
	a := s.ahead
	if a == nil {
		return reason.None
	}
	a.mu.Lock()
	a.ended = true
	a.moved.Signal()
	a.mu.Unlock()
	<-a.done
	s.ahead = nil
	s.activity.Buffers.Give(s.aheadOf)
	if a.failed != reason.None {
		s.Cause = a.cause
		s.conn.abort() // as in write
	}
	return a.failed
}

// add adds bytes, as room becomes free, and reports whether the client still takes what it gets.
func (a *ahead) add(b []byte) (ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(b) > 0 && a.failed == reason.None {
		if a.n == len(a.ring) {
			a.moved.Wait()
			continue
		}
		free := a.ring[(a.first+a.n)%len(a.ring):]
		k := copy(free[:min(len(free), len(a.ring)-a.n)], b)
		b, a.n = b[k:], a.n+k
		a.moved.Signal()
	}
	return a.failed == reason.None
}

// deliver delivers what was added until all has been, or the client does not take it.
func (a *ahead) deliver(s *Stream) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		for a.n == 0 && !a.ended {
			a.moved.Wait()
		}
		if a.n == 0 {
			return
		}
		part := a.ring[a.first:min(a.first+a.n, len(a.ring))] // nothing is added there
		a.mu.Unlock()
		n, err := s.conn.Deliver(time.Now(), part, s.Limits.BodyTimeout)
		a.mu.Lock()
		s.Sent += int64(n)
		a.first, a.n = (a.first+len(part))%len(a.ring), a.n-len(part)
		if err != nil {
			a.failed, a.cause = reason.ClientGone, untaken(err, s.Limits.BodyTimeout)
		}
		a.moved.Signal()
		if err != nil {
			return
		}
	}
}
