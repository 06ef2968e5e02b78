package http2

import (
	"errors"
	"time"

	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/message"
	"loadbalancer/proxy/mux"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/wire"
)

// Call is the backend's end of an exchange in HTTP/2: see ends.Call. Init must have been called
// once.
type Call struct {
	ends.Progress

	stream   ends.Stream
	to       *mux.Stream   // between Begin and End
	wait     time.Duration // longest time from the request, once it was sent, to the final header
	sentAt   time.Time     // when the request was sent, if it was not an upload
	watch    wire.Watch    // watches the client while the backend is slow
	fields   []hpack.HeaderField
	block    []byte // the header that ReadHead has read last
	left     int64  // of a body of known length
	ended    bool   // the body was read to its end
	raced    bool   // the request has failed without having been looked at, as far as is known
	trailers message.Trailers
	upload   ends.Upload
}

var _ ends.BackendEnd = (*Call)(nil)

// Init readies a Call.
func (c *Call) Init() { c.upload.Init() }

// Reset is that of ends.BackendEnd.
func (c *Call) Reset() {
	if c.stream.Exchange == nil {
		return // no attempt has begun
	}
	clear(c.fields)
	*c = Call{fields: c.fields[:0], block: c.block[:0], upload: c.upload.Cleared()}
}

// Begin begins a call on a stream, which End ends. wait is the longest time from the request, once
// it was sent, to the final header.
func (c *Call) Begin(s ends.Stream, to *mux.Stream, wait time.Duration) {
	c.stream, c.to, c.wait = s, to, wait
	c.watch.Begin(s.ClientEnd, to)
	c.Response, c.Waited, c.BytesSent = message.Response{}, 0, 0
	c.left, c.ended, c.raced, c.trailers = 0, false, false, message.Trailers{}
}

// Send is that of ends.BackendEnd. A small body goes out with the header only where the backend
// takes the whole of it.
func (c *Call) Send(b []byte, repeatable bool) reason.Code {
	s := c.stream
	s.Out, s.Attempted = b, true
	c.fields = appendRequest(c.fields[:0], b, c.to.IsSecure())
	hasBody, small := s.Request.Framing != message.NoBody, s.HasSmallBody()
	var body []byte
	if small {
		body = s.SmallBody()
	}
	sent, err := c.to.Begin(c.fields, body, !hasBody || small)
	if err != nil {
		return c.Failure(mux.ErrUnprocessed)
	}
	c.BytesSent = len(b) + len(body)
	if hasBody && !small || !sent {
		return c.startUpload(body, repeatable)
	}
	c.sentAt = time.Now()
	if repeatable {
		c.to.AllowRecall()
	}
	c.to.BoundRead(c.sentAt.Add(min(c.wait, c.watch.After())))
	return reason.None
}

// ReadHead is that of ends.BackendEnd.
func (c *Call) ReadHead() reason.Code {
	for {
		h, err := c.to.Header()
		switch {
		case err == nil:
			return c.take(&h)
		case errors.Is(err, mux.ErrRecalled):
			c.stream.Cause = errBackendOut
			return reason.BackendOut
		case wire.TimedOut(err) && c.watch.Start():
			c.bound()
		default:
			return c.Failure(err)
		}
	}
}

// take takes over a header that has come.
func (c *Call) take(h *mux.Header) reason.Code {
	head := c.stream.Request.Head
	block, ok := appendResponse(c.block[:0], h, head)
	c.block = block
	if !ok || !c.Response.Parse(block, head) || h.Ends && c.Response.Framing == message.FixedLength && c.Response.Length > 0 {
		return c.Failure(mux.MalformedError{})
	}
	c.Response.HTTP2 = true
	if c.Interim() {
		return reason.None
	}
	c.left = c.Response.Length
	c.ended = h.Ends || c.Response.Framing == message.NoBody
	if c.upload.Started {
		c.Waited = c.upload.HeaderCame()
	} else {
		c.Waited = time.Since(c.sentAt)
	}
	return reason.None
}

// bound ends the wait for the header as late as the pool allows. From then on the client is watched.
func (c *Call) bound() {
	if c.upload.Started {
		c.upload.WaitOn(c.to, c.wait)
	} else {
		c.to.BoundRead(c.sentAt.Add(c.wait))
	}
}

// WaitOn is that of ends.BackendEnd. The wait is not recalled again.
func (c *Call) WaitOn() {
	c.to.Settle()
	c.stream.Cause = nil
	c.watch.Start()
	c.bound()
}

// LostRace is that of ends.BackendEnd. A backend that ends a connection says which requests it has
// not looked at. Where it just closes one that had no other stream, the request may have crossed
// that.
func (c *Call) LostRace(why reason.Code) bool { return c.raced && why == reason.BackendReset }

