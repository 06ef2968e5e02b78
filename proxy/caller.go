package proxy

import (
	"net/netip"

	"github.com/valyala/fasthttp"

	"loadbalancer/proxy/reason"
)

// ClientAddress returns the address of the client that sent a request, on the proxy's or any other
// listener: that of the peer, or the one that a trusted proxy or its PROXY header tells.
func (t *Trust) ClientAddress(ctx *fasthttp.RequestCtx) netip.Addr {
	peer, _ := peerOfRequest(ctx)
	if !t.trusts(peer) {
		return peer
	}
	var r request
	r.header = ctx.Request.Header.RawHeaders()
	r.hop.told = t.field
	if why := r.readFields(nil, 0); why != reason.None {
		return peer // the guard lets no such header pass, but other listeners have none
	}
	return t.client(peer, r.forwarded.lines(t.field))
}

// FromThisMachine reports whether the peer of a request, on the proxy's or any other listener, is on
// this machine and is no trusted proxy, which speaks for others. A peer whose connection began with a
// PROXY header is not: neither the address in it nor the sender's own proves where the request comes
// from. The request's fields are not read.
func (t *Trust) FromThisMachine(ctx *fasthttp.RequestCtx) bool {
	peer, proxied := peerOfRequest(ctx)
	return peer.IsLoopback() && !proxied && !t.trusts(peer)
}

// peerOfRequest returns the address at the other end of a request's connection, and
// whether that began with a PROXY header. A peer on a unix socket is 127.0.0.1.
func peerOfRequest(ctx *fasthttp.RequestCtx) (peer netip.Addr, proxied bool) {
	conn := ctx.Conn()
	if c, ok := conn.(*clientConn); ok {
		return c.peer, c.forwarded
	}
	return peerOf(conn), false
}
