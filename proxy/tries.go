package proxy

import "loadbalancer/proxy/upstream"

// tries are the attempts of an exchange: the backends that were tried, and the attempt under way.
type tries struct {
	tried   upstream.Tried
	backend *upstream.Backend // of the last attempt
	conn    *upstream.Conn    // of the attempt under way; nil once it was given back
	open    bool              // the attempt counts as in flight at the backend
}
