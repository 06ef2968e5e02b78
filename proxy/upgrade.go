package proxy

import "bytes"

// Statuses that speak of other protocols.
const (
	switchingProtocols = 101
	upgradeRequired    = 426
)

var (
	tokenUpgrade = []byte("upgrade")
	tokenH2C     = []byte("h2c")
	prefixHTTP   = []byte("http")
)

// mayUpgrade reports whether the request's Upgrade field goes on to the backend
// (RFC 9110, section 7.8). It does not with a body, which would still be on its
// way, and not for HTTP itself: what followed in the tunnel would be requests that
// nobody limits or routes.
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

// switches reports whether a 101 is an answer to what the client has asked: it
// names one protocol of those in the request.
func (x *exchange) switches() bool {
	protocol := x.response.upgrade
	return len(protocol) > 0 && namedBy(x.request.upgrade, protocol)
}
