package http1

import (
	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/wire"
)

// activity is what a server and its streams share. It is safe for concurrent use.
type activity struct {
	ends.Activity
	departures wire.Departures
}
