package message

// Changes are what goes on in place of parts of a request. The zero value changes nothing.
type Changes struct {
	Path   []byte // in place of the target's path; nil: none
	Host   string // "": the request's own
	Fields *Edit
}

// AppendHeader appends the request's header as a backend gets it: the client's own fields, in order
// and case, without those that end at this hop, and with those that tell the backend about the
// client. host is the Host of a request that came without one. The empty line is included.
func (r *Request) AppendHeader(dst []byte, s *Sender, c *Changes, host []byte, via *Via) []byte {
	r.hop.edit = c.Fields // also for the trailers
	dst = append(dst, r.Method...)
	dst = append(dst, ' ')
	dst = r.appendTarget(dst, c.Path)
	dst = append(dst, " HTTP/1.1\r\n"...)
	dst, hasHost := r.appendFields(dst, s, c.Host)
	if !hasHost {
		dst = r.appendHost(dst, c.Host, host)
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
	dst = r.appendForwarded(dst, s)
	dst = r.appendSubject(dst)
	dst = via.Append(dst, r.version())
	dst = AppendID(dst, s.ID)
	dst = c.Fields.Append(dst)
	return append(dst, "\r\n"...)
}

// appendTarget appends the target or, if path is not nil, that path and the target's query.
func (r *Request) appendTarget(dst, path []byte) []byte {
	if path == nil {
		return append(dst, r.Target...)
	}
	dst = append(dst, path...)
	return append(dst, r.Target[len(r.Path()):]...)
}

// appendHost appends the Host of a request that came without one: the one in its place, that of the
// target, or the backend's.
func (r *Request) appendHost(dst []byte, changed string, backends []byte) []byte {
	dst = append(dst, "Host: "...)
	switch {
	case changed != "":
		dst = append(dst, changed...)
	case len(r.Authority) > 0:
		dst = append(dst, r.Authority...)
	default:
		dst = append(dst, backends...)
	}
	return append(dst, "\r\n"...)
}

// LacksCertificate reports whether the connection serves no request, since its client has to show a
// certificate that counts.
func (r *Request) LacksCertificate() bool {
	return r.hop.Subject && r.Security != nil && !r.Security.Verified
}

// appendSubject appends X-Client-Subject where it is the balancer's own.
func (r *Request) appendSubject(dst []byte) []byte {
	if !r.hop.Subject || r.Security == nil || !r.Security.Verified || r.Security.Subject == "" {
		return dst
	}
	dst = append(append(dst, "X-Client-Subject: "...), r.Security.Subject...)
	return append(dst, "\r\n"...)
}

// appendFields appends the client's own fields, in order and case, without those that end at this
// hop. hasHost reports whether a Host is among them. Fields in which an untrusted peer gives a
// client address are replaced, each by a single line with the peer's address. host, unless it is
// "", is the Host that goes on.
func (r *Request) appendFields(dst []byte, s *Sender, host string) (_ []byte, hasHost bool) {
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
			if hasHost = len(f.value) > 0 && host == ""; !hasHost {
				continue // an empty one says nothing: the target's authority may
			}
		case kindTrailer:
			if r.Framing != Chunked || r.hop.drops(&f) {
				continue
			}
		case kindOther, kindRealIP, kindRateLimit, kindLegacyRateLimit, kindAuthorization:
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
	return dst, hasHost
}

// AppendTrailers appends the trailers of the request that go on, as lines. dst grows if they do not
// fit.
func (r *Request) AppendTrailers(dst []byte, t *Trailers) []byte {
	return t.append(dst, &r.hop)
}
