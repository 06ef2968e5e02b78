package proxy

import (
	"sync"
	"time"
)

// upload is a request body on its way to the backend in a goroutine of its own.
// The goroutine owns the reading side of the client's connection and the writing
// side of the backend's; stopUpload waits for its end.
type upload struct {
	started bool
	done    chan struct{} // gets one value when the goroutine has ended

	mu       sync.Mutex
	header   bool   // the response's header has come: its deadline is no longer ours to set
	taken    bool   // the whole body has been read from the client
	finished bool   // result counts
	result   reason // none: the whole body was sent
}

// startUpload sends the rest of the body while the caller waits for the response.
func (p *Proxy) startUpload(x *exchange, c *backendConn) reason {
	if why := x.proceed(); why != none { // not in the goroutine: it must stand before the response
		return why
	}
	u := &x.upload
	u.started = true
	// Until the body is sent, the backend may be silent for as long as it takes.
	_ = c.SetReadDeadline(time.Time{})
	go func() {
		why := p.sendBodyGuarded(x, c)
		u.mu.Lock()
		u.finished, u.result = true, why // before the deadline wakes who asks for it
		switch {
		case why != none && why != backendReset:
			c.stop() // there will be no response to this, or no more of one
		case !u.header:
			_ = c.Conn.SetReadDeadline(time.Now().Add(x.pool.responseHeader))
		}
		u.mu.Unlock()
		u.done <- struct{}{}
	}()
	return none
}

// sendBodyGuarded keeps a fault of ours in this goroutine from ending the process.
func (p *Proxy) sendBodyGuarded(x *exchange, c *backendConn) (why reason) {
	defer func() {
		if fault := recover(); fault != nil {
			p.logFault(fault)
			why = internalError
		}
	}()
	return p.sendBody(x, c)
}

// sendBody copies the body from the client to the backend.
func (p *Proxy) sendBody(x *exchange, c *backendConn) reason {
	in := &x.request.body
	scratch := streamBuffers.Get().(*[streamBufferSize]byte)
	defer streamBuffers.Put(scratch)
	for total := int64(0); !in.ended; {
		b, err := in.next(scratch[: 0 : streamBufferSize-chunkOverhead])
		if err != nil {
			return bodyReason(err)
		}
		if total += int64(len(b)); p.maxBody > 0 && total > p.maxBody {
			return bodyTooLarge
		}
		if in.framing == chunked {
			b = scratch[:len(b)]
			if len(b) > 0 {
				b = appendChunk(b, 0)
			}
			if in.ended {
				b = append(b, lastChunk...)
			}
		}
		if in.ended {
			x.upload.bodyTaken()
		}
		if _, err := c.deliver(time.Now(), b, p.bodyTimeout); err != nil {
			if timedOut(err) {
				return responseTimeout // it does not read on
			}
			return backendReset // it may have answered early: the response tells
		}
	}
	return none
}

// headerCame hands the reading deadline of the backend's connection back to the
// goroutine that reads the response.
func (u *upload) headerCame(c *backendConn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.header = true
	c.readBy = time.Time{}
}

// failure returns why the body could not be sent, as far as that is known already.
func (u *upload) failure() reason {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.result
}

// bodyTaken tells that the client's connection stands where the next request
// begins. It comes before the last write: the response may be here as soon as that.
func (u *upload) bodyTaken() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.taken = true
}

// complete reports whether the whole body has been read from the client, so that
// its connection can serve on.
func (u *upload) complete() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return !u.started || u.taken
}

// stopUpload ends an upload that still runs, and reports whether the whole body
// had been sent. If not, the backend's connection cannot be used again, nor the
// client's where the body still comes.
func (x *exchange) stopUpload(c *backendConn) bool {
	u := &x.upload
	if !u.started {
		return true
	}
	u.mu.Lock()
	finished := u.finished
	u.mu.Unlock()
	if !finished {
		x.client.stop()
		c.stop()
	}
	<-u.done
	if !finished {
		x.client.resume()
		c.resume()
	}
	if u.result != none && !u.taken {
		x.cut, x.client.linger = true, true
	}
	return u.result == none
}
