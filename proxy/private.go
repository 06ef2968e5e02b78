package proxy

import (
	"time"

	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/upstream"
)

// A backend of NTLM or Negotiate takes all requests on an authenticated connection for the same
// user's. From a request with such credentials on, the backend's connection therefore belongs to
// the client's connection alone. A trusted proxy may send the requests of several users on one
// connection, and HTTP/2 knows no such authentication: from there each such request gets a connection
// that is closed after it.

// ownOf returns the backend's connection that belongs to the client's connection, or nil.
func ownOf(x *ends.Exchange) *upstream.Private {
	if x.Partner == nil {
		return nil
	}
	own, _ := x.Partner.Get().(*upstream.Private)
	return own
}

// pickOwn returns the backend of the client's own connection, which may be nil, if the request has
// to go there, or nil.
func (t *tries) pickOwn(own *upstream.Private, p *upstream.Pool, began time.Time) *upstream.Backend {
	if own == nil || t.tried.Len() > 0 {
		return nil
	}
	return p.PickPrivate(own, began, &t.tried)
}

// connect returns a connection to the picked backend: the client's own, if it has one there, or one
// of the pool's. If fresh is true it always dials. It returns upstream.ErrPending where too many
// requests wait at the backend.
func (t *tries) connect(s ends.Stream, fresh bool) (*upstream.Conn, error) {
	if !t.reserved {
		taken, ok := t.backend.Reserve(s.Streams())
		if t.reserved = taken; !ok {
			return nil, upstream.ErrPending
		}
	}
	own := ownOf(s.Exchange)
	if own != nil && !fresh {
		if conn := t.backend.TakePrivate(own); conn != nil {
			return conn, nil
		}
	}
	return t.backend.Connect(t.began, fresh)
}

// fate is what becomes of a backend's connection after an exchange that it has survived.
type fate uint8

const (
	shared fate = iota // it serves the requests of any client
	owned              // it serves those of the client's connection alone
	closed
)

// fateOf returns the fate of a connection that may already be owned. binds reports whether the
// request has authenticated it, and mayOwn whether the client's connection may have one.
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
// mayOwn is that of fateOf, and said is that of upstream.Conn.Release.
func (t *tries) giveBack(conn *upstream.Conn, s ends.Stream, mayOwn bool, said time.Duration) {
	binds := s.Request.Binds && conn.Stream == nil // HTTP/2 knows no such authentication
	switch fateOf(conn.IsPrivate(), binds, mayOwn && s.Partner != nil) {
	case shared:
		conn.Release(said)
	case closed:
		conn.Discard()
	case owned:
		own := conn.Private()
		if ownOf(s.Exchange) != own {
			s.Partner.Set(own)
		}
		own.Release(said)
	}
}
