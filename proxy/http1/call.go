package http1

import (
	"errors"
	"io"
	"runtime"
	"time"

	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/wire"
)

// Call is the backend's end of an exchange: one request, sent on a backend's connection, and the
// response to it. Its steps are Begin, Send, ReadHead up to the final header, Next up to the end of
// the body, and End. A failed call may begin again on another connection. The goroutine that
// handles the request owns it. Init must have been called once.
type Call struct {
	Response  message.Response // of the header that ReadHead has read last
	BytesSent int              // of the request, by the last attempt, without an upload's
	Waited    time.Duration    // from the request, once it was sent, to the final header; 0 if that came first

	stream    *Stream
	conn      *wire.Conn // between Begin and End
	reused    bool       // the connection had served before
	attempted bool       // this is not the first attempt, so time has passed
	interims  int        // interim responses so far
	limits    CallLimits
	sentAt    time.Time  // when the request was sent, if it was not an upload
	watch     wire.Watch // watches the client while the backend is slow
	buf       []byte     // backs in, unless a header was larger
	in        inbound
	body      body
	upload    upload
}

// CallLimits are what a call goes by.
type CallLimits struct {
	Wait      time.Duration // longest time from the request, once it was sent, to the final header
	MaxHeader int           // bytes of each header of the response
}

// Init gives a Call its buffers.
func (c *Call) Init() {
	c.buf = make([]byte, responseBufferSize)
	c.in.buf = c.buf
	c.upload.done = make(chan struct{}, 1)
}

// Reset readies a Call that has ended for another exchange. It keeps the buffers.
func (c *Call) Reset() {
	if c.stream == nil {
		return // no attempt has begun
	}
	c.upload.replay.release()
	c.in.narrow(c.buf)
	*c = Call{buf: c.buf, in: inbound{buf: c.buf}, upload: upload{done: c.upload.done}}
}

// Begin begins a call on a connection. reused reports whether it has served before.
func (c *Call) Begin(s *Stream, conn *wire.Conn, reused bool, limits CallLimits) {
	c.stream, c.conn, c.reused, c.limits = s, conn, reused, limits
	c.watch.Begin(&s.activity.departures, &s.conn.Conn, conn)
	c.in = inbound{conn: conn, watch: &c.watch, buf: c.in.buf}
	c.Response, c.Waited, c.body, c.interims = message.Response{}, 0, body{}, 0
}

// Send sends the request, whose header b is from the stream's Buffer. A small body goes out
// together with the header. A larger body, or one of unknown length, is sent by a goroutine while
// the caller waits for the response, which may start before the body ends. repeatable reports
// whether the request may be sent twice.
func (c *Call) Send(b []byte, repeatable bool) reason.Code {
	s := c.stream
	s.out = b
	now := s.Started
	small := s.body.small()
	if small {
		if why := c.appendSmallBody(); why != reason.None {
			return why
		}
	}
	if small || !c.reused || c.attempted {
		now = time.Now() // time has passed
	}
	c.conn.ExpectWrite(now, s.limits.BodyTimeout)
	c.attempted = true
	n, err := c.conn.Write(s.out)
	if c.BytesSent = n; err != nil {
		s.Cause = unsent(err, s.limits.BodyTimeout)
		return reason.BackendReset
	}
	if s.body.framing != message.NoBody && !small {
		return c.startUpload(repeatable)
	}
	c.sentAt = now
	if repeatable {
		c.conn.HoldRecall()
		c.conn.AllowRecall()
	}
	c.conn.ExpectRead(now, min(c.limits.Wait, wire.WatchAfter))
	// Under load other goroutines are ready to run. By the time they have run, the response is
	// likely to be here, and the read succeeds at once: this saves 3 % of the CPU time of a small
	// request.
	runtime.Gosched()
	return reason.None
}

// appendSmallBody reads the body, if that has not been done, and puts it behind the header.
func (c *Call) appendSmallBody() reason.Code {
	s := c.stream
	waited := s.expects
	if why := s.readSmallBody(); why != reason.None {
		return why
	}
	if waited && c.reused && !c.conn.Quiet() { // it ended while the body came
		c.BytesSent, s.Cause = 0, errClosedEarly
		return reason.BackendReset
	}
	s.out = append(s.out, s.small...)
	return reason.None
}

// Repeatable reports whether the request may be sent again: either none of it was sent, or it is
// idempotent, no byte of a response has come, and the whole request is still available.
func (c *Call) Repeatable(idempotent bool) bool {
	return c.BytesSent == 0 || idempotent && !c.in.arrived && !c.upload.replay.lost
}

