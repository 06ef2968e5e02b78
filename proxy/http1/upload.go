package http1

import (
	"errors"
	"sync"
	"syscall"
	"time"

	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/wire"
)

// upload sends a request body to the backend in its own goroutine. The goroutine owns the reading
// of the request's body and its Replay, and the writing side of the backend's connection; stopUpload
// waits for its end. Another attempt begins with what was kept of the body, and continues where the
// previous one stopped reading.
type upload struct {
	started bool          // in this attempt
	done    chan struct{} // gets one value when the goroutine has ended

	mu       sync.Mutex
	header   bool // the response's header has come: its deadline is set elsewhere
	accepted bool // the response is the one that the client gets
	watched  bool // the client is watched: so is the longer wait for the header
	taken    bool // the whole body has been read from the client, in this attempt or before
	finished bool // result and endedAt are valid
	endedAt  time.Time
	result   reason.Code // reason.None: the whole body was sent
	cause    error       // of result
	wasReset bool        // a write has met the backend's RST
}

// startUpload starts to send the body while the caller waits for the response.
func (c *Call) startUpload(repeatable bool) reason.Code {
	// Not in the goroutine: 100 Continue must precede the response.
	if why := c.stream.Proceed(); why != reason.None {
		return why
	}
	u := &c.upload
	u.started, u.header, u.accepted, u.watched, u.finished, u.result, u.cause, u.wasReset = true, false, false, false, false, reason.None, nil, false
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
	u := &c.upload
	u.mu.Lock()
	// Before the deadline wakes the reader of the response, which asks for the result.
	u.finished, u.result, u.cause = true, why, cause
	switch {
	case u.header && (why == reason.ResponseTimeout || why == reason.RequestTimeout):
		// A backend that has answered need not read on, nor its client send more.
	case why != reason.None && why != reason.BackendReset:
		conn.Stop() // there will be no response, or no more of one
	case !u.header:
		u.endedAt = time.Now()
		wait := c.limits.Wait
		if !u.watched {
			wait = min(wait, c.watch.After())
		}
		conn.BoundRead(u.endedAt.Add(wait))
		if why == reason.None && !c.stream.Replay.Lost() {
			conn.AllowRecall()
		}
	}
	if u.accepted {
		c.stream.Replay.Lose() // the request will not be sent again
	}
	u.mu.Unlock()
	u.done <- struct{}{}
}

// sendBody copies the body from the client to the backend. A panic becomes an error: in this
// goroutine it would end the process.
func (c *Call) sendBody(conn *wire.Conn) (why reason.Code, cause error) {
	s := c.stream
	defer s.Rescue(&why)
	u, chunked := &c.upload, s.Request.Framing == message.Chunked
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
			u.bodyTaken()
		}
		if _, err := conn.Deliver(time.Now(), b, s.Limits.BodyTimeout); err != nil {
			cause := unsent(err, s.Limits.BodyTimeout)
			if wire.TimedOut(err) {
				return reason.ResponseTimeout, cause // it has stopped reading
			}
			c.upload.noteReset(err)
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

// waitOn lets the wait for the response's header continue. Until the body is sent, the backend may
// be silent for as long as that takes.
func (u *upload) waitOn(c *Call) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.watched = true
	until := time.Time{}
	if u.finished {
		until = u.endedAt.Add(c.limits.Wait)
	}
	c.conn.BoundRead(until)
}

// headerCame returns control of the read deadline to the goroutine that reads the response.
func (c *Call) headerCame() {
	u := &c.upload
	u.mu.Lock()
	defer u.mu.Unlock()
	u.header = true
	if u.finished {
		c.Waited = time.Since(u.endedAt)
	}
	c.conn.ForgetRead()
}

// replayable reports whether the body, if there was an upload, has been read to its end and was
// kept.
func (c *Call) replayable() bool {
	u := &c.upload
	if !u.started {
		return !c.stream.Replay.Lost()
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.taken && !c.stream.Replay.Lost() // from taken on, that does not change before accept
}

// Accept is that of ends.BackendEnd. It gives up what was kept of the body: the request will not be
// sent again. While the upload runs, its goroutine will do that.
func (c *Call) Accept() {
	u := &c.upload
	if !u.started {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.accepted = true; u.finished {
		c.stream.Replay.Lose()
	}
}

// noteReset records whether a write has failed because the backend has reset the connection. The
// system tells of a RST only once: if the write was told, the reader of the response sees a regular
// end. A backend that has closed its side first gives EPIPE.
func (u *upload) noteReset(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.wasReset = errors.Is(err, syscall.ECONNRESET)
}

// failure returns why the body could not be sent, as far as is known.
func (u *upload) failure() (reason.Code, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.result, u.cause
}

// bodyTaken records that the client's connection is at the start of the next request. It is called
// before the last write, because the response may come right after that.
func (u *upload) bodyTaken() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.taken = true
}

// complete reports whether the whole body has been read from the client, so that its connection can
// be kept.
func (u *upload) complete() bool {
	if !u.started { // as for nearly all requests, which then take no lock
		return true
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.taken
}

// stopUpload ends an upload that still runs, and reports whether the whole body was sent. If not,
// the backend's connection cannot be used again. Whatever the client has not sent yet is read by
// another attempt, or at the end of the exchange.
func (c *Call) stopUpload() bool {
	u := &c.upload
	if !u.started {
		return true
	}
	u.mu.Lock()
	finished := u.finished
	u.mu.Unlock()
	if !finished {
		c.stream.StopBody()
		c.conn.Stop()
	}
	<-u.done
	if !finished {
		c.stream.ResumeBody()
		c.conn.Resume()
	}
	u.started = false
	switch u.result {
	case reason.None, reason.BackendReset, reason.ResponseTimeout:
	case reason.RequestTimeout:
		if finished { // otherwise stopUpload ended the wait
			c.stream.Replay.Lose()
		}
	default: // the client's part has failed, or we have
		c.stream.Replay.Lose()
	}
	return u.result == reason.None
}