// Repeatable is that of ends.BackendEnd. What was sent of a request that the backend has not looked
// at does not count.
func (c *Call) Repeatable(idempotent bool) bool {
	return !c.stream.Replay.Lost() && (c.BytesSent == 0 || idempotent && c.Response.Status == 0)
}

// RepeatableAnswered is that of ends.BackendEnd.
func (c *Call) RepeatableAnswered(idempotent bool) bool {
	return idempotent && c.upload.Replayable(c.stream)
}

// Skip is that of ends.BackendEnd. End resets the stream, which costs the connection nothing.
func (*Call) Skip() {}

// Ready is that of ends.BackendEnd.
func (c *Call) Ready() bool { return c.ended || c.to.Ready() }

// Next is that of ends.BackendEnd.
func (c *Call) Next(dst []byte) ([]byte, error) {
	if c.ended {
		return dst, nil
	}
	start := len(dst)
	dst, err := c.read(dst)
	if c.Response.Framing == message.FixedLength {
		if c.left -= int64(len(dst) - start); c.left < 0 {
			return dst[:start], errBodyLength
		}
	}
	if err != nil || !c.to.Ended() {
		return dst, err
	}
	if c.left > 0 && c.Response.Framing == message.FixedLength {
		return dst, errBodyLength
	}
	for _, f := range c.to.Trailers() {
		if !c.trailers.Add(appendLine(nil, f)) {
			return dst, errBadTrailers
		}
	}
	c.ended = true
	return dst, nil
}

// read reads from the body. The client is watched once nothing has come for a second.
func (c *Call) read(dst []byte) ([]byte, error) {
	patience := c.stream.Limits.BodyTimeout
	if c.watch.Started() || patience <= c.watch.After() {
		return c.to.Read(dst, patience)
	}
	dst, err := c.to.Read(dst, c.watch.After())
	if wire.TimedOut(err) {
		c.watch.Start()
		return c.to.Read(dst, patience-c.watch.After())
	}
	return dst, err
}

// Trailers is that of ends.BackendEnd.
func (c *Call) Trailers() *message.Trailers { return &c.trailers }

// Ended is that of ends.BackendEnd.
func (c *Call) Ended() bool { return c.ended }

// Uploads is that of ends.BackendEnd.
func (c *Call) Uploads() bool { return c.upload.Started }

// Uploaded is that of ends.BackendEnd.
func (c *Call) Uploaded() bool { return c.upload.Complete() }

// End is that of ends.BackendEnd. Whatever has happened to the stream, the connection serves others.
func (c *Call) End() (reusable bool) {
	if c.to == nil {
		return false
	}
	c.upload.Wait(c.stream, sending{c.to})
	c.watch.Stop()
	c.to.End()
	c.to = nil
	return true
}

// Failure is that of ends.BackendEnd.
func (c *Call) Failure(err error) reason.Code {
	arrived := c.Response.Status != 0
	cause := c.cause(err)
	c.Response.Status = 0
	c.stream.Cause = nil // of an attempt before
	if c.watch.Gone.Load() {
		return reason.ClientGone
	}
	if c.upload.Started {
		if why, cause := c.upload.ClientsFailure(); why != reason.None {
			c.stream.Cause = cause
			return why // the request was cut short, and the wait with it
		}
	}
	c.stream.Cause = cause
	reset, wasReset := errors.AsType[mux.ResetError](err)
	switch {
	case c.isLate(err):
		return reason.CallTimeout
	case errors.Is(err, mux.ErrUnprocessed):
		c.BytesSent, c.raced = 0, true
	case wasReset && reset.Code == xhttp2.ErrCodeRefusedStream && !arrived:
		c.BytesSent = 0
		return reason.Overloaded
	case wasReset && reset.Code == xhttp2.ErrCodeHTTP11Required, isMalformed(err):
		return reason.BadResponse
	case wire.TimedOut(err):
		return reason.ResponseTimeout
	case arrived:
		return reason.BadResponse // it broke off before the first byte of the body
	default:
		c.raced = !wasReset && c.to.WasIdle()
	}
	return reason.BackendReset
}

// Break is that of ends.BackendEnd.
func (c *Call) Break(err error) reason.Code {
	s := c.stream
	s.Cause = nil // of an attempt before
	if c.watch.Gone.Load() {
		return reason.ClientGone
	}
	s.BreakOff(c.Response.Framing)
	if why, cause := c.upload.ClientsFailure(); why != reason.None {
		s.Cause = cause
		return why // the request was cut short, and the response with it
	}
	s.Cause = c.cause(err)
	if c.isLate(err) {
		return reason.CallTimeout
	}
	return reason.BackendAborted
}

// isLate reports whether an error is that of a call of gRPC whose client's time is over. A backend
// ends such a call, too, and has not failed.
func (c *Call) isLate(err error) bool {
	_, wasReset := errors.AsType[mux.ResetError](err)
	return (wasReset || wire.TimedOut(err)) && c.stream.Request.GRPC.IsOver(c.stream.Started)
}
