package message

import "bytes"

// Request is what the guard learns in its single pass over a request's header. Its slices point
// into the header.
type Request struct {
	Method    []byte
	Target    []byte // origin-form, as received; a refused request may have any form
	Proto     []byte // as received
	Authority []byte // the Host field or, if missing or empty, the target's authority
	Header    []byte // the header block as received

	HTTP10    bool
	HTTP2     bool // set before Guard
	Open      bool // HTTP/2: the request does not end with its header; set before Guard
	GRPC      GRPC // HTTP/2: what it is as a call of gRPC
	Head      bool // HEAD: the response has no body
	Framing   Framing
	Length    int64     // of a FixedLength body, in bytes
	Expect    bool      // the client waits for 100 Continue before it sends the body
	Upgrade   []byte    // the protocol that the client asks to switch to; nil: none
	Binds     bool      // its Authorization authenticates the connection, and so the requests after it
	Key       []byte    // the value of the API key field; nil: there is none
	Forwarded Forwarded // what a proxy in front of this one says
	Security  *Security // of the connection; nil: it is in the clear
	Fault     error     // what Guard has refused it for, in words; nil: nothing

	hop             hop
	acceptsTrailers bool // the client accepts trailers, according to TE
	idempotencyKey  bool // there is an Idempotency-Key
	hasKey          bool // there is an API key field
}

// version returns the version of HTTP that the request came in.
func (r *Request) version() Version {
	switch {
	case r.HTTP2:
		return HTTP2
	case r.HTTP10:
		return HTTP10
	}
	return HTTP11
}

// Idempotent reports whether sending the request twice has the same effect as sending it once: by
// its method (RFC 9110, section 9.2.2), or because it has an Idempotency-Key and its backends honor
// that.
func (r *Request) Idempotent(honored bool) bool {
	switch string(r.Method) {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return true
	}
	return r.idempotencyKey && honored
}

// Path returns the target without its query, which may hold secrets. It returns nil for a target
// that is not a path: such a request was refused, and its target may hold a password.
func (r *Request) Path() []byte {
	if len(r.Target) == 0 || r.Target[0] != '/' && r.Target[0] != '*' {
		return nil
	}
	path, _, _ := bytes.Cut(r.Target, questionMark)
	return path
}

// Has reports whether one of the fields of this name, in lower case, has the value. The header must
// have passed the guard.
func (r *Request) Has(name, value string) bool {
	for block := r.Header; len(block) > 0; {
		f, rest := knownField(block)
		if f.line == nil {
			break
		}
		block = rest
		if len(f.name) == len(name) && equalFold(f.name, name) && string(f.value) == value {
			return true
		}
	}
	return false
}

// maxUserAgent bounds what UserAgent returns, in bytes.
const maxUserAgent = 256

var userAgent = []byte("user-agent:")

// UserAgent returns the value of the first User-Agent, cut to 256 bytes, or nil. It searches the
// header, which need not have passed the guard.
func (r *Request) UserAgent() []byte {
	for block := r.Header; len(block) > 0; {
		end := indexNewline(block)
		if end < 0 {
			break
		}
		line := block[:end]
		block = block[end+1:]
		if len(line) > len(userAgent) && line[len(userAgent)-1] == ':' && bytes.EqualFold(line[:len(userAgent)], userAgent) {
			value := trimSpace(bytes.TrimSuffix(line[len(userAgent):], carriageReturn))
			return value[:min(len(value), maxUserAgent)]
		}
	}
	return nil
}

var carriageReturn = []byte("\r")

var questionMark = []byte("?")
