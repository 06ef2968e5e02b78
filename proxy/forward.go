package proxy

import (
	"errors"
	"runtime"
	"time"

	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/upstream"
	"loadbalancer/proxy/wire"
)

// pick chooses the backend of the next attempt.
func (p *Proxy) pick(x *exchange) reason.Code {
	b := x.pool.Pick(x.key, x.started, &x.tried)
	if b == nil {
		return reason.NoBackend
	}
	x.backend = b
	return reason.None
}

// attempt sends the request to the picked backend and the response to the client. A reused
// connection that ends before the first byte of a response has lost the keep-alive race, which is
// no failure of the backend: the attempt goes on with a new connection, if the request may be sent
// again.
func (p *Proxy) attempt(x *exchange) reason.Code {
	// Read a small body first: a slow client must not hold a backend connection. A client that
	// waits for 100 Continue sends nothing until it gets one.
	if x.request.body.small() && !x.request.Expect {
		if why := x.readSmallBody(); why != reason.None {
			return why
		}
	}
	b := x.backend
	b.Begin()
	defer b.End()
	for again := false; ; again = true {
		c, why := b.Connect(again)
		if why != reason.None {
			x.unsent = true
			if why != reason.Overloaded { // otherwise the backend was not asked
				b.Count(0, why)
			}
			return why
		}
		why = p.roundTrip(x, c)
		if why != reason.BackendReset || !x.reused || !x.repeatable() {
			b.Count(x.response.Status, why)
			return why
		}
		// The other idle connections are older still.
		b.CloseIdle()
	}
}

// roundTrip makes one exchange on a connection and then releases it.
func (p *Proxy) roundTrip(x *exchange, c *upstream.Conn) reason.Code {
	x.reused = c.Reused()
	x.watch.Begin(&p.departures, &x.client.Conn, &c.Conn)
	x.response = response{in: inbound{conn: &c.Conn, watch: &x.watch, buf: x.response.in.buf}}
	x.conn = c
	defer x.release()
	if why := p.send(x, c); why != reason.None {
		return why
	}
	if why := p.awaitResponse(x, c); why != reason.None {
		return why
	}
	if x.upload.started {
		x.upload.headerCame(c)
	}
	if x.response.Status == message.SwitchingProtocols {
		return p.tunnel(x, c)
	}
	return p.respond(x)
}

// maxInterim is the most interim responses to one request.
const maxInterim = 64

// awaitResponse reads up to the end of the final response's header.
func (p *Proxy) awaitResponse(x *exchange, c *upstream.Conn) reason.Code {
	r := &x.response
	for interim := 0; ; {
		err := r.readHeader(x.request.Head, p.bodyTimeout)
		switch {
		case err == nil && r.Status == message.SwitchingProtocols:
			if !x.request.Allows(r.Upgrade) {
				r.Status = 0
				return reason.BadResponse
			}
			return reason.None
		case err == nil && r.Status >= 200:
			return reason.None
		case err == nil:
			if interim++; interim > maxInterim {
				r.Status = 0
				return reason.BadResponse
			}
			if why := p.respondInterim(x); why != reason.None {
				return why
			}
		case wire.TimedOut(err) && x.waitOn(c):
		default:
			r.Status = 0
			return x.headerReason(err)
		}
	}
}

// waitOn is called when the wait for a response's header has timed out, and reports whether to go
// on. The first timeout only starts the watch on the client: from then on the wait may last as long
// as the pool allows.
func (x *exchange) waitOn(c *upstream.Conn) bool {
	if !x.watch.Start() {
		return false
	}
	if x.upload.started {
		x.upload.waitOn(c, x.pool.Timeouts().ResponseHeader)
	} else {
		_ = c.SetReadDeadline(x.sentAt.Add(x.pool.Timeouts().ResponseHeader))
	}
	c.KeepStopped()
	return true
}

// release stops the upload and the watch, and returns the connection to the pool or closes it. A
// second call does nothing.
func (x *exchange) release() {
	c := x.conn
	if c == nil {
		return
	}
	x.conn = nil
	uploaded := x.stopUpload(c)
	x.watch.Stop()
	x.response.in.conn, x.response.in.watch = nil, nil
	if uploaded && x.response.reusable() && !x.watch.Gone.Load() {
		c.Release()
		return
	}
	c.Discard()
}

// send writes the request. A small body goes out together with the header. A larger body, or one of
// unknown length, is sent by a goroutine while the caller waits for the response, which may start
// before the body ends.
func (p *Proxy) send(x *exchange, c *upstream.Conn) reason.Code {
	r := &x.request
	now := x.started
	x.out = p.appendRequestHeader(x.out[:0], x)
	small := r.body.small()
	if small {
		waited := x.request.Expect
		if why := x.readSmallBody(); why != reason.None {
			return why
		}
		if waited && c.Reused() && !c.Quiet() { // it ended while the body came
			x.unsent = true
			return reason.BackendReset
		}
		x.out = append(x.out, x.small...)
	}
	if small || !c.Reused() || x.again {
		now = time.Now() // time has passed
	}
	c.ExpectWrite(now, p.bodyTimeout)
	x.again = true
	n, err := c.Write(x.out)
	if x.unsent = n == 0; err != nil {
		return reason.BackendReset
	}
	if r.body.framing != message.NoBody && !small {
		return p.startUpload(x, c)
	}
	x.sentAt = now
	c.ExpectRead(now, min(x.pool.Timeouts().ResponseHeader, wire.WatchAfter))
	// Under load other goroutines are ready to run. By the time they have run, the response is
	// likely to be here, and the read succeeds at once: this saves 3 % of the CPU time of a small
	// request.
	runtime.Gosched()
	return reason.None
}

// headerReason returns the reason why the response's header did not come.
func (x *exchange) headerReason(err error) reason.Code {
	if x.watch.Gone.Load() {
		return reason.ClientGone
	}
	if x.upload.started {
		if why := x.upload.failure(); why != reason.None {
			return why // the request was cut short, and the wait with it
		}
	}
	switch {
	case errors.Is(err, errResponseHeader), errors.Is(err, errResponseSize):
		return reason.BadResponse
	case wire.TimedOut(err):
		return reason.ResponseTimeout
	case x.response.in.any:
		return reason.BadResponse // it ended within the header
	}
	return reason.BackendReset
}
