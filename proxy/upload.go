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
	ended   bool        // its result has been received
	result  reason      // none: the whole body was sent
	done    chan reason // one result

	mu     sync.Mutex
	header bool // the response's header has come: its deadline is no longer ours to set
}

// startUpload sends the rest of the body while the caller waits for the response.
func (p *Proxy) startUpload(x *exchange, c *backendConn) reason {
	u := &x.upload
	u.started = true
	// Until the body is sent, the backend may be silent for as long as it takes.
	_ = c.SetReadDeadline(time.Time{})
	go func() {
		why := p.sendBodyGuarded(x, c)
		u.mu.Lock()
		switch {
		case why == none && !u.header:
			_ = c.Conn.SetReadDeadline(time.Now().Add(x.pool.responseHeader))
		case why != none && why != backendReset:
			_ = c.Conn.SetReadDeadline(longAgo) // there will be no response to this
		}
		u.mu.Unlock()
		u.done <- why
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
	if why := x.proceed(); why != none {
		return why
	}
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
		c.expectWrite(time.Now(), p.bodyTimeout)
		if _, err := c.Write(b); err != nil {
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

// failure returns the upload's result if it is there already.
func (u *upload) failure() reason {
	if u.ended {
		return u.result
	}
	select {
	case u.result = <-u.done:
		u.ended = true
		return u.result
	default:
		return none
	}
}

// complete reports whether the whole body has been sent.
func (u *upload) complete() bool {
	return !u.started || u.failure() == none && u.ended
}

// stopUpload ends an upload that still runs, and reports whether the whole body
// had been sent. If not, neither connection can be used again.
func (x *exchange) stopUpload(c *backendConn) bool {
	u := &x.upload
	if !u.started {
		return true
	}
	if u.failure(); !u.ended {
		_ = x.client.Conn.SetReadDeadline(longAgo)
		_ = c.Conn.SetWriteDeadline(longAgo)
		u.result = <-u.done
		u.ended = true
		x.client.readBy = time.Time{}
	}
	if u.result != none {
		x.cut, x.client.linger = true, true
	}
	return u.result == none
}
