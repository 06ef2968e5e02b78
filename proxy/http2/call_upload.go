package http2

import (
	"sync"
	"time"

	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/wire"
)

// upload sends a request body to the backend in its own goroutine, which owns the reading of the
// request's body and its Replay; stopUpload waits for its end. What is kept of the body is kept also
// where the request is not idempotent: the backend may say that it has not looked at it.
type upload struct {
	started bool // in this attempt
	done    chan struct{}

	mu       sync.Mutex
	header   bool // the response's header has come
	accepted bool // the response is the one that the client gets
	watched  bool // the client is watched: so is the longer wait for the header
	taken    bool // the whole body has been read from the client, in this attempt or before
	finished bool // result and endedAt are valid
	endedAt  time.Time
	result   reason.Code // reason.None: the whole body was sent
	cause    error       // of result
}

// startUpload starts to send the body while the caller waits for the response. small is one that
// was read before; nil: it is read while it comes.
func (c *Call) startUpload(small []byte, repeatable bool) reason.Code {
	// Not in the goroutine: 100 Continue must precede the response.
	if why := c.stream.Proceed(); why != reason.None {
		return why
	}
	u := &c.upload
	u.started, u.header, u.accepted, u.watched, u.finished, u.result, u.cause = true, false, false, false, false, reason.None, nil
	c.stream.Replay.Rewind()
	c.to.Bound(time.Now().Add(wire.WatchAfter))
	go c.runUpload(small, repeatable)
	return reason.None
}

// runUpload sends the body, and then bounds the wait for the response. It uses no field of the call
// that the other goroutine changes while it runs.
func (c *Call) runUpload(small []byte, repeatable bool) {
	why, cause := c.sendBody(small)
	u := &c.upload
	u.mu.Lock()
	u.finished, u.result, u.cause = true, why, cause
	switch {
	case u.header && (why == reason.ResponseTimeout || why == reason.RequestTimeout):
		// A backend that has answered need not read on, nor its client send more.
	case why != reason.None && why != reason.BackendReset:
		c.to.Stop() // there will be no response, or no more of one
	case !u.header:
		u.endedAt = time.Now()
		wait := c.wait
		if !u.watched {
			wait = min(wait, wire.WatchAfter)
		}
		c.to.Bound(u.endedAt.Add(wait))
		if why == reason.None && repeatable && !c.stream.Replay.Lost() {
			c.to.AllowRecall()
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
func (c *Call) sendBody(small []byte) (why reason.Code, cause error) {
	s := c.stream
	defer s.Rescue(&why)
	if small != nil {
		c.upload.bodyTaken()
		return c.sent(c.to.Send(small, true, s.Limits.BodyTimeout))
	}
	scratch := ends.Buffers.Get().(*[ends.BufferSize]byte)
	defer ends.Buffers.Put(scratch)
	for total, ended := int64(0), false; !ended; {
		b, err := s.Replay.Next(s, scratch[:0])
		if err != nil {
			return s.Unread(err)
		}
		if total += int64(len(b)); s.Limits.MaxBody > 0 && total > s.Limits.MaxBody {
			return reason.BodyTooLarge, nil
		}
		var trailers []byte
		if ended = s.Replay.Ended(s); ended {
			c.upload.bodyTaken()
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

// waitOn lets the wait for the response's header continue. Until the body is sent, the backend may
// be silent for as long as that takes.
func (u *upload) waitOn(c *Call) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.watched = true
	until := time.Time{}
	if u.finished {
		until = u.endedAt.Add(c.wait)
	}
	c.to.Bound(until)
}

// headerCame notes that the header of the final response has come.
func (c *Call) headerCame() {
	u := &c.upload
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.header = true; u.finished {
		c.Waited = time.Since(u.endedAt)
	}
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

// failure returns why the body could not be sent, as far as is known.
func (u *upload) failure() (reason.Code, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.result, u.cause
}

// bodyTaken records that the whole body was read from the client. It is called before the last
// part is sent, because the response may come right after that.
func (u *upload) bodyTaken() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.taken = true
}

// complete reports whether the whole body has been read from the client.
func (u *upload) complete() bool {
	if !u.started { // as for nearly all requests, which then take no lock
		return true
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.taken
}

// stopUpload ends an upload that still runs. Whatever the client has not sent yet is read by another
// attempt, or at the end of the exchange.
func (c *Call) stopUpload() {
	u := &c.upload
	if !u.started {
		return
	}
	u.mu.Lock()
	finished := u.finished
	u.mu.Unlock()
	if !finished {
		c.stream.StopBody()
		c.to.StopSending()
	}
	<-u.done
	if !finished {
		c.stream.ResumeBody()
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
}
