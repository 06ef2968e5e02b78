package http1

import (
	"net/netip"
	"sync"
	"time"

	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/wire"
)

// Stream is the client's end of an exchange in HTTP/1: see ends.Stream. Instead of a backend's
// response or the balancer's own answer it may have a Tunnel after EndHeader, or an answer made with
// fasthttp (RequestCtx, OpenBody, AnswerPlainly).
type Stream struct {
	ends.Exchange

	activity   *activity
	conn       *clientConn
	ctx        *requestCtx
	refused    reason.Code // why there is no request to guard
	received   int64       // bytes read from the client, without the body
	body       body
	expects    bool // the client still waits for 100 Continue
	byFasthttp bool // fasthttp writes the response

	status  int                     // of the response whose header is in Out
	framing message.Framing         // of its body, as the backend sends it
	large   *[streamBufferSize]byte // backs Out after widen, unless Out has grown; nil before
	first   []byte                  // Out before widen

	ahead   *ahead // what waits for a slow client; nil: nothing does
	aheadOf int64  // bytes that it has of the budget
}

var _ ends.ClientEnd = (*Stream)(nil)

var streams = sync.Pool{New: func() any {
	return &Stream{Exchange: ends.Exchange{Out: make([]byte, 0, outSize)}}
}}

// endStream clears the stream of everything that points into the request and puts it back into the
// pool. Its buffers are kept.
func endStream(s *Stream) {
	s.narrow()
	if cap(s.Out) > maxOutSize {
		s.Out = make([]byte, 0, outSize)
	}
	s.Exchange.Reset()
	*s = Stream{Exchange: s.Exchange}
	streams.Put(s)
}

// Guard is that of ends.ClientEnd.
func (s *Stream) Guard(l *ends.Limits) (why reason.Code) {
	defer s.Rescue(&why)
	s.Limits = l
	s.received = int64(s.conn.scan.size)
	if s.refused != reason.None {
		return s.refused
	}
	faulty := s.conn.scan.take()
	if faulty {
		s.Request.Head = string(s.Request.Method) == "HEAD"
		s.Cause = errRequestLines
		return reason.BadRequest
	}
	why = s.Request.Guard(&l.Rules)
	s.Cause = s.Request.Fault
	if why == reason.None || why == reason.BodyTooLarge {
		s.body = newBody(&s.conn.in, s.Request.Framing, s.Request.Length, l.BodyTimeout)
		s.expects = s.Request.Expect
	}
	if !s.body.ended && !s.HasSmallBody() {
		s.Request.Upgrade = nil // the body would still be on its way when the protocol changes
	}
	return why
}

// Peer is that of ends.ClientEnd.
func (s *Stream) Peer() netip.Addr { return s.conn.peer }

// Received is that of ends.ClientEnd.
func (s *Stream) Received() int64 { return s.received + s.body.data }

// WatchAfter is that of wire.Announcer.
func (s *Stream) WatchAfter() time.Duration { return wire.WatchAfter }

// Announce is that of wire.Announcer.
func (s *Stream) Announce(w *wire.Watch) { s.activity.departures.Add(w, &s.conn.Conn) }

// Forget is that of wire.Announcer.
func (s *Stream) Forget(w *wire.Watch) { s.activity.departures.Remove(w) }

// Ends reports whether the client's connection ends with this stream.
func (s *Stream) Ends() bool { return s.conn.ending != wire.KeepOpen }

func (s *Stream) closeIf(condition bool) { s.conn.ending.RaiseIf(condition, wire.Close) }

// End ends the stream: what the client still sends of the body is discarded, so that the connection
// is at the start of the next request, or the connection ends.
func (s *Stream) End() {
	s.AwaitAhead() // only after a panic is there anything to await
	now := time.Now()
	s.conn.answered = !s.byFasthttp
	s.Finished = now // reading the rest of the body may take long, and is not part of the answer
	if !s.Ends() && !s.body.ended {
		s.closeIf(s.discardBody() != reason.None)
		now = time.Now()
	}
	if s.byFasthttp { // fasthttp writes the answer; discarding the body has left no deadline
		s.conn.ExpectWrite(now, s.Limits.BodyTimeout)
		// A response that has left without Connection: close is not followed by the connection's end: the
		// next request may be on its way, and its response is then the last.
		s.closeIf(s.activity.Draining.Load())
	}
	if s.Ends() && !(s.body.ended && s.conn.Quiet()) {
		// The client may still be sending, or has sent more than will be read.
		s.conn.ending.Raise(wire.Linger)
	}
	s.conn.in.settle()
	s.conn.lastUse = now
}
