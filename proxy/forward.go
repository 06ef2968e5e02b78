package proxy

import (
	"errors"
	"runtime"
	"time"
)

// attempt sends the request to the backend picked and its response to the client.
// A reused connection that ends before the first byte of a response is the normal
// race of keep-alive, not a failure of the backend: the attempt goes on with another
// connection, if the request may be sent again.
func (p *Proxy) attempt(x *exchange) reason {
	// A slow client must not hold a connection. One that waits for 100 Continue sends
	// nothing before there is one.
	if x.request.body.small() && !x.request.expect {
		if why := x.readSmallBody(); why != none {
			return why
		}
	}
	b := x.backend
	b.inFlight.Add(1)
	defer b.inFlight.Add(-1)
	for redials := 0; ; redials++ {
		c, why := b.connect()
		if why != none {
			x.unsent = true
			if why != overloaded { // else it was not asked
				b.count(0, why)
			}
			return why
		}
		why = p.roundTrip(x, c)
		if why != backendReset || !x.reused || redials == maxRedials || !x.repeatable() {
			b.count(x.response.status, why)
			return why
		}
		// Those below it in the pool are older still.
		b.idle.CloseIdleConnections()
	}
}

// maxRedials bounds how often one attempt goes on with another connection. Under
// load that can be a reused one again; a request at which the backend dies must
// not go through all of them.
const maxRedials = 2

// roundTrip does one exchange on a connection and gives it back.
func (p *Proxy) roundTrip(x *exchange, c *backendConn) reason {
	x.reused = c.reused
	x.response = response{in: inbound{conn: &c.timedConn, buf: x.response.in.buf}}
	defer x.release(c)
	if why := p.send(x, c); why != none {
		return why
	}
	if err := x.response.readHeader(x.request.head, p.bodyTimeout); err != nil {
		x.response.status = 0
		return x.headerReason(err)
	}
	if x.upload.started {
		x.upload.headerCame(c)
	}
	return p.respond(x)
}

// release stops what still runs and gives the connection back to the pool, or
// closes it.
func (x *exchange) release(c *backendConn) {
	uploaded := x.stopUpload(c)
	x.response.in.conn = nil
	if uploaded && x.response.reusable() {
		c.reused = true
		c.release()
		return
	}
	c.discard()
}

// send writes the request: its header, and with it the body where that is small.
// A larger one, and one of unknown length, is sent by a goroutine while we wait
// for the response, which may start before the body ends.
func (p *Proxy) send(x *exchange, c *backendConn) reason {
	r := &x.request
	now := x.started
	x.out = p.appendRequestHeader(x.out[:0], x)
	small := r.body.small()
	if small {
		waited := x.request.expect
		if why := x.readSmallBody(); why != none {
			return why
		}
		if waited && c.reused && !c.quiet() { // it has ended while the body came
			x.unsent = true
			return backendReset
		}
		x.out = append(x.out, x.small...)
	}
	if small || !c.reused || x.again {
		now = time.Now() // time has passed
	}
	c.expectWrite(now, p.bodyTimeout)
	x.again = true
	n, err := c.Write(x.out)
	if x.unsent = n == 0; err != nil {
		return backendReset
	}
	if r.body.framing != noBody && !small {
		return p.startUpload(x, c)
	}
	c.expectRead(now, x.pool.responseHeader)
	// Under load others are ready to run. After them the response is likely to be here,
	// and the read need not be tried twice: 3 % of the CPU time of a small request.
	runtime.Gosched()
	return none
}

// headerReason tells what it means that the response's header did not come.
func (x *exchange) headerReason(err error) reason {
	if x.upload.started {
		if why := x.upload.failure(); why != none {
			return why // the request ended early, and so did the wait
		}
	}
	switch {
	case errors.Is(err, errResponseHeader), errors.Is(err, errResponseSize):
		return badResponse
	case timedOut(err):
		return responseTimeout
	case x.response.in.any:
		return badResponse // it ended within the header
	}
	return backendReset
}
