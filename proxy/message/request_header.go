package message

// AppendHeader appends the request's header as a backend gets it: the client's own fields, in order
// and case, without those that end at this hop, and with those that tell the backend about the
// client. host is the Host of a request that came without one. The empty line is included.
func (r *Request) AppendHeader(dst []byte, s *Sender, host []byte, via *Via) []byte {
	dst = append(dst, r.Method...)
	dst = append(dst, ' ')
	dst = append(dst, r.Target...)
	dst = append(dst, " HTTP/1.1\r\n"...)
	dst, hasHost := r.appendFields(dst, s)
	if !hasHost {
		if len(r.Authority) > 0 {
			host = r.Authority
		}
		dst = appendField(dst, "Host: ", host)
	}
	if r.Framing == Chunked {
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	}
	if r.Upgrade != nil {
		dst = append(dst, "Connection: Upgrade\r\n"...)
	}
	if r.acceptsTrailers {
		dst = append(dst, "TE: trailers\r\nConnection: TE\r\n"...)
	}
	dst = r.Forwarded.append(dst, s, r.Authority)
	dst = via.Append(dst, r.HTTP10)
	dst = AppendID(dst, s.ID)
	return append(dst, "\r\n"...)
}

// appendFields appends the client's own fields, in order and case, without those that end at this
// hop. host reports whether a Host is among them. Fields in which an untrusted peer gives a client
// address are replaced, each by a single line with the peer's address.
func (r *Request) appendFields(dst []byte, s *Sender) (_ []byte, host bool) {
	var replaced uint8
	for block := r.Header; len(block) > 0; {
		f, rest := knownField(block)
		if f.line == nil {
			break
		}
		block = rest
		switch f.kind {
		case kindConnection, kindKeepAlive, kindHopByHop, kindTE, kindTransferEncoding, kindExpect,
			kindForwardedFor, kindForwardedProto, kindForwardedHost, kindRequestID:
			continue
		case kindUpgrade:
			if r.Upgrade == nil {
				continue
			}
		case kindForwarded:
			if !s.Trusted {
				continue
			}
		case kindHost:
			if host = len(f.value) > 0; !host {
				continue // an empty one says nothing: the target's authority may
			}
		case kindTrailer:
			if r.Framing != Chunked || r.hop.drops(&f) {
				continue
			}
		case kindOther, kindRealIP, kindRateLimit, kindLegacyRateLimit:
			if r.hop.drops(&f) {
				continue
			}
			if which := r.hop.addressField(&f); which != 0 && !s.Trusted {
				if replaced&which == 0 {
					dst = appendAddress(dst, f.name, s.Client)
				}
				replaced |= which
				continue
			}
		}
		dst = append(dst, f.line...)
	}
	return dst, host
}

// AppendTrailers appends the trailers of the request that go on, as lines. dst grows if they do not
// fit.
func (r *Request) AppendTrailers(dst []byte, t *Trailers) []byte {
	return t.append(dst, &r.hop)
}
