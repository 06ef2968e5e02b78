package proxy

import (
	"sync"
	"time"

	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/upstream"
	"loadbalancer/proxy/wire"
)

// upload sends a request body to the backend in its own goroutine. The goroutine owns the reading
// side of the client's connection and the writing side of the backend's; stopUpload waits for its
// end. Another attempt begins with what was kept of the body, and continues where the previous one
// stopped reading.
type upload struct {
	started bool          // in this attempt
	done    chan struct{} // gets one value when the goroutine has ended
	kept    keptBody      // owned by the goroutine while it runs

	mu       sync.Mutex
	header   bool // the response's header has come: its deadline is set elsewhere
	watched  bool // the client is watched: so is the longer wait for the header
	taken    bool // the whole body has been read from the client, in this attempt or before
	finished bool // result and endedAt are valid
	endedAt  time.Time
	result   reason.Code // none: the whole body was sent
}

// startUpload starts to send the body while the caller waits for the response.
func (p *Proxy) startUpload(x *exchange, c *upstream.Conn) reason.Code {
	if why := x.proceed(); why != reason.None { // not in the goroutine: 100 Continue must precede the response
		return why
	}
	u := &x.upload
	u.started, u.header, u.watched, u.finished, u.result = true, false, false, false, reason.None
	if u.kept.rewind(); !x.idempotent() {
		u.kept.lose()
	}
	_ = c.SetReadDeadline(time.Now().Add(wire.WatchAfter)) // see waitOn
	go func() {
		why := p.sendBodyGuarded(x, c)
		u.mu.Lock()
		u.finished, u.result = true, why // before the deadline wakes the reader of the response, which asks for it
		switch {
		case u.header && (why == reason.ResponseTimeout || why == reason.RequestTimeout):
			// A backend that has answered need not read on, nor its client send more.
		case why != reason.None && why != reason.BackendReset:
			c.Stop() // there will be no response, or no more of one
		case !u.header:
			u.endedAt = time.Now()
			wait := x.pool.Timeouts().ResponseHeader
			if !u.watched {
				wait = min(wait, wire.WatchAfter)
			}
			c.BoundRead(u.endedAt.Add(wait))
		}
		if u.header {
			u.kept.lose() // the request will not be sent again
		}
		u.mu.Unlock()
		u.done <- struct{}{}
	}()
	return reason.None
}

// sendBodyGuarded is sendBody, but turns a panic into an error, which in this goroutine would end
// the process.
func (p *Proxy) sendBodyGuarded(x *exchange, c *upstream.Conn) (why reason.Code) {
	defer func() {
		if fault := recover(); fault != nil {
			p.logFault(fault)
			why = reason.InternalError
		}
	}()
	return p.sendBody(x, c)
}

// sendBody copies the body from the client to the backend.
func (p *Proxy) sendBody(x *exchange, c *upstream.Conn) reason.Code {
	in, kept := &x.request.body, &x.upload.kept
	scratch := streamBuffers.Get().(*[streamBufferSize]byte)
	defer streamBuffers.Put(scratch)
	for total, ended := int64(0), false; !ended; {
		b, err := kept.next(in, scratch[:0:streamBufferSize-chunkOverhead])
		if err != nil {
			return bodyReason(err)
		}
		if total += int64(len(b)); p.maxBody > 0 && total > p.maxBody {
			return reason.BodyTooLarge
		}
		ended = kept.ended(in)
		if in.framing == message.Chunked {
			b = scratch[:len(b)]
			if len(b) > 0 {
				b = appendChunk(b, 0)
			}
			if ended {
				b = x.request.AppendTrailers(b, &in.trailers)
			}
		}
		if ended {
			x.upload.bodyTaken()
		}
		if _, err := c.Deliver(time.Now(), b, p.bodyTimeout); err != nil {
			if wire.TimedOut(err) {
				return reason.ResponseTimeout // it has stopped reading
			}
			return reason.BackendReset // it may have answered early: the response tells
		}
	}
	return reason.None
}

// waitOn lets the wait for the response's header continue. Until the body is sent, the backend may
// be silent for as long as that takes.
func (u *upload) waitOn(c *upstream.Conn, responseHeader time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.watched = true
	until := time.Time{}
	if u.finished {
		until = u.endedAt.Add(responseHeader)
	}
	c.BoundRead(until)
}

// headerCame returns control of the read deadline to the goroutine that reads the response.
func (u *upload) headerCame(c *upstream.Conn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.header = true
	if u.finished {
		u.kept.lose() // the request will not be sent again
	}
	c.ForgetRead()
}

// failure returns why the body could not be sent, as far as is known.
func (u *upload) failure() reason.Code {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.result
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
	u.mu.Lock()
	defer u.mu.Unlock()
	return !u.started || u.taken
}

// stopUpload ends an upload that still runs, and reports whether the whole body was sent. If not,
// the backend's connection cannot be used again. Whatever the client has not sent yet is read by
// another attempt, or at the end of the exchange.
func (x *exchange) stopUpload(c *upstream.Conn) bool {
	u := &x.upload
	if !u.started {
		return true
	}
	u.mu.Lock()
	finished := u.finished
	u.mu.Unlock()
	if !finished {
		x.client.Stop()
		c.Stop()
	}
	<-u.done
	if !finished {
		x.client.Resume()
		c.Resume()
	}
	u.started = false
	switch u.result {
	case reason.None, reason.BackendReset:
	case reason.RequestTimeout, reason.ResponseTimeout:
		if finished { // otherwise stopUpload ended the wait
			u.kept.lose()
		}
	default: // the client's part has failed, or we have
		u.kept.lose()
	}
	return u.result == reason.None
}
