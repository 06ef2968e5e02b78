package proxy

import (
	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/upstream"
)

// pick chooses the backend of the next attempt by the pool's policy, among those that this request
// has not tried.
func (x *exchange) pick() reason.Code {
	b := x.pool.Pick(x.caller.key, x.stream.Started, &x.tries.tried)
	if b == nil {
		return reason.NoBackend
	}
	x.tries.backend = b
	return reason.None
}

// attempt sends the request to the picked backend, and reads up to the head of the final response.
// If it returns reason.None, the attempt lasts until the response has been sent; otherwise it has
// ended. A reused connection that ends before the first byte of a response has lost the keep-alive
// race, which is no failure of the backend: the attempt goes on with a new connection, if the
// request may be sent again.
func (x *exchange) attempt() reason.Code {
	if why := x.stream.Prefetch(); why != reason.None {
		return why
	}
	b := x.tries.backend
	b.Begin()
	x.tries.begin(x.stream)
	cause := x.stream.Cause
	for fresh := false; ; fresh = true {
		conn, err := b.Connect(fresh)
		if err != nil {
			why := upstream.ConnectReason(err)
			x.call.BytesSent, x.stream.Cause = 0, err
			x.endAttempt(why)
			return why
		}
		x.tries.conn = conn
		why := x.roundTrip(conn)
		if why == reason.None {
			x.tries.respond()
			return reason.None
		}
		x.release()
		if !x.call.LostRace(why) || !x.repeatable() {
			x.endAttempt(why)
			return why
		}
		b.CloseIdle()          // the other idle connections are older still
		x.stream.Cause = cause // this was no failure
	}
}

// roundTrip makes one call, up to the head of the final response.
func (x *exchange) roundTrip(conn *upstream.Conn) reason.Code {
	c := &x.call
	c.Begin(x.stream, &conn.Conn, conn.Reused(), x.pool.Timeouts().ResponseHeader)
	if why := c.Send(x.appendRequestHeader(x.stream.Buffer()), x.idempotent()); why != reason.None {
		return why
	}
	for {
		if why := c.ReadHead(); why != reason.None || !c.Interim() {
			return why
		}
		if why := x.forwardInterim(); why != reason.None {
			return why
		}
	}
}

// appendRequestHeader appends the request's header as the backend gets it.
func (x *exchange) appendRequestHeader(dst []byte) []byte {
	r := &x.stream.Request
	from := message.Sender{Peer: x.stream.Peer(), Client: x.caller.addr, Trusted: x.caller.trusted, ID: x.id.bytes()}
	b := x.tries.backend
	changes := message.Changes{Path: x.match.Path(), Host: x.pool.Host(b), Fields: x.match.Route.Request}
	return r.AppendHeader(dst, &from, &changes, b.HostField(), &x.settings.via)
}

// release ends the call, and returns its connection to the pool or closes it. A second call does
// nothing.
func (x *exchange) release() {
	conn := x.tries.conn
	if conn == nil {
		return
	}
	x.tries.conn = nil
	if x.call.End() {
		conn.Release()
	} else {
		conn.Discard()
	}
}

// endAttempt ends the attempt under way, and counts it by the status that the backend sent or, if
// it sent none, by that of the failure. A second call does nothing.
func (x *exchange) endAttempt(why reason.Code) {
	x.release()
	if !x.tries.open {
		return
	}
	x.tries.end(x.call.Response.Status, why)
	x.tries.backend.Count(x.call.Response.Status, why, x.call.Waited)
	x.tries.backend.End()
}