// RepeatableAnswered is Repeatable once ReadHead has returned the header of the final response: the
// request must be idempotent, and the whole of it read from the client and still available.
func (c *Call) RepeatableAnswered(idempotent bool) bool {
	return idempotent && c.upload.replayable()
}

// Accept notes that the response which has come is the one that the client gets.
func (c *Call) Accept() { c.upload.accept() }

// Skip discards a body of known length that is at hand, so that the connection can serve on.
func (c *Call) Skip() {
	if b := &c.body; b.framing == message.FixedLength && b.left <= int64(len(c.in.buffered())) {
		c.in.r += int(b.left)
		b.left, b.ended = 0, true
	}
}

// LostRace reports whether the call has failed because its connection, which had served before, was
// closed by the backend while the request was on its way. That is no failure of the backend.
func (c *Call) LostRace(why reason.Code) bool { return c.reused && why == reason.BackendReset }

// Ready reports whether bytes of the body are at hand, or the body has ended. Next then waits at
// most for the rest of a line of the chunked coding.
func (c *Call) Ready() bool { return c.body.ready() }

// Next appends the next part of the response's body to dst, up to its capacity.
func (c *Call) Next(dst []byte) ([]byte, error) {
	dst, err := c.body.next(dst)
	if c.body.ended && c.body.framing == message.UntilClose && c.upload.started {
		c.stopUpload() // the connection is of no more use to it
		if c.upload.wasReset {
			c.body.ended, err = false, io.ErrUnexpectedEOF
		}
	}
	return dst, err
}

// Trailers returns the fields that came after the body, once it has ended.
func (c *Call) Trailers() *message.Trailers { return &c.body.trailers }

// Ended reports whether the body was read to its end.
func (c *Call) Ended() bool { return c.body.ended }

// Uploads reports whether the request's body is still being sent, or was sent by a goroutine: the
// connection is released only after End has waited for it.
func (c *Call) Uploads() bool { return c.upload.started }

// Uploaded reports whether the whole body of the request has been read from the client.
func (c *Call) Uploaded() bool { return c.upload.complete() }

// End stops the upload and the watch, and reports whether the connection can serve another request.
// The connection is not used any more. A second call returns false.
func (c *Call) End() (reusable bool) {
	if c.conn == nil {
		return false
	}
	uploaded := c.stopUpload()
	c.watch.Stop()
	c.conn, c.in.conn, c.in.watch = nil, nil, nil
	return uploaded && c.reusable() && !c.watch.Gone.Load()
}

// reusable reports whether the connection is at the start of the next response: this one was read
// to its end, and no bytes followed it. Such bytes would be taken for the response to another
// request.
func (c *Call) reusable() bool {
	return c.Response.Keep && c.body.ended && len(c.in.buffered()) == 0
}

// Failure returns the reason why the response's header did not come, or nothing of its body.
func (c *Call) Failure(err error) reason.Code {
	cause := c.cause(err)
	c.Response.Status = 0
	c.stream.Cause = nil // of an attempt before
	if c.watch.Gone.Load() {
		return reason.ClientGone
	}
	if c.upload.started {
		if why, cause := c.upload.failure(); why != reason.None {
			c.stream.Cause = cause
			return why // the request was cut short, and the wait with it
		}
	}
	c.stream.Cause = cause
	switch {
	case errors.Is(err, errResponseHeader), errors.Is(err, errResponseSize):
		return reason.BadResponse
	case wire.TimedOut(err):
		return reason.ResponseTimeout
	case c.in.arrived:
		return reason.BadResponse // it ended within the header
	}
	return reason.BackendReset
}

// cause puts into words why the response, or the rest of it, did not come.
func (c *Call) cause(err error) error {
	if c.Response.Status >= 200 {
		return broken(err, c.stream.limits.BodyTimeout)
	}
	return unanswered(err, c.limits.Wait, c.in.arrived)
}

// Break ends a response that has failed in the middle of its body with err, and returns the reason.
// The client's connection is reset where its end would look like the end of the body.
func (c *Call) Break(err error) reason.Code {
	s := c.stream
	s.closeIf(true)
	s.Cause = nil // of an attempt before
	if c.watch.Gone.Load() {
		return reason.ClientGone
	}
	if c.body.framing == message.UntilClose || s.Request.HTTP10 {
		s.conn.abort()
	}
	if why, cause := c.upload.failure(); why != reason.None && why != reason.BackendReset {
		s.Cause = cause
		return why // the request was cut short, and the response with it
	}
	s.Cause = c.cause(err)
	return reason.BackendAborted
}
