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

// FlushAhead is Flush, but it does not wait for a slow client: from the first time that the system
// does not take all at once, up to most bytes wait for the client beside, if the server's budget has
// room for them, and FlushAhead waits only where there are more. The caller does not touch what
// concerns the client's connection until AwaitAhead has returned. ahead must be false while the
// request's body is read from the same connection.
func (s *Stream) FlushAhead(most int64, allowed bool) reason.Code {
	if s.ahead != nil {
		ok := s.ahead.add(s.out)
		if s.out = s.out[:0]; !ok {
			return s.AwaitAhead()
		}
		return reason.None
	}
	if most == 0 || !allowed {
		return s.Flush()
	}
	s.Status = s.status
	n, slow := s.conn.Offer(s.out)
	s.Sent += int64(n)
	rest := s.out[n:]
	if slow && s.activity.buffers.take(most) {
		s.begin(most, rest)
		s.out = s.out[:0]
		return reason.None
	}
	why := s.write(rest)
	s.out = s.out[:0]
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

// AwaitAhead waits until the client has taken all that was flushed, or does not take more, which
// resets its connection: then it returns ClientGone.
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
	s.activity.buffers.give(s.aheadOf)
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
		n, err := s.conn.Deliver(time.Now(), part, s.limits.BodyTimeout)
		a.mu.Lock()
		s.Sent += int64(n)
		a.first, a.n = (a.first+len(part))%len(a.ring), a.n-len(part)
		if err != nil {
			a.failed, a.cause = reason.ClientGone, untaken(err, s.limits.BodyTimeout)
		}
		a.moved.Signal()
		if err != nil {
			return
		}
	}
}
