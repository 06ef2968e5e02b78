package proxy

import (
	"fmt"
	"runtime/debug"
	"time"

	"github.com/valyala/fasthttp"

	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/wire"
)

// handle takes a request through all steps.
func (p *Proxy) handle(ctx *fasthttp.RequestCtx) {
	p.inFlight.Add(1)
	defer p.inFlight.Add(-1)
	x := beginExchange(ctx)
	defer p.end(x)
	why := p.guard(x)
	switch {
	case why != reason.None:
	case p.isAPI(x):
		why = p.serveAPI(x)
	default:
		why = p.serve(x)
	}
	if why != reason.None {
		p.reject(x, why)
	}
}

// serve forwards a request that passed the guard to a backend, and the response to the client. It
// returns reason.None once a response has been sent.
func (p *Proxy) serve(x *exchange) reason.Code {
	p.identify(x)
	if why := p.admit(x); why != reason.None {
		return why
	}
	if why := p.route(x); why != reason.None {
		return why
	}
	for last := reason.None; ; {
		if why := p.pick(x); why != reason.None {
			return firstOf(last, why) // no other backend is left: report the failure at the last one
		}
		why := p.attempt(x)
		if why == reason.None || !p.retry(x, why) {
			return why
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
func (p *Proxy) end(x *exchange) {
	if fault := recover(); fault != nil {
		p.logFault(fault)
		x.viaAPI = false
		p.reject(x, reason.InternalError)
	}
	x.leave()
	x.client.answered = !x.viaAPI
	if !x.ends() && !x.request.body.ended {
		x.finished = time.Now() // reading the rest of the body may take long, and is not part of the answer
		x.client.ending.RaiseIf(x.discardBody() != reason.None, wire.Close)
	}
	if x.viaAPI { // fasthttp writes the answer; discarding the body has left no deadline
		x.client.ExpectWrite(time.Now(), p.bodyTimeout)
	}
	x.client.ending.RaiseIf(p.draining.Load(), wire.Close)
	if x.ends() && !(x.request.body.ended && x.client.Quiet()) {
		x.client.ending.Raise(wire.Linger) // the client may still be sending, or has sent more than will be read
	}
	x.client.in.settle()
	if x.ends() {
		x.ctx.SetConnectionClose()
	}
	p.record(x)
	endExchange(x)
}

// logFault logs a panic with its stack.
func (p *Proxy) logFault(fault any) {
	p.log.Error().Str("fault", fmt.Sprint(fault)).Bytes("stack", debug.Stack()).
		Msg("a bug in the load balancer made a request fail and its connection is cut; please report this")
}
