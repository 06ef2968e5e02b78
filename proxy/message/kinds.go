package message

import "bytes"

// kind is what a header field means to a proxy.
type kind uint8

const (
	kindOther kind = iota
	kindHopByHop
	kindTE
	kindTrailer
	kindConnection
	kindKeepAlive
	kindContentLength
	kindTransferEncoding
	kindHost
	kindExpect
	kindUpgrade
	kindForwardedFor
	kindForwardedProto
	kindForwardedHost
	kindForwarded // Forwarded and all other X-Forwarded-* fields
	kindRealIP
	kindAuthorization
	kindIdempotencyKey
	kindRequestID
	kindRateLimit       // RateLimit and RateLimit-Policy
	kindLegacyRateLimit // X-RateLimit-Limit, -Remaining and -Reset
)

// ordinary reports whether the message's meaning to a proxy does not depend on the field. A hop may
// write rate limit fields of its own, but does not go by those of others.
func (k kind) ordinary() bool {
	return k == kindOther || k == kindRateLimit || k == kindLegacyRateLimit
}

// FieldSet is a set of fields, by what they mean to a proxy.
type FieldSet uint32

// The fields that a hop may write in place of a message's own.
const (
	RateLimit       FieldSet = 1 << kindRateLimit       // RateLimit and RateLimit-Policy
	LegacyRateLimit FieldSet = 1 << kindLegacyRateLimit // X-RateLimit-Limit, -Remaining and -Reset
)

// has reports whether the fields of the kind are in the set.
func (s FieldSet) has(k kind) bool { return s&(1<<k) != 0 }

// knownName is a field name in lower case and its kind.
type knownName struct {
	name string
	kind kind
}

// knownNames holds the names that a proxy has to know, by length. The hop-by-hop fields are those
// of RFC 9110, section 7.6.1, and older ones that are still in use.
var knownNames = [...][]knownName{
	2:  {{"te", kindTE}},
	4:  {{"host", kindHost}},
	6:  {{"expect", kindExpect}},
	7:  {{"trailer", kindTrailer}, {"upgrade", kindUpgrade}},
	9:  {{"forwarded", kindForwarded}, {"x-real-ip", kindRealIP}, {"ratelimit", kindRateLimit}},
	10: {{"connection", kindConnection}, {"keep-alive", kindKeepAlive}},
	12: {{"x-request-id", kindRequestID}},
	13: {{"authorization", kindAuthorization}},
	14: {{"content-length", kindContentLength}},
	15: {{ForwardedFor, kindForwardedFor}, {"idempotency-key", kindIdempotencyKey}},
	16: {{"x-forwarded-host", kindForwardedHost}, {"proxy-connection", kindHopByHop}, {"ratelimit-policy", kindRateLimit}},
	17: {{"transfer-encoding", kindTransferEncoding}, {"x-forwarded-proto", kindForwardedProto}, {"x-ratelimit-limit", kindLegacyRateLimit}, {"x-ratelimit-reset", kindLegacyRateLimit}},
	18: {{"proxy-authenticate", kindHopByHop}},
	19: {{"proxy-authorization", kindHopByHop}},
	21: {{"x-ratelimit-remaining", kindLegacyRateLimit}},
}

// kindOf returns the kind of a field name, in any case.
func kindOf(name []byte) kind {
	if len(name) < len(knownNames) {
		for i := range knownNames[len(name)] {
			if known := &knownNames[len(name)][i]; equalFold(name, known.name) {
				return known.kind
			}
		}
	}
	if len(name) > 12 && equalFold(name[:12], "x-forwarded-") {
		return kindForwarded
	}
	return kindOther
}

// isDisguised reports whether a name, with _ read as -, is that of a field that frames or routes
// the message.
func isDisguised(name []byte) bool {
	if bytes.IndexByte(name, '_') < 0 {
		return false
	}
	switch dashedKind(name) {
	case kindOther, kindRateLimit, kindLegacyRateLimit, kindHopByHop, kindKeepAlive, kindExpect, kindAuthorization, kindIdempotencyKey:
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
