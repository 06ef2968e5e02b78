package message

import "loadbalancer/proxy/reason"

// Bounds of what the guard passes.
const (
	MaxFields = 256 // fields of a header, or trailers
	MaxMethod = 64  // bytes of a method
)

// Rules are what the guard goes by, beyond the rules of HTTP.
type Rules struct {
	Own
	KeyField string // name of the API key field, in lower case; "" if clients have no keys
	MaxBody  int64  // bytes; 0 means no limit
}

// Guard passes only requests that can be read in one way (RFC 9112, and RFC 9113, section 8, for
// those of HTTP/2). r holds the method, the target, the protocol and the header block. Guard leaves
// what the later steps need in r, so that the header is parsed once. The target must be a private
// copy, since it may be changed.
func (r *Request) Guard(rules *Rules) reason.Code {
	r.Head = string(r.Method) == "HEAD"
	switch string(r.Proto) {
	case "HTTP/1.1":
	case "HTTP/1.0":
		r.HTTP10 = true
	default:
		if !r.HTTP2 {
			return r.refuse(reason.BadRequest, ErrVersion)
		}
		if len(r.Method) == 0 || !Token.HasAll(r.Method) {
			return r.refuse(reason.BadRequest, errMethod)
		}
	}
	if len(r.Method) > MaxMethod {
		return r.refuse(reason.BadRequest, errMethodSize)
	}
	if string(r.Method) == "CONNECT" {
		return r.refuse(reason.MethodNotAllowed, errConnect)
	}
	r.hop.Own, r.hop.key = rules.Own, rules.KeyField
	if why := r.readFields(); why != reason.None {
		return why
	}
	if r.HTTP2 && string(r.Method) == "POST" {
		r.GRPC = grpcOf(r.Field("content-type"), r.Field("grpc-timeout"))
	}
	if fault := r.readTarget(r.Target); fault != nil {
		return r.refuse(reason.BadRequest, fault)
	}
	if rules.Subject && r.Security != nil && !r.Security.admits(r.Authority) {
		return r.refuse(reason.Misdirected, errMisdirected)
	}
	if rules.MaxBody > 0 && r.Length > rules.MaxBody {
		return r.refuse(reason.BodyTooLarge, errBodySize)
	}
	return reason.None
}

// ForwardedBy returns what a header says of the client, for servers that have no guard. field is
// the lower-case name of the client address field, "" for X-Forwarded-For. ok is false for a header
// that the guard refuses.
func ForwardedBy(header []byte, field string) (f Forwarded, ok bool) {
	r := Request{Header: header, hop: hop{Own: Own{ClientField: field}}}
	if why := r.readFields(); why != reason.None {
		return Forwarded{}, false
	}
	return r.Forwarded, true
}

// readFields checks each header field and records the ones that matter.
func (r *Request) readFields() reason.Code {
	var lengths, codings, hosts, upgrades, fields int
	var length int64
	var unmet bool // there is an expectation other than 100-continue
	for block := r.Header; len(block) > 0; {
		f, rest, ok := nextField(block, Value)
		if !ok || r.HTTP2 && !f.inHTTP2() {
			return r.refuse(reason.BadRequest, ErrLine)
		}
		if f.line == nil {
			break
		}
		block = rest
		if fields++; fields > MaxFields {
			return r.refuse(reason.HeaderTooLarge, errFieldCount)
		}
		switch f.kind {
		case kindConnection:
			ok = r.hop.add(f.value)
		case kindContentLength:
			lengths++
			length, ok = parseLength(f.value)
		case kindTransferEncoding:
			codings++
			ok = !r.HTTP10 && isChunked(f.value)
		case kindHost:
			hosts++
			r.Authority = f.value
			ok = isHost(f.value)
		case kindExpect:
			unmet = !r.noteExpect(f.value) || unmet
		case kindTE:
			r.acceptsTrailers = r.acceptsTrailers || !r.HTTP10 && lists(f.value, tokenTrailers)
		case kindUpgrade:
			upgrades++
			r.Upgrade = f.value
		case kindIdempotencyKey:
			r.idempotencyKey = r.idempotencyKey || len(f.value) > 0
		case kindForwardedFor, kindForwardedProto, kindForwardedHost, kindRequestID:
			ok = r.Forwarded.note(&f)
		default:
			r.Binds = r.Binds || f.kind == kindAuthorization && authenticatesConnection(f.value)
			ok = r.noteKey(&f) && r.noteClientIP(&f) && !isDisguised(f.name)
		}
		if !ok {
			return r.refuse(reason.BadRequest, faultOf(f.kind))
		}
	}
	r.Framing, r.Length = requestFraming(codings > 0 || r.Open && lengths == 0, length), length
	if upgrades != 1 || !r.mayUpgrade() {
		r.Upgrade = nil
	}
	return r.judgeCounts(lengths+codings, hosts, unmet)
}

// judgeCounts judges the numbers of fields that state a length and of Host fields. unmet reports
// whether there is an expectation that cannot be met. A request of HTTP/2 that ends with its header
// must not announce a body: a recipient in HTTP/1 would take what follows for it (RFC 9113, section
// 8.1.1).
func (r *Request) judgeCounts(lengths, hosts int, unmet bool) reason.Code {
	fault := countFault(lengths, hosts, r.HTTP10)
	if fault == nil && r.HTTP2 && !r.Open && r.Framing != NoBody {
		fault = errNoBody
	}
	switch {
	case fault != nil:
		return r.refuse(reason.BadRequest, fault)
	case unmet:
		return r.refuse(reason.ExpectationFailed, errExpect)
	}
	return reason.None
}

// countFault returns what is wrong with the numbers of fields that state a length and of Host
// fields.
func countFault(lengths, hosts int, http10 bool) error {
	switch {
	case lengths > 1:
		return ErrLengths
	case hosts > 1:
		return ErrHosts
	case hosts == 0 && !http10:
		return errNoHost
	}
	return nil
}

// requestFraming returns how a request's body is framed. A request without length or coding has no
// body (RFC 9112, section 6.3). chunked reports whether it has one of unknown length.
func requestFraming(chunked bool, length int64) Framing {
	switch {
	case chunked:
		return Chunked
	case length > 0:
		return FixedLength
	}
	return NoBody
}

var tokenTrailers = []byte("trailers")

// noteExpect records an Expect field. ok is false for an expectation that cannot be met. An empty
// field expects nothing.
func (r *Request) noteExpect(value []byte) (ok bool) {
	if len(value) == 0 {
		return true
	}
	r.Expect = !r.HTTP10
	return len(value) == 12 && equalFold(value, "100-continue")
}

// noteKey records the value of a field that is named like the API key field. ok is false for a
// second one: the backend might use either, and a client with an empty bucket could send its key
// twice to be limited by its address instead. ok is also false for a name that differs only in _
// and -: a backend that reads names as CGI does would take that field for the key.
func (r *Request) noteKey(f *field) (ok bool) {
	if !r.hop.isKey(f.name) {
		return true
	}
	ok = !r.hasKey && equalFold(f.name, r.hop.key)
	r.hasKey, r.Key = true, f.value
	return ok
}

// noteClientIP records the value of the client address field, where that is not X-Forwarded-For;
// the last one counts. ok is false for a name that differs from it only in _ and -: a backend that
// reads names as CGI does would mistake it for that field.
func (r *Request) noteClientIP(f *field) (ok bool) {
	if !r.hop.isClientField(f.name) {
		return true
	}
	r.Forwarded.clientIP[0] = f.value
	return equalFold(f.name, r.hop.ClientField)
}
