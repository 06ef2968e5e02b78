package http2

import (
	"runtime"
	"time"

	"loadbalancer/proxy/ends"
)

// output is what waits to be written to a connection, whose mu guards it.
type output struct {
	buf     []byte
	spare   *[ends.BufferSize]byte // the buffer for the next write, while one is under way
	writing bool                   // a goroutine writes, or is about to
	control int                    // frames in buf that answer the client's
	blocked int                    // streams that wait for room or for the connection's window
	encoder encoder
	begin   func() // starts to write: made once, since a closure for each would be allocated
}

const (
	// maxOut is how many bytes may wait before streams wait for the client to take them. A frame
	// more than that fits into a buffer.
	maxOut = ends.BufferSize - maxFrameSize - 1<<10
	// maxControl is how many frames may wait that answer the client's: more come only if it sends
	// them and does not read.
	maxControl = 1000
)

// flush sees to it that what was appended is written. It is called while mu is held.
func (c *conn) flush() {
	if !c.out.writing {
		c.out.writing = true
		go c.out.begin()
	}
}

// write writes until nothing waits.
func (c *conn) write() {
	// Other streams are ready to run. By the time they have run, their responses are here too, and
	// all leave in one write and, over TLS, in one record: this halves the time of a small request.
	runtime.Gosched()
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.out.buf) > 0 && c.failed == nil {
		b := c.out.buf
		c.out.swap()
		c.wakeBlocked()
		c.mu.Unlock()
		_, err := c.Deliver(time.Now(), b, c.bounds.BodyTimeout)
		c.mu.Lock()
		c.out.keep(b)
		if err != nil {
			c.fail(err)
			_ = c.Conn.Close() // wakes the reader
		}
	}
	c.out.writing = false
	c.out.settle()
	c.settle()
	c.ended.Signal()
}

// space returns what waits, in a buffer with space behind it.
func (o *output) space() []byte {
	if o.buf == nil {
		o.buf = ends.Buffers.Get().(*[ends.BufferSize]byte)[:0]
	}
	return o.buf
}

// swap puts an empty buffer in place.
func (o *output) swap() {
	o.buf, o.control = nil, 0
	if o.spare != nil {
		o.buf, o.spare = o.spare[:0], nil
	}
}

// keep takes a buffer back that was written.
func (o *output) keep(b []byte) {
	if cap(b) != ends.BufferSize {
		return
	}
	if o.spare == nil {
		o.spare = (*[ends.BufferSize]byte)(b[:ends.BufferSize])
	} else {
		ends.Buffers.Put((*[ends.BufferSize]byte)(b[:ends.BufferSize]))
	}
}

// settle gives the buffers back while nothing waits.
func (o *output) settle() {
	if len(o.buf) == 0 {
		o.keep(o.buf)
		o.buf = nil
	}
	if o.spare != nil {
		ends.Buffers.Put(o.spare)
		o.spare = nil
	}
}

// wakeBlocked wakes the streams that wait for room or for the connection's window. It is called
// while mu is held.
func (c *conn) wakeBlocked() {
	if c.out.blocked == 0 {
		return
	}
	for _, s := range c.streams {
		if s.blocked || s.ahead != nil {
			c.push(s)
		}
	}
}

// answer appends frames that answer the client's, and reports whether it takes them. It is called
// while mu is held.
func (c *conn) answer(frames []byte) (ok bool) {
	c.out.buf = append(c.out.space(), frames...)
	c.out.control++
	c.flush()
	return c.out.control <= maxControl
}

// send sends what a stream has to send: its header block, data, and the trailers. It waits for room
// and for the windows, up to the body timeout without sending anything.
func (c *conn) send(s *Stream, p *parcel) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	by, left := time.Time{}, -1
	for {
		if s.dead != nil {
			return s.dead
		}
		if c.pack(s, p) {
			return nil
		}
		if rest := p.rest(); rest != left {
			by, left = time.Now().Add(s.Limits.BodyTimeout), rest
		}
		s.blocked = true
		c.out.blocked++
		c.mu.Unlock()
		ok := s.sending.wait(time.Until(by))
		c.mu.Lock()
		s.blocked = false
		c.out.blocked--
		if !ok && s.dead == nil {
			return errSlow
		}
	}
}

// parcel is what a stream has to send.
type parcel struct {
	status   int    // of a header; 0: there is none
	lines    []byte // of the header
	data     []byte
	trailers []byte // lines behind all; nil: none
	ends     bool   // nothing follows
	sent     int    // bytes, without the headers of frames
}

// rest changes whenever something of a parcel is sent.
func (p *parcel) rest() int { return p.status + len(p.data) }

// pack appends as much of a parcel as may be sent now, and reports whether that is all. It is called
// while mu is held.
func (c *conn) pack(s *Stream, p *parcel) (done bool) {
	if len(c.out.buf) > maxOut {
		return false
	}
	defer c.flush()
	if p.status != 0 {
		s.answered = s.answered || p.status >= 200 // not an interim one: the work is not done
		f := flags(0)
		if p.ends && len(p.data) == 0 && p.trailers == nil {
			f = flagEndStream
		}
		c.packBlock(s, f, p.status, p.lines, p)
		p.status = 0
		if f != 0 {
			c.endLocally(s)
			return true
		}
	}
	for len(p.data) > 0 {
		n := int(min(int64(len(p.data)), maxFrameSize, c.window, s.window))
		if n <= 0 || len(c.out.buf) > maxOut {
			return false
		}
		f := flags(0)
		if p.ends && n == len(p.data) && p.trailers == nil {
			f = flagEndStream
		}
		c.out.buf = append(appendFrame(c.out.space(), frameData, f, s.id, n), p.data[:n]...)
		p.data, p.sent = p.data[n:], p.sent+n
		c.window -= int64(n)
		s.window -= int64(n)
		c.budget.earn(earnedByData)
		if f != 0 {
			c.endLocally(s)
			return true
		}
	}
	switch {
	case p.trailers != nil:
		c.packBlock(s, flagEndStream, 0, p.trailers, p)
		c.endLocally(s)
	case p.ends:
		c.out.buf = appendFrame(c.out.space(), frameData, flagEndStream, s.id, 0)
		c.endLocally(s)
	}
	return true
}

// packBlock appends a header block. It is called while mu is held.
func (c *conn) packBlock(s *Stream, f flags, status int, lines []byte, p *parcel) {
	at := len(c.out.buf)
	b := append(c.out.space(), make([]byte, frameHeaderSize)...)
	b = c.out.encoder.encode(b, status, lines)
	p.sent += len(b) - at - frameHeaderSize
	c.out.buf = finishBlock(b, at, s.id, f)
}
