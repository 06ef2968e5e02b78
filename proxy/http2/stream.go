package http2

import (
	"sync"
	"time"

	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
)

// Stream is the client's end of an exchange in HTTP/2: see ends.Stream. What concerns both the
// goroutine that reads the connection and the stream's own is guarded by conn.mu.
type Stream struct {
	ends.Exchange

	conn    *conn
	id      uint32
	start   func()      // run, made once: a closure for each stream would be allocated
	header  []byte      // backs Request
	refused reason.Code // why there is no request to guard
	broken  bool        // the stream has to end with RST_STREAM
	code    errorCode   // of that

	departure departure
	incoming  incoming
	response  response
	receiving waiter // for what comes
	sending   waiter // until more may be sent

	// Guarded by conn.mu.
	inbox     inbox
	length    int64 // of the body, as the header says; -1: it does not
	arrived   int64 // bytes of the body
	trailers  message.Trailers
	window    int64  // bytes that may be sent
	blocked   bool   // it waits to send
	ahead     *ahead // what waits for a slow client; nil: nothing does
	remoteEnd bool   // nothing more comes
	localEnd  bool   // all was sent
	answered  bool   // the response has begun
	wasReset  bool   // by this end
	counted   bool   // for maxStreams
	dead      error  // why nothing more comes or can be sent; nil: it may
}

// outSize is the size of the buffer for what leaves: the header of a request or a response, and the
// first bytes of the body. Beyond maxOutSize no buffer is kept.
const (
	outSize    = 16 << 10
	maxOutSize = 64 << 10
)

var streams = sync.Pool{New: func() any {
	s := &Stream{Exchange: ends.Exchange{Out: make([]byte, 0, outSize)}, receiving: newWaiter(), sending: newWaiter()}
	s.inbox.reset()
	return s
}}

func newStream() *Stream {
	s := streams.Get().(*Stream)
	if s.start == nil {
		s.start = s.run
	}
	return s
}

// free clears the stream, and puts it back into the pool. Its buffers are kept.
func (s *Stream) free() {
	s.narrow()
	if s.inbox.isWide {
		s.Activity.Buffers.Give(wideWindow - streamWindow)
	}
	if cap(s.Out) > maxOutSize {
		s.Out = make([]byte, 0, outSize)
	}
	if cap(s.header) > maxOutSize {
		s.header = nil
	}
	if cap(s.response.lines) > maxOutSize {
		s.response.lines = nil
	}
	s.Exchange.Reset()
	s.departure.reset()
	s.inbox.reset()
	s.receiving.forget()
	s.sending.forget()
	s.conn, s.id, s.refused, s.broken, s.code = nil, 0, reason.None, false, codeNone
	s.header, s.incoming, s.response = s.header[:0], incoming{}, response{lines: s.response.lines[:0]}
	s.length, s.arrived, s.trailers, s.window = 0, 0, message.Trailers{}, 0
	s.blocked, s.remoteEnd, s.localEnd, s.answered, s.wasReset, s.counted, s.dead = false, false, false, false, false, false, nil
	streams.Put(s)
}

// narrow gives the large buffer back.
func (s *Stream) narrow() {
	if s.response.large != nil {
		ends.Buffers.Put(s.response.large)
		s.response.large, s.Out = nil, s.response.first
	}
}

// take takes over a header list that is complete.
func (s *Stream) take(l *list) {
	why := l.end()
	s.header, l.buf = l.buf, nil
	s.length = l.length
	r := &s.Request
	switch {
	case why != nil:
		s.refused, s.Cause, s.broken, s.code = reason.BadRequest, why, true, codeProtocol
		return
	case l.over:
		s.refused, s.Cause, s.length = reason.HeaderTooLarge, errListSize, -1
	default:
		r.Header = s.header[l.block:]
	}
	part := func(which int) []byte { at := l.pseudo[which]; return s.header[at.start:at.end:at.end] }
	r.Method, r.Target = part(pseudoMethod), part(pseudoPath)
	r.Head = string(r.Method) == "HEAD"
}

// begins begins a stream whose header is complete.
func (c *conn) begins(id uint32, s *Stream) {
	s.conn, s.id = c, id
	s.Started, s.Activity = time.Now(), c.options.Activity
	s.Request.Proto, s.Request.HTTP2, s.Request.Security = protocol, true, c.Security()
	s.Request.Open = !c.header.ends
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed != nil {
		s.free()
		return
	}
	s.window, s.remoteEnd = c.initial, c.header.ends
	c.streams[id] = s
	s.counted = true
	c.open++
	if c.idle {
		c.idle = false
		c.SetIdle(false)
	}
	c.options.Activity.InFlight.Add(1)
	go s.start()
}

var protocol = []byte("HTTP/2.0")

// run takes the request to the handler.
func (s *Stream) run() {
	c, activity := s.conn, s.Activity
	defer activity.InFlight.Add(-1)
	defer c.finish(s)
	defer func() {
		if fault := recover(); fault != nil {
			activity.LogFault(fault)
			s.broken, s.code = true, codeInternal
		}
	}()
	c.options.Handle(ends.Stream{Exchange: &s.Exchange, ClientEnd: s})
}

// finish ends a stream whose handler has returned. One whose response has to look incomplete, and
// one whose request was not read to its end, is reset (RFC 9113, section 8.1).
func (c *conn) finish(s *Stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.failed != nil, s.wasReset, s.dead == errGone:
	case !s.localEnd && s.code != codeNone:
		c.reset(s.id, s.code)
		c.out.control++
	case !s.localEnd:
		c.reset(s.id, codeInternal)
	case !s.remoteEnd:
		c.reset(s.id, codeNone)
	}
	delete(c.streams, s.id)
	c.uncount(s)
	c.releaseAhead(s, &s.Activity.Buffers) // after a panic
	s.free()
	c.settle()
	c.ended.Signal()
}

// uncount makes place for another stream. A stream that was reset keeps its place until its work has
// ended.
func (c *conn) uncount(s *Stream) {
	if s.counted {
		s.counted = false
		c.open--
	}
}

// endLocally notes that all of the response was sent. It is called while mu is held.
func (c *conn) endLocally(s *Stream) {
	s.localEnd = true
	c.budget.earn(earnedByAnswer)
	if s.remoteEnd {
		c.uncount(s)
	}
}

// endRemotely notes that all of the request has come. It is called while mu is held.
func (c *conn) endRemotely(s *Stream) {
	s.remoteEnd = true
	if s.localEnd {
		c.uncount(s)
	}
}

// die ends the work of a stream. It is called while mu is held.
func (s *Stream) die(why error) {
	if s.dead == nil {
		s.dead = why
	}
	s.departure.left()
	s.receiving.wake()
	s.sending.wake()
}
