package message

import "bytes"

// Statuses about switching protocols.
const (
	SwitchingProtocols = 101
	UpgradeRequired    = 426
)

var (
	tokenUpgrade = []byte("upgrade")
	tokenH2C     = []byte("h2c")
	prefixHTTP   = []byte("http")
)

// mayUpgrade reports whether the request's Upgrade field is forwarded to the backend (RFC 9110,
// section 7.8). It is not if the length of the request's body is unknown, as that may still be on
// its way when the protocol changes, nor if it names HTTP itself: the tunnel would carry requests
// that are neither limited nor routed.
func (r *Request) mayUpgrade() bool {
	if r.HTTP10 || r.Framing == Chunked || !r.hop.names(tokenUpgrade) {
		return false
	}
	for list := r.Upgrade; len(list) > 0; {
		var protocol []byte
		protocol, list, _ = bytes.Cut(list, comma)
		protocol = trimSpace(protocol)
		if bytes.EqualFold(protocol, tokenH2C) || len(protocol) >= 4 && bytes.EqualFold(protocol[:4], prefixHTTP) {
			return false
		}
	}
	return len(r.Upgrade) > 0
}

// Allows reports whether a 101 is a valid answer to the request: it names one of the protocols that
// the client asked for.
func (r *Request) Allows(protocol []byte) bool {
	return len(protocol) > 0 && lists(r.Upgrade, protocol)
}
