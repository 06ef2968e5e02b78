package proxy

import (
	"bytes"
	"math"
	"time"

	"loadbalancer/proxy/reason"
)

const (
	maxFields = 256 // header fields of a request
	maxMethod = 64  // bytes of a method
)

// request is what the guard learns in its single pass over a request's header.
type request struct {
	method    []byte
	target    []byte // origin-form, as received; a refused request may have any form
	proto     []byte // as received
	authority []byte // the Host field or, if missing or empty, the target's authority
	header    []byte // the header block as received
	hop       hopOptions
	body      body
	http10    bool
	head      bool   // HEAD: the response has no body
	expect    bool   // the client waits for 100 Continue before it sends the body
	upgrade   []byte // the protocol that the client asks to switch to; nil: none
	te        bool   // the client accepts trailers, according to TE
	keyed     bool   // there is an Idempotency-Key
	forwarded forwardedFields
	hasKey    bool   // there is an API key field
	key       []byte // its value
}

// forwardedFields holds the values that a proxy in front of this one has sent. They count only if
// that proxy is trusted.
type forwardedFields struct {
	addrs [8][]byte // X-Forwarded-For, line by line
	n     int
	told  [1][]byte // the last line of server.client_ip_header, if that is another field; nil: none
	proto []byte
	host  []byte
}

// guard passes only requests that can be read in one way (RFC 9112). It leaves what the later steps
// need in x.request, so that the header is parsed once.
func (p *Proxy) guard(x *exchange) reason.Code {
	h := &x.ctx.Request.Header
	r := &x.request
	x.received = int64(x.client.scan.size)
	faulty := x.client.scan.take()
	r.method, r.target, r.proto = h.Method(), h.RequestURI(), h.Protocol()
	r.head = string(r.method) == "HEAD"
	r.header = h.RawHeaders()
	if faulty {
		return reason.BadRequest
	}
	switch string(r.proto) {
	case "HTTP/1.1":
	case "HTTP/1.0":
		r.http10 = true
	default:
		return reason.BadRequest
	}
	if len(r.method) > maxMethod {
		return reason.BadRequest
	}
	if string(r.method) == "CONNECT" {
		return reason.MethodNotAllowed
	}
	r.hop.key, r.hop.told = p.keyHeader, p.trust.field
	if why := r.readFields(&x.client.in, p.bodyTimeout); why != reason.None {
		return why
	}
	if !r.readTarget(h.RequestURI()) {
		return reason.BadRequest
	}
	if p.maxBody > 0 && r.body.length > p.maxBody {
		return reason.BodyTooLarge
	}
	return reason.None
}

// readFields checks each header field and records the ones that matter.
func (r *request) readFields(in *inbound, bodyTimeout time.Duration) reason.Code {
	var lengths, codings, hosts, upgrades, fields int
	var length int64
	var unmet bool // there is an expectation other than 100-continue
	for block := r.header; len(block) > 0; {
		f, rest, ok := nextField(block, classValue)
		if !ok {
			return reason.BadRequest
		}
		if f.line == nil {
			break
		}
		block = rest
		if fields++; fields > maxFields {
			return reason.HeaderTooLarge
		}
		switch f.kind {
		case kindConnection:
			ok = r.hop.add(f.value)
		case kindContentLength:
			lengths++
			length, ok = parseLength(f.value)
		case kindTransferEncoding:
			codings++
			ok = !r.http10 && isChunked(f.value)
		case kindHost:
			hosts++
			r.authority = f.value
			ok = isHost(f.value)
		case kindExpect:
			unmet = !r.noteExpect(f.value) || unmet
		case kindTE:
			r.te = r.te || !r.http10 && namedBy(f.value, tokenTrailers)
		case kindUpgrade:
			upgrades++
			r.upgrade = f.value
		case kindIdempotencyKey:
			r.keyed = r.keyed || len(f.value) > 0
		case kindForwardedFor, kindForwardedProto, kindForwardedHost:
			ok = r.forwarded.note(&f)
		default:
			ok = r.noteKey(&f) && r.noteClientIP(&f) && !isDisguised(f.name)
		}
		if !ok {
			return reason.BadRequest
		}
	}
	if lengths+codings > 1 || hosts > 1 || hosts == 0 && !r.http10 {
		return reason.BadRequest
	}
	if unmet {
		return reason.ExpectationFailed
	}
	r.body = newBody(in, requestFraming(codings, length), length, bodyTimeout)
	if upgrades != 1 || !r.mayUpgrade() {
		r.upgrade = nil
	}
	return reason.None
}

