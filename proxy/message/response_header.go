package message

// AppendHeader appends the response's status line and the backend's fields, in order and case,
// without those that end at this hop, those in own and those of the edit, which the caller writes
// itself. chunks reports whether trailers may follow. The empty line is left to the caller, which
// may add fields.
func (r *Response) AppendHeader(dst []byte, chunks bool, own FieldSet, e *Edit) []byte {
	r.hop.own, r.hop.edit = own, e // also for the trailers
	dst = r.appendStatusLine(dst)
	bodiless := r.Status == 204 || r.Status < 200 // without Content-Length: RFC 9110, section 8.6
	upgrade := r.Status == SwitchingProtocols || r.Status == UpgradeRequired
	for block := r.fields; len(block) > 0; {
		f, rest := knownField(block)
		if f.line == nil {
			break
		}
		block = rest
		switch f.kind {
		case kindConnection, kindKeepAlive, kindHopByHop, kindTE, kindTransferEncoding:
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
		case kindOther, kindRateLimit, kindLegacyRateLimit, kindAuthorization:
			if r.hop.drops(&f) {
				continue
			}
		}
		dst = append(dst, f.line...)
	}
	return dst
}

// appendStatusLine appends the status line with a space after the code, even where the backend's
// has none.
func (r *Response) appendStatusLine(dst []byte) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = append(dst, r.line[:3]...)
	if r.line[3] != ' ' {
		dst = append(dst, ' ')
	}
	return append(dst, r.line[3:]...)
}

// AppendTrailers appends the trailers of the response that go on, as lines. dst grows if they do
// not fit.
func (r *Response) AppendTrailers(dst []byte, t *Trailers) []byte {
	return t.append(dst, &r.hop)
}
