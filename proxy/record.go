package proxy

import (
	"net/netip"
	"time"

	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/reason"
)

// record counts the exchange and writes its access log line.
func (r *road) record(x *exchange) {
	s, shadowed := x.stream, x.admission.shadowed()
	code := statusOf(s.Exchange, x.reason)
	m := r.noPool
	if x.pool != nil {
		m = x.pool.Requests()
	}
	m.Count(code, s.Finished.Sub(s.Started))
	if x.reason != reason.None {
		r.count(x.reason)
	}
	if shadowed != reason.None {
		r.shadowLimited.Add(1)
	}
	if of := x.settings.access; of.which.holds(code, x.reason, shadowed, x.tries.tried.Len() > 1) {
		r.access.request(entry{
			stream: s, query: of.query, client: x.admission.client, addr: x.caller.addr, id: x.id.bytes(),
			pool: x.pool, tries: &x.tries, waited: x.call.Waited, code: code, reason: x.reason, shadowed: shadowed,
		})
	}
}

// recordAPI counts a call of the API and writes its access log line. API calls have their own
// counter of statuses: they are not traffic.
func (r *road) recordAPI(s ends.Stream, settings *settings, client netip.Addr, id *requestID, why reason.Code) {
	code := statusOf(s.Exchange, why)
	settings.api.Count(code)
	if why != reason.None {
		r.count(why)
	}
	if of := settings.access; of.which.holds(code, why, reason.None, false) {
		r.access.request(entry{stream: s, query: of.query, addr: client, id: id.bytes(), code: code, reason: why})
	}
}

// turnedAway records a connection beyond server.max_connections.
func (r *road) turnedAway(which Access, peer netip.Addr, took time.Duration, sent int) {
	r.noPool.CountUnread(reason.Overloaded.Status())
	r.count(reason.Overloaded)
	if code := reason.Overloaded.Status(); which.holds(code, reason.Overloaded, reason.None, false) {
		r.access.turnedAway(code, peer, took, sent)
	}
}

// statusOf returns the status that was sent or, if none was, the one that stands for the reason.
func statusOf(x *ends.Exchange, why reason.Code) int {
	if x.Status != 0 {
		return x.Status
	}
	return why.Status()
}

// count adds one to lb_errors_total.
func (r *road) count(why reason.Code) {
	r.errors[why.CountedAs()].Add(1)
}