// requestFraming returns how a request's body is framed. A request without length or coding has no
// body (RFC 9112, section 6.3).
func requestFraming(codings int, length int64) framing {
	switch {
	case codings == 1:
		return chunked
	case length > 0:
		return fixedLength
	}
	return noBody
}

var tokenTrailers = []byte("trailers")

// noteExpect records an Expect field. ok is false for an expectation that cannot be met. An empty
// field expects nothing.
func (r *request) noteExpect(value []byte) (ok bool) {
	if len(value) == 0 {
		return true
	}
	r.expect = !r.http10
	return len(value) == 12 && equalFold(value, "100-continue")
}

// note records one of the fields. ok is false if there are too many.
func (f *forwardedFields) note(line *field) (ok bool) {
	switch line.kind {
	case kindForwardedFor:
		return f.add(line.value)
	case kindForwardedProto:
		f.proto = line.value
	case kindForwardedHost:
		f.host = line.value
	}
	return true
}

// add records one X-Forwarded-For line. ok is false if there are too many.
func (f *forwardedFields) add(value []byte) (ok bool) {
	if f.n == len(f.addrs) {
		return false
	}
	f.addrs[f.n] = value
	f.n++
	return true
}

// lines returns the lines of the field that holds the client's address. The name "" stands for
// X-Forwarded-For.
func (f *forwardedFields) lines(field string) [][]byte {
	if field == "" {
		return f.addrs[:f.n]
	}
	return f.told[:]
}

// isDisguised reports whether a name, with _ read as -, is that of a field that frames or routes
// the message.
func isDisguised(name []byte) bool {
	if bytes.IndexByte(name, '_') < 0 {
		return false
	}
	switch dashedKind(name) {
	case kindOther, kindHopByHop, kindExpect, kindAuthorization, kindIdempotencyKey:
		return false
	}
	return true
}

// dashedKind returns the kind of a name with _ read as -, as CGI-style backends read it. Bytes
// after the first 32 do not matter: no name that must match in full is that long, and names that
// match by prefix are recognized by then.
func dashedKind(name []byte) kind {
	var dashed [32]byte
	n := copy(dashed[:], name)
	for i, c := range dashed[:n] {
		if c == '_' {
			dashed[i] = '-'
		}
	}
	return kindOf(dashed[:n])
}

// isHost reports whether b is a host with an optional port (RFC 9110, section 7.2). An empty host
// is valid there and here: it names no host.
func isHost(b []byte) bool {
	host, port := b, []byte(nil)
	if len(b) > 0 && b[0] == '[' {
		end := bytes.IndexByte(b, ']')
		if end < 0 || !isIPLiteral(b[1:end]) {
			return false
		}
		host, port = nil, b[end+1:]
	} else if colon := bytes.IndexByte(b, ':'); colon >= 0 {
		host, port = b[:colon], b[colon:]
	}
	if !onlyClass(host, classHost) {
		return false
	}
	if len(port) == 0 {
		return true
	}
	if port[0] != ':' || len(port) > 6 {
		return false
	}
	n, ok := parseLength(port[1:])
	return len(port) == 1 || ok && n <= math.MaxUint16
}

// isIPLiteral reports whether b can stand between the brackets of a host.
func isIPLiteral(b []byte) bool {
	for _, c := range b {
		if c != ':' && c != '.' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f') {
			return false
		}
	}
	return len(b) >= 2
}
