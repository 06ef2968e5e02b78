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
	x.tries.backend, x.tries.trial = b, !b.TakesRequests()
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

// roundTrip makes one call, up to the head of the final response. It returns reason.BackendOut
// where the request goes to another backend.
func (x *exchange) roundTrip(conn *upstream.Conn) reason.Code {
	c := &x.call
	c.Begin(x.stream, &conn.Conn, conn.Reused(), x.pool.Timeouts().ResponseHeader)
	if why := c.Send(x.appendRequestHeader(x.stream.Buffer()), x.idempotent()); why != reason.None {
		return why
	}
	if !c.Uploads() && !x.tries.awaits {
		x.tries.awaits, x.tries.client = true, x.caller.network()
		x.tries.backend.Await(x.tries.client)
	}
	if !x.tries.trial && x.tries.backend.IsOut() {
		conn.Recall() // it went out since it was picked, perhaps before there was a wait to interrupt
	}
	for {
		why := c.ReadHead()
		switch {
		case why == reason.BackendOut && !x.mayRetry(why):
			c.WaitOn() // no other backend will do
		case why != reason.None || !c.Interim():
			return why
		default:
			if why := x.forwardInterim(); why != reason.None {
				return why
			}
		}
	}
}

// appendRequestHeader appends the request's header as the backend gets it.
func (x *exchange) appendRequestHeader(dst []byte) []byte {
	r := &x.stream.Request
	from := message.Sender{Peer: x.stream.Peer(), Client: x.caller.addr, Trusted: x.caller.trusted, ID: x.id.bytes()}
	return r.AppendHeader(dst, &from, x.tries.backend.HostField(), &x.settings.via)
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
	b := x.tries.backend
	b.End(x.tries.awaits, x.tries.client)
	x.pool.Count(b, &upstream.Result{
		Status: x.call.Response.Status, Reason: why, Waited: x.call.Waited,
		Client: x.caller.network(), Began: x.stream.Started,
	})
}
