package proxy

import "loadbalancer/proxy/upstream"

// A backend of NTLM or Negotiate takes all requests on an authenticated connection for the same user's.
// From a request with such credentials on, the backend's connection therefore belongs to the client's
// connection alone. A trusted proxy may send the requests of several users on one connection: from there
// each such request gets a connection that is closed after it.

// own returns the backend's connection that belongs to the client's connection, or nil.
func (x *exchange) own() *upstream.Private {
	own, _ := x.stream.Partner().(*upstream.Private)
	return own
}

// pickOwn returns the backend of the client's own connection, if the request has to go there, or nil.
func (x *exchange) pickOwn() *upstream.Backend {
	own := x.own()
	if own == nil || x.tries.tried.Len() > 0 {
		return nil
	}
	return x.pool.PickPrivate(own, x.stream.Started, &x.tries.tried)
}

// connect returns a connection to the picked backend: the client's own, if it has one there, or one of
// the pool's. If fresh is true it always dials.
func (x *exchange) connect(fresh bool) (*upstream.Conn, error) {
	b := x.tries.backend
	if own := x.own(); own != nil && !fresh {
		if conn := b.TakePrivate(own); conn != nil {
			return conn, nil
		}
	}
	return b.Connect(x.tries.began, fresh)
}

// fate is what becomes of a backend's connection after an exchange that it has survived.
type fate uint8

const (
	shared fate = iota // it serves the requests of any client
	owned              // it serves those of the client's connection alone
	closed
)

// fateOf returns the fate of a connection that may already be owned. binds reports whether the request
// has authenticated it, and mayOwn whether the client's connection may have one.
func fateOf(isOwned, binds, mayOwn bool) fate {
	switch {
	case !isOwned && !binds:
		return shared
	case mayOwn:
		return owned
	}
	return closed
}

// giveBack returns a connection to the pool, keeps it for the client's connection, or closes it.
func (x *exchange) giveBack(conn *upstream.Conn) {
	mayOwn := !x.caller.trusted && x.tries.backend.TakesRequests()
	switch fateOf(conn.IsPrivate(), x.stream.Request.Binds, mayOwn) {
	case shared:
		conn.Release(x.call.Response.KeepFor)
	case closed:
		conn.Discard()
	case owned:
		own := conn.Private()
		if x.own() != own {
			x.stream.SetPartner(own)
		}
		own.Release(x.call.Response.KeepFor)
	}
}
