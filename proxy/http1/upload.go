package http1

import (
	"errors"
	"syscall"
	"time"

	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/wire"
)

// startUpload starts to send the body while the caller waits for the response.
func (c *Call) startUpload(repeatable bool) reason.Code {
	// Not in the goroutine: 100 Continue must precede the response.
	if why := c.stream.Proceed(); why != reason.None {
		return why
	}
	c.upload.Begin()
	c.uploadReset = false
	if c.stream.Replay.Rewind(); !repeatable {
		c.stream.Replay.Lose()
	}
	c.conn.HoldRecall()
	_ = c.conn.SetReadDeadline(time.Now().Add(c.watch.After())) // see waitOn
	go c.runUpload(c.conn)
	return reason.None
}

// runUpload sends the body, and then bounds the wait for the response. It uses no field of the call
// that the other goroutine changes while it runs.
func (c *Call) runUpload(conn *wire.Conn) {
	why, cause := c.sendBody(conn)
	c.upload.Finish(c.stream, conn, why, cause, c.limits.Wait, true)
}

// sendBody copies the body from the client to the backend. A panic becomes an error: in this
// goroutine it would end the process.
func (c *Call) sendBody(conn *wire.Conn) (why reason.Code, cause error) {
	s := c.stream
	defer s.Rescue(&why)
	chunked := s.Request.Framing == message.Chunked
	scratch := streamBuffers.Get().(*[streamBufferSize]byte)
	defer streamBuffers.Put(scratch)
	for total, ended := int64(0), false; !ended; {
		b, err := s.Replay.Next(s, scratch[:0:streamBufferSize-chunkOverhead])
		if err != nil {
			return s.Unread(err)
		}
		if total += int64(len(b)); s.Limits.MaxBody > 0 && total > s.Limits.MaxBody {
			return reason.BodyTooLarge, nil
		}
		if ended = s.Replay.Ended(s); chunked {
			b = frame(s, scratch[:len(b)], ended)
		}
		if ended {
			c.upload.Taken()
		}
		if _, err := conn.Deliver(time.Now(), b, s.Limits.BodyTimeout); err != nil {
			cause := unsent(err, s.Limits.BodyTimeout)
			if wire.TimedOut(err) {
				return reason.ResponseTimeout, cause // it has stopped reading
			}
			c.uploadReset = errors.Is(err, syscall.ECONNRESET)
			return reason.BackendReset, cause // it may have answered early: the response tells
		}
	}
	return reason.None, nil
}

// frame puts data of the request's body into a chunk, and the last chunk and the trailers behind it
// where the body has ended.
func frame(s ends.Stream, b []byte, ended bool) []byte {
	if len(b) > 0 {
		b = appendChunk(b, 0)
	}
	if ended {
		b = append(b, "0\r\n"...)
		b = s.Request.AppendTrailers(b, s.BodyTrailers())
		b = append(b, "\r\n"...)
	}
	return b
}

// headerCame returns control of the read deadline to the goroutine that reads the response.
func (c *Call) headerCame() {
	if waited := c.upload.HeaderCame(); waited > 0 {
		c.Waited = waited
	}
	c.conn.ForgetRead()
}

// Accept is that of ends.BackendEnd.
func (c *Call) Accept() { c.upload.Accept(c.stream) }

// stopUpload ends an upload that still runs, and reports whether the whole body was sent. If not,
// the backend's connection cannot be used again.
func (c *Call) stopUpload() bool {
	sent, stopped := c.upload.Wait(c.stream, c.conn)
	if stopped {
		c.conn.Resume()
	}
	return sent
}
