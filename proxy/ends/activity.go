package ends

import (
	"fmt"
	"runtime/debug"
	"sync/atomic"

	"github.com/rs/zerolog"
)

// Activity is what a server and its streams share: what is under way, and whether it has to end. It
// is safe for concurrent use.
type Activity struct {
	InFlight atomic.Int64 // requests
	Tunnels  atomic.Int64 // requests in flight that have become a tunnel
	Draining atomic.Bool  // from now on every response ends its connection
	Cutting  atomic.Bool  // the shutdown timeout is over and the remaining requests are being cut
	Buffers  Budget       // of bodies that are read before or ahead of their use
	Log      zerolog.Logger
}

// UnderWay returns the number of requests in flight, without tunnels, and the number of tunnels.
func (a *Activity) UnderWay() (requests, tunnels int64) {
	tunnels = a.Tunnels.Load()
	return max(0, a.InFlight.Load()-tunnels), tunnels // one may have ended in between
}

// LogFault logs a panic with its stack. It must be called while the deferred function runs that has
// recovered from it.
func (a *Activity) LogFault(fault any) {
	a.Log.Error().Str("fault", fmt.Sprint(fault)).Bytes("stack", debug.Stack()).
		Msg("a bug in the load balancer made a request fail and its connection is cut; please report this")
}
