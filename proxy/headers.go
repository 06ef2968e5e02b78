package proxy

import "loadbalancer/proxy/upstream"

// appendRequestHeader appends the request's header as the backend gets it: the client's own fields,
// in order and case, without those that end at this hop, and with those that tell the backend about
// the client.
func (p *Proxy) appendRequestHeader(dst []byte, x *exchange) []byte {
	r := &x.request
	dst = append(dst, r.method...)
	dst = append(dst, ' ')
	dst = append(dst, r.target...)
	dst = append(dst, " HTTP/1.1\r\n"...)
	dst, hasHost := x.appendClientFields(dst)
	if !hasHost {
		dst = appendField(dst, "Host: ", r.hostFor(x.backend))
	}
	if r.body.framing == chunked {
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	}
	if r.upgrade != nil {
		dst = append(dst, "Connection: Upgrade\r\n"...)
	}
	if r.te {
		dst = append(dst, "TE: trailers\r\nConnection: TE\r\n"...)
	}
	dst = p.appendForwarded(dst, x)
	dst = p.via.append(dst, r.http10)
	return append(dst, "\r\n"...)
}

// appendClientFields appends the client's own fields, in order and case, without those that end at
// this hop. host reports whether a Host is among them. Fields in which an untrusted peer gives a
// client address are replaced, each by a single line with the peer's address.
func (x *exchange) appendClientFields(dst []byte) (_ []byte, host bool) {
	r := &x.request
	var replaced uint8
	for block := r.header; len(block) > 0; {
		f, rest := knownField(block)
		if f.line == nil {
			break
		}
		block = rest
		switch f.kind {
		case kindConnection, kindHopByHop, kindTE, kindTransferEncoding, kindExpect,
			kindForwardedFor, kindForwardedProto, kindForwardedHost:
			continue
		case kindUpgrade:
			if r.upgrade == nil {
				continue
			}
		case kindForwarded:
			if !x.trusted {
				continue
			}
		case kindHost:
			if host = len(f.value) > 0; !host {
				continue // an empty one says nothing: the target's authority may
			}
		case kindTrailer:
			if r.body.framing != chunked || r.hop.drops(&f) {
				continue
			}
		case kindOther, kindRealIP:
			if r.hop.drops(&f) {
				continue
			}
			if which := r.hop.addressField(&f); which != 0 && !x.trusted {
				if replaced&which == 0 {
					dst = appendAddress(dst, f.name, x.addr)
				}
				replaced |= which
				continue
			}
		}
		dst = append(dst, f.line...)
	}
	return dst, host
}

// hostFor returns the Host of a request that came without one.
func (r *request) hostFor(b *upstream.Backend) []byte {
	if len(r.authority) > 0 {
		return r.authority
	}
	return b.HostField()
}

// appendForwarded appends X-Forwarded-For, -Proto and -Host. Values from an untrusted client are
// dropped. Values from a trusted proxy are kept, and its own address is added.
func (p *Proxy) appendForwarded(dst []byte, x *exchange) []byte {
	f := &x.request.forwarded
	dst = append(dst, "X-Forwarded-For: "...)
	if x.trusted {
		for _, value := range f.addrs[:f.n] {
			if len(value) > 0 {
				dst = append(dst, value...)
				dst = append(dst, ", "...)
			}
		}
	}
	dst = x.client.peer.AppendTo(dst)
	proto, host := protoHTTP, x.request.authority
	if x.trusted && len(f.proto) > 0 {
		proto = f.proto
	}
	if x.trusted && len(f.host) > 0 {
		host = f.host
	}
	dst = append(dst, "\r\n"...)
	dst = appendField(dst, "X-Forwarded-Proto: ", proto)
	if len(host) > 0 {
		dst = appendField(dst, "X-Forwarded-Host: ", host)
	}
	return dst
}

var protoHTTP = []byte("http")

// appendResponseHeader appends the response's header as the client gets it: the backend's own, with
// the client's rate limit fields and those of this hop. A 429 from a backend keeps only the
// backend's limit fields: the balancer's would say that tokens are left.
func (p *Proxy) appendResponseHeader(dst []byte, x *exchange) []byte {
	r := &x.response
	tells := x.counted && r.status != tooManyRequests
	if tells {
		r.hop.own = x.fields
	}
	dst = r.appendFields(r.appendStatusLine(dst), x.chunks())
	if tells {
		dst = x.fields.Append(dst, x.decision)
	}
	dst = p.via.append(dst, r.http10)
	if x.chunks() {
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	}
	if r.status == switchingProtocols {
		return append(dst, "Connection: Upgrade\r\n\r\n"...)
	}
	if r.status == upgradeRequired {
		dst = append(dst, "Connection: Upgrade\r\n"...)
	}
	return x.appendConnection(dst)
}

func (r *response) appendStatusLine(dst []byte) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = append(dst, r.line[:3]...)
	if r.line[3] != ' ' {
		dst = append(dst, ' ')
	}
	return append(dst, r.line[3:]...)
}

// appendFields appends the backend's fields, in order and case, without those that end at this hop.
// chunks reports whether trailers may follow.
func (r *response) appendFields(dst []byte, chunks bool) []byte {
	bodiless := r.status == 204 || r.status < 200 // a Content-Length is not allowed there: RFC 9110, section 8.6
	upgrade := r.status == switchingProtocols || r.status == upgradeRequired
	for block := r.fields; len(block) > 0; {
		f, rest := knownField(block)
		if f.line == nil {
			break
		}
		block = rest
		switch f.kind {
		case kindConnection, kindHopByHop, kindTE, kindTransferEncoding:
			continue
		case kindUpgrade:
			if !upgrade {
				continue
			}
		case kindContentLength:
			if bodiless {
				continue
			}
		case kindTrailer:
			if !chunks || r.hop.drops(&f) {
				continue
			}
		case kindOther:
			if r.hop.drops(&f) {
				continue
			}
		}
		dst = append(dst, f.line...)
	}
	return dst
}

// tooManyRequests is the status for a client over its limit (RFC 6585, section 4).
const tooManyRequests = 429

// chunks reports whether the response's body is sent to the client in chunks: its length is unknown
// and the client understands chunks.
func (x *exchange) chunks() bool {
	return (x.response.body.framing == chunked || x.response.body.framing == untilClose) && !x.request.http10
}

// appendConnection ends a header, and tells the client whether its connection stays open.
func (x *exchange) appendConnection(dst []byte) []byte {
	if x.ends() {
		return append(dst, "Connection: close\r\n\r\n"...)
	}
	if x.request.http10 {
		return append(dst, "Connection: keep-alive\r\n\r\n"...)
	}
	return append(dst, "\r\n"...)
}

func appendField(dst []byte, nameAndColon string, value []byte) []byte {
	dst = append(dst, nameAndColon...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}
