package proxy

import (
	"loadbalancer/limiter"
	"loadbalancer/proxy/message"
)

// appendRequestHeader appends the request's header as the backend gets it.
func (p *Proxy) appendRequestHeader(dst []byte, x *exchange) []byte {
	sender := message.Sender{Peer: x.client.peer, Client: x.addr, Trusted: x.trusted}
	return x.request.AppendHeader(dst, &sender, x.backend.HostField(), &p.via)
}

// appendResponseHeader appends the response's header as the client gets it: the backend's own, with
// the client's rate limit fields and those of this hop. A 429 from a backend keeps only the
// backend's limit fields: the balancer's would say that tokens are left.
func (p *Proxy) appendResponseHeader(dst []byte, x *exchange) []byte {
	r := &x.response
	if x.counted && r.Status != tooManyRequests {
		dst = x.fields.Append(r.AppendHeader(dst, x.chunks(), limitFields(x.fields)), x.decision)
	} else {
		dst = r.AppendHeader(dst, x.chunks(), 0)
	}
	dst = p.via.Append(dst, r.HTTP10)
	if x.chunks() {
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	}
	if r.Status == message.SwitchingProtocols {
		return append(dst, "Connection: Upgrade\r\n\r\n"...)
	}
	if r.Status == message.UpgradeRequired {
		dst = append(dst, "Connection: Upgrade\r\n"...)
	}
	return x.appendConnection(dst)
}

// limitFields returns the fields that the limiter writes.
func limitFields(f limiter.Fields) (own message.FieldSet) {
	if f.Standard() {
		own |= message.RateLimit
	}
	if f.Legacy() {
		own |= message.LegacyRateLimit
	}
	return own
}

// tooManyRequests is the status for a client over its limit (RFC 6585, section 4).
const tooManyRequests = 429

// chunks reports whether the response's body is sent to the client in chunks: its length is unknown
// and the client understands chunks.
func (x *exchange) chunks() bool {
	return (x.response.body.framing == message.Chunked || x.response.body.framing == message.UntilClose) && !x.request.HTTP10
}

// appendConnection ends a header, and tells the client whether its connection stays open.
func (x *exchange) appendConnection(dst []byte) []byte {
	if x.ends() {
		return append(dst, "Connection: close\r\n\r\n"...)
	}
	if x.request.HTTP10 {
		return append(dst, "Connection: keep-alive\r\n\r\n"...)
	}
	return append(dst, "\r\n"...)
}
