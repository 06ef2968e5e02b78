package proxy

import (
	"net/netip"

	"loadbalancer/proxy/http1"
	"loadbalancer/proxy/message"

	"github.com/valyala/fasthttp"
)

// ClientAddress returns the address of the client that sent a request, on the proxy's or any other
// listener: the peer's own address, or the one given by a trusted proxy or its PROXY header.
func (t *Trust) ClientAddress(ctx *fasthttp.RequestCtx) netip.Addr {
	peer, _ := http1.PeerOf(ctx.Conn())
	if !t.trusts(peer) {
		return peer
	}
	forwarded, ok := message.ForwardedBy(ctx.Request.Header.RawHeaders(), t.field)
	if !ok {
		return peer // the guard rejects such a header, but other listeners have no guard
	}
	return t.client(peer, forwarded.Lines(t.field))
}

// FromThisMachine reports whether the peer of a request, on this or any other listener, is a
// process on this machine that acts for itself. A trusted proxy does not, and a connection that
// began with a PROXY header proves nothing: neither the address in the header nor the sender's own
// identifies the caller. The request's fields are not read.
func (t *Trust) FromThisMachine(ctx *fasthttp.RequestCtx) bool {
	peer, proxied := http1.PeerOf(ctx.Conn())
	return peer.IsLoopback() && !proxied && !t.trusts(peer)
}
