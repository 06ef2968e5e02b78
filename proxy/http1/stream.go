package http1

import (
	"io"
	"net/netip"
	"sync"
	"time"

	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/wire"
)

// Stream is the client's end of an exchange: one request, and the response to it. The goroutine
// that handles the request owns it until the handler returns. Its steps are Guard, then the body,
// then one of a backend's response (Begin, EndHeader, Room, Add, EndBody, Flush), the balancer's
// own answer (BeginAnswer, EndAnswer), a Tunnel after EndHeader, and an answer made with fasthttp
// (RequestCtx, OpenBody, AnswerPlainly or AnswerStream), and then End.
type Stream struct {
	Request  message.Request // complete once Guard has passed it
	Started  time.Time       // when the header was complete
	Finished time.Time       // when the client had its answer, once End was called
	Status   int             // of the response that has begun, or 0
	Sent     int64           // bytes written to the client
	Cause    error           // what went wrong last, where the reason does not say it all, or nil

	activity   *activity
	conn       *clientConn
	ctx        *requestCtx
	limits     *Limits
	refused    reason.Code // why there is no request to guard
	received   int64       // bytes read from the client, without the body
	body       body
	expects    bool // the client still waits for 100 Continue
	byFasthttp bool // fasthttp writes the response

	small []byte // a small request body, once it was read
	out   []byte // the outgoing request, then the outgoing response

	status  int                     // of the response whose header is in out
	framing message.Framing         // of its body, as the backend sends it
	large   *[streamBufferSize]byte // backs out after widen, unless out has grown; nil before
	first   []byte                  // out before widen

	ahead   *ahead // what waits for a slow client; nil: nothing does
	aheadOf int64  // bytes that it has of the budget
}

// Limits are what a stream goes by. They must not change while a stream uses them.
type Limits struct {
	message.Rules
	BodyTimeout time.Duration // longest pause in a body, in either direction
}

var streams = sync.Pool{New: func() any { return &Stream{out: make([]byte, 0, outSize)} }}

// endStream clears the stream of everything that points into the request and puts it back into the
// pool. Its buffers are kept.
func endStream(s *Stream) {
	s.narrow()
	out, small := s.out, s.small
	if cap(out) > maxOutSize {
		out = make([]byte, 0, outSize)
	}
	*s = Stream{out: out[:0], small: small[:0]}
	streams.Put(s)
}

// Guard reads the request's header, and passes only requests that can be read in one way: for these
// it returns reason.None. l stays in use until the stream ends. A panic becomes InternalError.
func (s *Stream) Guard(l *Limits) (why reason.Code) {
	defer s.activity.rescue(&why)
	s.limits = l
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
	if !s.body.ended && !s.body.small() {
		s.Request.Upgrade = nil // the body would still be on its way when the protocol changes
	}
	return why
}

// Peer returns the address at the other end of the connection, or the one in its PROXY header.
func (s *Stream) Peer() netip.Addr { return s.conn.peer }

// Partner returns what SetPartner has set, or nil.
func (s *Stream) Partner() io.Closer { return s.conn.partner.get() }

// SetPartner gives the client's connection something that is closed with it. What was set before is
// closed now.
func (s *Stream) SetPartner(with io.Closer) { s.conn.partner.set(with) }

// Received returns the number of bytes read from the client, without the framing of a chunked body.
func (s *Stream) Received() int64 { return s.received + s.body.data }

// Streams reports whether the request has a body that is sent while it comes: the client decides how
// long that takes. It is called between two attempts: while one runs, the body is another goroutine's.
func (s *Stream) Streams() bool {
	return s.body.framing != message.NoBody && !s.body.small() && !s.body.ended
}

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
		s.conn.ExpectWrite(now, s.limits.BodyTimeout)
	}
	s.closeIf(s.activity.draining.Load())
	if s.Ends() && !(s.body.ended && s.conn.Quiet()) {
		// The client may still be sending, or has sent more than will be read.
		s.conn.ending.Raise(wire.Linger)
	}
	s.conn.in.settle()
	s.conn.lastUse = now
}

// Await waits for a value from done, at most for the timeout, and reports whether one came, and
// whether the client has left meanwhile: then it calls Stop of the work, which has to make done
// have a value.
func (s *Stream) Await(done <-chan struct{}, work wire.Stopper, timeout time.Duration) (came, gone bool) {
	var watch wire.Watch
	watch.Begin(&s.activity.departures, &s.conn.Conn, work)
	watch.Start()
	defer watch.Stop()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-done:
		came = true
	case <-timer.C:
	}
	return came, watch.Gone.Load()
}

// BeingCut reports whether the shutdown timeout is over and the remaining requests are being cut.
func (s *Stream) BeingCut() bool { return s.activity.cutting.Load() }

// LogFault logs a panic with its stack. It must be called by the deferred function that has
// recovered from it.
func (s *Stream) LogFault(fault any) { s.activity.logFault(fault) }
