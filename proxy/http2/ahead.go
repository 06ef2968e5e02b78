package http2

import (
	"time"

	"loadbalancer/proxy/ends"
)

// ahead is the part of a response that waits for a slow client, while more of it is read from the
// backend. Whatever lets more be sent packs it, in the goroutine that has taken that. conn.mu guards
// it.
type ahead struct {
	parcel
	buf    []byte // backs data
	of     int64  // bytes that it has of the budget
	packed bool   // all of it, so far
}

// add takes as much as there is room for from what follows, and reports whether that is all.
func (a *ahead) add(p *parcel) (ok bool) {
	kept := copy(a.buf[:cap(a.buf)], a.data)
	n := min(len(p.data), cap(a.buf)-kept)
	a.data = append(a.buf[:kept], p.data[:n]...)
	p.data, a.packed = p.data[n:], false
	if len(p.data) > 0 {
		return false
	}
	a.ends, a.trailers = p.ends, p.trailers
	return true
}

// sendAhead is send, except that up to most bytes may wait for the client, if the budget has room.
// What does is sent by and by.
func (c *conn) sendAhead(s *Stream, p *parcel, most int64) error {
	c.mu.Lock()
	if s.ahead == nil {
		switch {
		case s.dead != nil:
			defer c.mu.Unlock()
			return s.dead
		case c.pack(s, p):
			c.mu.Unlock()
			return nil
		case !s.Activity.Buffers.Take(most):
			c.mu.Unlock()
			return c.send(s, p) // which waits
		}
		s.ahead = &ahead{parcel: *p, buf: make([]byte, 0, max(int(most), len(p.data))), of: most}
		s.ahead.data, s.ahead.sent = append(s.ahead.buf, p.data...), 0
		c.out.blocked++
		c.mu.Unlock()
		return nil
	}
	defer c.mu.Unlock()
	return c.awaitAhead(s, func() bool {
		a := s.ahead
		for {
			all := a.add(p)
			a.packed = c.pack(s, &a.parcel)
			if all || !a.packed {
				return all
			}
		}
	})
}

// push packs what waits for a slow client, as far as that is possible now. It is called while mu is
// held.
func (c *conn) push(s *Stream) {
	if a := s.ahead; a != nil && !a.packed && s.dead == nil {
		a.packed = c.pack(s, &a.parcel)
	}
	s.sending.wake()
}

// await waits until all that waits for the client was sent.
func (c *conn) await(s *Stream) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.awaitAhead(s, func() bool { return s.ahead.packed })
}

// awaitAhead waits until something holds, up to the body timeout without sending anything. It is
// called while mu is held.
func (c *conn) awaitAhead(s *Stream, holds func() bool) error {
	by, left := time.Time{}, -1
	for !holds() {
		if s.dead != nil {
			return s.dead
		}
		if rest := s.ahead.rest(); rest != left {
			by, left = time.Now().Add(s.Limits.BodyTimeout), rest
		}
		c.mu.Unlock()
		ok := s.sending.wait(time.Until(by))
		c.mu.Lock()
		if !ok && s.dead == nil && s.ahead.rest() == left {
			return errSlow
		}
	}
	return s.dead
}

// releaseAhead gives back what waits, or has waited, for the client. It is called while mu is held.
func (c *conn) releaseAhead(s *Stream, b *ends.Budget) {
	if s.ahead != nil {
		b.Give(s.ahead.of)
		s.Sent += int64(s.ahead.sent)
		s.ahead = nil
		c.out.blocked--
	}
}
