package proxy

import (
	"sync"

	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/routes"
	"loadbalancer/proxy/upstream"
)

// exchange is one request and its response on their way through the steps. Each part is written by
// one step. The goroutine that serves the request owns it; afterwards it is reused.
type exchange struct {
	settings  *settings      // those in force when it began
	stream    ends.Stream    // the client's end
	caller    caller         // identify
	id        requestID      // identify
	admission admission      // admit
	match     routes.Match   // route
	pool      *upstream.Pool // route
	sticky    sticky         // pick
	queued    queued         // wait
	tries     tries          // pick, attempt
	call      call           // attempt
	reason    reason.Code    // reject: why no backend's response was sent in full
}

var exchanges = sync.Pool{New: func() any {
	x := new(exchange)
	x.call.init()
	return x
}}

// beginExchange returns an exchange for a request.
func beginExchange(s ends.Stream, settings *settings) *exchange {
	x := exchanges.Get().(*exchange)
	x.settings, x.stream = settings, s
	x.caller.addr = s.Peer() // until identify finds a better one
	return x
}

// endExchange clears the exchange of everything that points into the request and puts it back into
// the pool. The buffers of the call are kept.
func endExchange(x *exchange) {
	x.call.reset()
	x.match.Reset()
	x.settings, x.stream, x.pool = nil, ends.Stream{}, nil
	x.caller, x.id, x.admission = caller{}, requestID{}, admission{}
	x.sticky, x.queued, x.tries, x.reason = sticky{}, queued{}, tries{}, reason.None
	exchanges.Put(x)
}
