package proxy

import (
	"sync/atomic"

	"github.com/rs/zerolog"

	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/upstream"
)

// road is what all requests share on their way: where they are recorded.
type road struct {
	log           zerolog.Logger
	access        accessLog
	noPool        *upstream.Requests // requests that reached no pool
	errors        [reason.Count]atomic.Uint64
	shadowLimited atomic.Uint64
}

// handle takes a request through all steps.
func (p *Proxy) handle(s ends.Stream) {
	settings := p.settings.Load()
	why := s.Guard(&settings.limits)
	// max_body_size is for what is forwarded.
	if (why == reason.None || why == reason.BodyTooLarge) && settings.api.isCall(&s.Request) {
		p.road.serveAPI(s, settings)
		return
	}
	x := beginExchange(s, settings)
	defer p.road.end(x)
	if why == reason.None {
		why = p.road.serve(x)
	}
	if why != reason.None {
		x.reject(why)
	}
}

// serve forwards a request that passed the guard to a backend, and the response to the client. It
// returns reason.None once a response has been sent.
func (r *road) serve(x *exchange) reason.Code {
	request := &x.stream.Request
	x.caller = x.settings.trust.identify(x.stream.Peer(), &request.Forwarded)
	if x.caller.trusted {
		x.id.given = request.Forwarded.ID
	}
	if why, ok := answerChallenge(x); ok {
		return why
	}
	if l := x.settings.limiter; l != nil {
		if why := x.admission.admit(l, x.settings, &x.caller, request, x.stream.Started); why != reason.None {
			return why
		}
	}
	if why := x.route(); why != reason.None {
		return why
	}
	bePatient(x.stream, x.pool)
	for last := reason.None; ; {
		why := x.pick()
		picked := why == reason.None
		if picked {
			why = x.attempt() // up to the head of the final response
		}
		switch {
		case why == reason.None:
			return x.respond()
		case why == reason.BackendOut, why == reason.StatusRefused: // the attempt has asked
		case x.mayWait(why):
			if why := x.queued.wait(x.pool, x.stream, x.caller.network()); why != reason.None {
				return why
			}
			x.tries.forget() // waiting is no attempt
		case why == reason.ClientGone:
			return why
		case !picked:
			return firstOf(last, why) // no other backend is left: report the failure at the last one
		case !x.mayRetry(why):
			return x.tries.outcome(why)
		}
		last = why
	}
}

// firstOf returns a, or b if a is reason.None.
func firstOf(a, b reason.Code) reason.Code {
	if a != reason.None {
		return a
	}
	return b
}

// end records the exchange, whatever happened in it, and releases it.
func (r *road) end(x *exchange) {
	if fault := recover(); fault != nil {
		x.stream.LogFault(fault)
		x.endAttempt(reason.InternalError)
		x.reject(reason.InternalError)
	}
	x.admission.leave()
	x.stream.End()
	r.record(x)
	endExchange(x)
}

// serveAPI answers a call of the API, and records it.
func (r *road) serveAPI(s ends.Stream, settings *settings) {
	var id requestID
	s.Cause = nil // the length of the body
	o := settings.api.serve(s, settings.trust, &id)
	if o.why != reason.None && !o.answered {
		o.why = refuse(s, o.why, &admission{}, &id)
	}
	s.End()
	r.recordAPI(s, settings, o.client, &id, o.why)
}
