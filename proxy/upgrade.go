package proxy

import "bytes"

// Statuses about switching protocols.
const (
	switchingProtocols = 101
	upgradeRequired    = 426
)

var (
	tokenUpgrade = []byte("upgrade")
	tokenH2C     = []byte("h2c")
	prefixHTTP   = []byte("http")
)

// mayUpgrade reports whether the request's Upgrade field is forwarded to the backend (RFC 9110,
// section 7.8). It is not if the request has a body, which would still be on its way, nor if it
// names HTTP itself: the tunnel would carry requests that are neither limited nor routed.
func (r *request) mayUpgrade() bool {
	if r.http10 || !r.body.ended || !r.hop.names(tokenUpgrade) {
		return false
	}
	for list := r.upgrade; len(list) > 0; {
		var protocol []byte
		protocol, list, _ = bytes.Cut(list, comma)
		protocol = trimSpace(protocol)
		if bytes.EqualFold(protocol, tokenH2C) || len(protocol) >= 4 && bytes.EqualFold(protocol[:4], prefixHTTP) {
			return false
		}
	}
	return len(r.upgrade) > 0
}

// switches reports whether a 101 is a valid answer to the request: it names one of the protocols
// that the client asked for.
func (x *exchange) switches() bool {
	protocol := x.response.upgrade
	return len(protocol) > 0 && namedBy(x.request.upgrade, protocol)
}
