package message

import "net/netip"

// Sender is what a backend is told about where a request comes from.
type Sender struct {
	Peer    netip.Addr // the other end of the connection
	Client  netip.Addr // the peer or, if that is a trusted proxy, the client it names
	Trusted bool       // the peer is a trusted proxy: its forwarding fields count
	ID      []byte     // of the request, whether it is the peer's own or not
}

// Forwarded holds the values that a proxy in front of this one has sent. They count only if that
// proxy is trusted.
type Forwarded struct {
	addrs    [8][]byte // X-Forwarded-For, line by line
	n        int
	clientIP [1][]byte // the last line of the client address field, if that is another; nil: none
	proto    []byte
	host     []byte

	ID    []byte // the first X-Request-Id, if it is valid
	hasID bool   // there is one
}

// note records one of the fields. ok is false if there are too many.
func (f *Forwarded) note(line *field) (ok bool) {
	switch line.kind {
	case kindForwardedFor:
		return f.add(line.value)
	case kindForwardedProto:
		f.proto = line.value
	case kindForwardedHost:
		f.host = line.value
	case kindRequestID:
		f.noteID(line.value)
	}
	return true
}

// add records one X-Forwarded-For line. ok is false if there are too many.
func (f *Forwarded) add(value []byte) (ok bool) {
	if f.n == len(f.addrs) {
		return false
	}
	f.addrs[f.n] = value
	f.n++
	return true
}

// Lines returns the lines of the field that holds the client's address. The name "" stands for
// X-Forwarded-For.
func (f *Forwarded) Lines(field string) [][]byte {
	if field == "" {
		return f.addrs[:f.n]
	}
	return f.clientIP[:]
}

// IsSecure reports whether the client speaks TLS: with the trusted proxy in front of this one, if
// that says so, or else with this one.
func (r *Request) IsSecure(trusted bool) bool {
	if proto := r.Forwarded.proto; trusted && len(proto) > 0 {
		return len(proto) == len("https") && equalFold(proto, "https")
	}
	return r.Security != nil
}

// appendForwarded appends X-Forwarded-For, -Proto and -Host. Values from an untrusted client are
// dropped. Values from a trusted proxy are kept, and its own address is added.
func (r *Request) appendForwarded(dst []byte, s *Sender) []byte {
	f, host := &r.Forwarded, r.Authority
	dst = append(dst, "X-Forwarded-For: "...)
	if s.Trusted {
		for _, value := range f.addrs[:f.n] {
			if len(value) > 0 {
				dst = append(dst, value...)
				dst = append(dst, ", "...)
			}
		}
	}
	dst = s.Peer.AppendTo(dst)
	proto := protoHTTP
	if r.Security != nil {
		proto = protoHTTPS
	}
	if s.Trusted && len(f.proto) > 0 {
		proto = f.proto
	}
	if s.Trusted && len(f.host) > 0 {
		host = f.host
	}
	dst = append(dst, "\r\n"...)
	dst = appendField(dst, "X-Forwarded-Proto: ", proto)
	if len(host) > 0 {
		dst = appendField(dst, "X-Forwarded-Host: ", host)
	}
	return dst
}

var (
	protoHTTP  = []byte("http")
	protoHTTPS = []byte("https")
)
