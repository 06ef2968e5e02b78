package http1

import (
	"errors"
	"io"
	"runtime"
	"time"

	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/wire"
)

// Call is the backend's end of an exchange in HTTP/1: see ends.Call. Init must have been called
// once.
type Call struct {
	ends.Progress

	stream      ends.Stream
	conn        *wire.Conn // between Begin and End
	reused      bool       // the connection had served before
	interims    int        // interim responses so far
	limits      CallLimits
	sentAt      time.Time  // when the request was sent, if it was not an upload
	watch       wire.Watch // watches the client while the backend is slow
	buf         []byte     // backs in, unless a header was larger
	in          inbound
	body        body
	upload      ends.Upload
	uploadReset bool // a write of the upload has met the backend's RST, of which the system tells once; the goroutine's until it has ended
}

var _ ends.BackendEnd = (*Call)(nil)

// CallLimits are what a call goes by.
type CallLimits struct {
	Wait      time.Duration // longest time from the request, once it was sent, to the final header
	MaxHeader int           // bytes of each header of the response
}

// Init gives a Call its buffers.
func (c *Call) Init() {
	c.buf = make([]byte, responseBufferSize)
	c.in.buf = c.buf
	c.upload.Init()
}

// Reset is that of ends.BackendEnd.
func (c *Call) Reset() {
	if c.stream.Exchange == nil {
		return // no attempt has begun
	}
	c.in.narrow(c.buf)
	*c = Call{buf: c.buf, in: inbound{buf: c.buf}, upload: c.upload.Cleared()}
}

// Begin begins a call on a connection. reused reports whether it has served before.
func (c *Call) Begin(s ends.Stream, conn *wire.Conn, reused bool, limits CallLimits) {
	c.stream, c.conn, c.reused, c.limits = s, conn, reused, limits
	c.watch.Begin(s.ClientEnd, conn)
	c.in = inbound{conn: conn, watch: &c.watch, buf: c.in.buf}
	c.Response, c.Waited, c.body, c.interims = message.Response{}, 0, body{}, 0
}

// Send is that of ends.BackendEnd.
func (c *Call) Send(b []byte, repeatable bool) reason.Code {
	s := c.stream
	now := s.Started
	small := s.HasSmallBody()
	s.Out = b
	if small {
		s.Out = append(b, s.SmallBody()...)
	}
	if small || !c.reused || s.Attempted {
		now = time.Now() // time has passed
	}
	c.conn.ExpectWrite(now, s.Limits.BodyTimeout)
	s.Attempted = true
	n, err := c.conn.Write(s.Out)
	if c.BytesSent = n; err != nil {
		if c.watch.Gone.Load() {
			return reason.ClientGone
		}
		s.Cause = unsent(err, s.Limits.BodyTimeout)
		return reason.BackendReset
	}
	if s.Request.Framing != message.NoBody && !small {
		return c.startUpload(repeatable)
	}
	c.sentAt = now
	if repeatable {
		c.conn.HoldRecall()
		c.conn.AllowRecall()
	}
	c.conn.ExpectRead(now, min(c.limits.Wait, c.watch.After()))
	// Under load other goroutines are ready to run. By the time they have run, the response is
	// likely to be here, and the read succeeds at once: this saves 3 % of the CPU time of a small
	// request.
	runtime.Gosched()
	return reason.None
}

// Repeatable is that of ends.BackendEnd.
func (c *Call) Repeatable(idempotent bool) bool {
	return c.BytesSent == 0 || idempotent && !c.in.arrived && !c.stream.Replay.Lost()
}

// RepeatableAnswered is that of ends.BackendEnd.
func (c *Call) RepeatableAnswered(idempotent bool) bool {
	return idempotent && c.upload.Replayable(c.stream)
}

// Skip is that of ends.BackendEnd: the connection can serve on.
func (c *Call) Skip() {
	if b := &c.body; b.framing == message.FixedLength && b.left <= int64(len(c.in.buffered())) {
		c.in.r += int(b.left)
		b.left, b.ended = 0, true
	}
}

// LostRace is that of ends.BackendEnd.
func (c *Call) LostRace(why reason.Code) bool { return c.reused && why == reason.BackendReset }

// Ready is that of ends.BackendEnd. Next then waits at most for the rest of a line of the chunked
// coding.
func (c *Call) Ready() bool { return c.body.ready() }

// Next is that of ends.BackendEnd.
func (c *Call) Next(dst []byte) ([]byte, error) {
	dst, err := c.body.next(dst)
	if c.body.ended && c.body.framing == message.UntilClose && c.upload.Started {
		c.stopUpload() // the connection is of no more use to it
		if c.uploadReset {
			c.body.ended, err = false, io.ErrUnexpectedEOF
		}
	}
	return dst, err
}

// Trailers is that of ends.BackendEnd.
func (c *Call) Trailers() *message.Trailers { return &c.body.trailers }

// Ended is that of ends.BackendEnd.
func (c *Call) Ended() bool { return c.body.ended }

// Uploads is that of ends.BackendEnd.
func (c *Call) Uploads() bool { return c.upload.Started }

// Uploaded is that of ends.BackendEnd.
func (c *Call) Uploaded() bool { return c.upload.Complete() }

// End is that of ends.BackendEnd. It stops the upload and the watch.
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

// Failure is that of ends.BackendEnd.
func (c *Call) Failure(err error) reason.Code {
	cause := c.cause(err)
	c.Response.Status = 0
	c.stream.Cause = nil // of an attempt before
	if c.watch.Gone.Load() {
		return reason.ClientGone
	}
	if c.upload.Started {
		if why, cause := c.upload.Failure(); why != reason.None {
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
		return broken(err, c.stream.Limits.BodyTimeout)
	}
	return unanswered(err, c.limits.Wait, c.in.arrived)
}

// Break is that of ends.BackendEnd.
func (c *Call) Break(err error) reason.Code {
	s := c.stream
	s.Cause = nil // of an attempt before
	if c.watch.Gone.Load() {
		return reason.ClientGone
	}
	s.BreakOff(c.body.framing)
	if why, cause := c.upload.ClientsFailure(); why != reason.None {
		s.Cause = cause
		return why // the request was cut short, and the response with it
	}
	s.Cause = c.cause(err)
	return reason.BackendAborted
}
