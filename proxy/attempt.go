package proxy

import (
	"errors"
	"time"

	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/upstream"
)

var errFull = errors.New("every backend has as many connections as its max_connections allows, or requests as its max_pending")

// pick chooses the backend of the next attempt, among those that this request has not tried: the
// one that the client is kept at, or else one by the pool's policy.
func (x *exchange) pick() reason.Code {
	b := x.tries.pickOwn(ownOf(x.stream.Exchange), x.pool, x.stream.Started)
	if b == nil && x.queued.mustWait(x.pool, &x.tries) {
		return reason.Overloaded
	}
	if b == nil {
		b = x.sticky.pick(x.pool, &x.stream.Request, x.stream.Started, &x.tries.tried)
	}
	x.sticky.kept = b
	if b == nil && x.pool.HasSuspect() && x.idempotent() {
		b = x.pool.PickSuspect(x.stream.Started, &x.tries.tried)
	}
	key := hashKey(x.pool.Hash(), &x.stream.Request, &x.caller)
	if b == nil {
		b = x.pool.Pick(key, x.stream.Started, &x.tries.tried)
	}
	if b == nil && x.pool.HasUntried(&x.tries.tried) {
		x.stream.Cause = errFull
		return reason.Overloaded
	}
	if b == nil && x.tries.again {
		var gone bool
		if b, gone = x.tries.pickAgain(x.pool, x.stream, key); gone {
			return reason.ClientGone
		}
	}
	if b == nil {
		return reason.NoBackend
	}
	x.tries.backend, x.tries.trial = b, !b.TakesRequests() && !x.pool.TakesRequests()
	return reason.None
}

// attempt sends the request to the picked backend, and reads up to the head of the final response.
// If it returns reason.None, the attempt lasts until the response has been sent; otherwise it has
// ended. A reused connection that ends before the first byte of a response has lost the keep-alive
// race, which is no failure of the backend: the attempt goes on with a new connection, if the
// request may be sent again.
func (x *exchange) attempt() reason.Code {
	if why := x.stream.Prefetch(requestBuffer(x.stream.Request.GRPC, x.pool)); why != reason.None {
		return why
	}
	// Counted as in flight, it looks whether its backend was taken out, such as while a slow client
	// sent the body: once a drained backend has no request in flight, none comes.
	for x.tries.backend.Begin(); x.tries.mustLeave(x.pool, x.sticky.kept); x.tries.backend.Begin() {
		x.tries.backend.End(false, 0)
		x.tries.tried.Undo()
		if why := x.pick(); why != reason.None {
			return why
		}
	}
	b := x.tries.backend
	if x.stream.Request.Upgrade != nil && b.SpeaksHTTP2() {
		b.End(false, 0)
		x.stream.Cause = errUpgrade
		return reason.BadResponse
	}
	x.tries.begin(x.stream.Exchange)
	cause := x.stream.Cause
	for fresh := false; ; fresh = true {
		conn, err := x.tries.connect(x.stream, fresh)
		if err != nil {
			why := upstream.ConnectReason(err)
			x.call.BytesSent, x.stream.Cause = 0, err
			x.endAttempt(why)
			return why
		}
		x.tries.conn = conn
		if x.queued.passed {
			x.pool.PassOn(b)
		}
		why := x.roundTrip(conn)
		if why == reason.None {
			x.tries.respond(x.pool)
			b.Answered(x.call.Response.Status, x.tries.began.Add(x.call.Waited), x.call.Waited)
			return x.judge()
		}
		x.release()
		if fresh || !x.call.LostRace(why) || !x.repeatable() {
			x.endAttempt(why)
			return why
		}
		b.CloseIdle()          // the other idle connections are older still
		x.stream.Cause = cause // this was no failure
	}
}

// errUpgrade is for a request that asks for another protocol than HTTP, such as a WebSocket. A
// connection of HTTP/2 serves others as well, so it cannot become that. The backend is not asked, and
// has not failed.
var errUpgrade = errors.New("the request has an Upgrade, which a backend of HTTP/2 cannot do: the pool needs one of HTTP/1")

// judge ends the attempt with reason.StatusRefused where its response has one of the pool's
// retry.statuses and the request may be repeated.
func (x *exchange) judge() reason.Code {
	if !x.mayRetryAnswered() {
		return reason.None
	}
	x.call.Skip()
	x.stream.Cause = errStatus
	x.endAttempt(reason.None)
	x.tries.tried.Last().Took = time.Since(x.tries.began)
	return reason.StatusRefused
}

var errStatus = errors.New("the backend answered with one of the pool's retry.statuses")

// roundTrip makes one call, up to the head of the final response. It returns reason.BackendOut
// where the request goes to another backend.
func (x *exchange) roundTrip(conn *upstream.Conn) reason.Code {
	c := &x.call
	c.begin(x.stream, conn, x.pool)
	streams := x.stream.Streams()
	if why := c.Send(x.appendRequestHeader(x.stream.Buffer()), x.idempotent()); why != reason.None {
		return why
	}
	if !streams && !x.tries.awaits {
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
		x.tries.giveBack(conn, x.stream, !x.caller.trusted && x.tries.serves(x.pool, x.sticky.kept), x.call.Response.KeepFor)
	} else {
		conn.Discard()
	}
	if x.pool.HasQueue() {
		x.pool.Freed(x.call.Response.Status != 0)
	}
}

// endAttempt ends the attempt under way, and counts it by the status that the backend sent or, if
// it sent none, by that of the failure. A second call does nothing.
func (x *exchange) endAttempt(why reason.Code) {
	x.release()
	if !x.tries.open {
		return
	}
	x.tries.end(x.pool, x.call.Response.Status, why)
	b := x.tries.backend
	b.Failed(why, x.tries.began, x.tries.tried.Last().Took)
	b.End(x.tries.awaits, x.tries.client)
	x.pool.Count(b, &upstream.Result{
		Status: x.call.Response.Status, Reason: why, Cause: x.stream.Cause, Waited: x.call.Waited,
		Client: x.caller.network(), Began: x.stream.Started,
	})
}
