package http1

import (
	"fmt"
	"runtime/debug"
	"sync/atomic"

	"github.com/rs/zerolog"

	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/wire"
)

// activity is what a server and its streams share: what is under way, and whether it has to end. It
// is safe for concurrent use.
type activity struct {
	inFlight   atomic.Int64 // requests
	tunnels    atomic.Int64 // requests in flight that have become a tunnel
	draining   atomic.Bool  // from now on every response ends its connection
	cutting    atomic.Bool  // the shutdown timeout is over and the remaining requests are being cut
	departures wire.Departures
	buffers    budget // of bodies that are read before or ahead of their use
	log        zerolog.Logger
}

// underWay returns the number of requests in flight, without tunnels, and the number of tunnels.
func (a *activity) underWay() (requests, tunnels int64) {
	tunnels = a.tunnels.Load()
	return max(0, a.inFlight.Load()-tunnels), tunnels // one may have ended in between
}

// rescue turns a panic into InternalError, and logs it.
func (a *activity) rescue(why *reason.Code) {
	if fault := recover(); fault != nil {
		a.logFault(fault)
		*why = reason.InternalError
	}
}

// logFault logs a panic with its stack. It must be called while the deferred function runs that has
// recovered from it.
func (a *activity) logFault(fault any) {
	a.log.Error().Str("fault", fmt.Sprint(fault)).Bytes("stack", debug.Stack()).
		Msg("a bug in the load balancer made a request fail and its connection is cut; please report this")
}
