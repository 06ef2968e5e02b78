package http2

import (
	"sync"
	"time"

	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/message"
	"loadbalancer/proxy/mux"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/wire"
)

// startUpload starts to send the body while the caller waits for the response. small is one that
// was read before; nil: it is read while it comes. What is sent of it is kept also where the request
// is not idempotent: the backend may say that it has not looked at it.
func (c *Call) startUpload(small []byte, repeatable bool) reason.Code {
	// Not in the goroutine: 100 Continue must precede the response.
	if why := c.stream.Proceed(); why != reason.None {
		return why
	}
	c.upload.Begin()
	c.stream.Replay.Rewind()
	c.to.BoundRead(time.Now().Add(c.watch.After()))
	go c.runUpload(small, repeatable)
	return reason.None
}

// runUpload sends the body, and then bounds the wait for the response. It uses no field of the call
// that the other goroutine changes while it runs.
func (c *Call) runUpload(small []byte, repeatable bool) {
	why, cause := c.sendBody(small)
	c.upload.Finish(c.stream, c.to, why, cause, c.wait, repeatable)
}

// sendBody copies the body from the client to the backend. A panic becomes an error: in this
// goroutine it would end the process.
func (c *Call) sendBody(small []byte) (why reason.Code, cause error) {
	s := c.stream
	defer s.Rescue(&why)
	if small != nil {
		c.upload.Taken()
		return c.sent(c.to.Send(small, true, s.Limits.BodyTimeout))
	}
	var room scratch
	defer room.end()
	for total, ended := int64(0), false; !ended; {
		b, err := s.Replay.Next(s, room.take())
		if err != nil {
			return s.Unread(err)
		}
		room.was(len(b))
		if total += int64(len(b)); s.Limits.MaxBody > 0 && total > s.Limits.MaxBody {
			return reason.BodyTooLarge, nil
		}
		var trailers []byte
		if ended = s.Replay.Ended(s); ended {
			c.upload.Taken()
			if s.Request.Framing == message.Chunked {
				trailers = s.Request.AppendTrailers(nil, s.BodyTrailers())
			}
		}
		err = c.to.Send(b, ended && trailers == nil, s.Limits.BodyTimeout)
		if err == nil && trailers != nil {
			err = c.to.SendTrailers(trailerFields(trailers))
		}
		if err != nil {
			return c.sent(err)
		}
	}
	return reason.None, nil
}

// sent returns the reason for an error of sending.
func (c *Call) sent(err error) (reason.Code, error) {
	switch {
	case err == nil:
		return reason.None, nil
	case wire.TimedOut(err):
		return reason.ResponseTimeout, unsent(err, c.stream.Limits.BodyTimeout) // it has stopped reading
	}
	return reason.BackendReset, unsent(err, 0) // it may have answered early: the response tells
}

// Accept is that of ends.BackendEnd.
func (c *Call) Accept() { c.upload.Accept(c.stream) }

// sending is the way of a body to the backend, which ends without the response.
type sending struct{ *mux.Stream }

func (s sending) Stop() { s.StopSending() }

// scratch is the buffer of an upload. It is small while the body comes in small parts, as the
// messages of a stream do that may be silent for long.
type scratch struct {
	small *[frameRoom]byte
	large *[ends.BufferSize]byte // nil: the part before was small
	size  int                    // of the part before
}

// frameRoom holds the data of one frame of the usual size.
const frameRoom = 16 << 10

var frameRooms = sync.Pool{New: func() any { return new([frameRoom]byte) }}

// take returns an empty buffer for the next part.
func (s *scratch) take() []byte {
	switch {
	case s.size >= frameRoom && s.large == nil:
		s.large = ends.Buffers.Get().(*[ends.BufferSize]byte)
	case s.size < frameRoom && s.large != nil:
		ends.Buffers.Put(s.large)
		s.large = nil
	}
	if s.large != nil {
		return s.large[:0]
	}
	if s.small == nil {
		s.small = frameRooms.Get().(*[frameRoom]byte)
	}
	return s.small[:0]
}

// was notes the size of a part, by which the next take goes.
func (s *scratch) was(n int) { s.size = n }

// end gives the buffers back.
func (s *scratch) end() {
	if s.small != nil {
		frameRooms.Put(s.small)
	}
	if s.large != nil {
		ends.Buffers.Put(s.large)
	}
}
