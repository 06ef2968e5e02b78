package message

import (
	"maps"
	"slices"
	"strings"
)

// Edit is what a route changes in the fields of a message: fields that do not go on, in header and
// trailers, and lines that are added to the header. It is immutable; nil changes nothing.
type Edit struct {
	names []string // in lower case, of fields that do not go on
	lines []byte   // each with its CRLF
}

// NewEdit returns an edit that sets and removes fields, or nil if there are none. The names must
// have passed CheckEdit.
func NewEdit(set map[string]string, remove []string) *Edit {
	if len(set)+len(remove) == 0 {
		return nil
	}
	e := new(Edit)
	for _, name := range slices.Sorted(maps.Keys(set)) {
		e.names = append(e.names, strings.ToLower(name))
		e.lines = appendField(e.lines, name+": ", []byte(set[name]))
	}
	for _, name := range remove {
		e.names = append(e.names, strings.ToLower(name))
	}
	return e
}

// drops reports whether a field does not go on. A name that differs only in _ and - counts, too:
// a recipient that reads names as CGI does would take that field for the one that was set or
// removed.
func (e *Edit) drops(name []byte) bool {
	for _, n := range e.names {
		if len(n) == len(name) && equalDashed(name, n) {
			return true
		}
	}
	return false
}

// Append appends the fields that are set.
func (e *Edit) Append(dst []byte) []byte {
	if e == nil {
		return dst
	}
	return append(dst, e.lines...)
}

// Action is what is done with a field.
type Action uint8

// The actions of an Edit.
const (
	Setting Action = iota
	Removing
)

const ownField = "another field: the balancer sends and reads this one itself, for each connection"

// CheckEdit returns what is allowed in place of a name that an edit may not have, or "". response says
// that the edit is of responses.
func CheckEdit(name string, own *Own, a Action, response bool) (allowed string) {
	if name == "" || !Token.HasAll([]byte(name)) {
		return "the name of a field, such as X-Team"
	}
	switch dashedKind([]byte(name)) {
	case kindHopByHop, kindKeepAlive, kindTE, kindTrailer, kindConnection, kindContentLength, kindTransferEncoding, kindExpect, kindUpgrade:
		return ownField
	case kindHost:
		return "another field; pools.*.host says which Host backends get"
	case kindForwardedFor, kindForwardedProto, kindForwardedHost, kindForwarded, kindRealIP:
		return "another field; the balancer tells backends of the client itself, see server.trusted_proxies"
	case kindIdempotencyKey:
		return "another field: retry.idempotency_key goes by what the client sends in this one"
	case kindRequestID:
		return "another field: the balancer gives each request its ID"
	case kindRateLimit, kindLegacyRateLimit:
		if response {
			return "another field; limiter.headers says which limit fields clients get"
		}
	}
	switch {
	case own.isClientField([]byte(name)):
		return "another field: server.client_ip_header is this one"
	case !response && own.CheckSubject(name) != "":
		return own.CheckSubject(name)
	case a == Setting && strings.EqualFold(name, "via"):
		return "another field; server.via names the balancer in Via"
	}
	return ""
}

// Shown returns a field's value for people to read, or … in place of one that is likely to be
// secret, by the field's name.
func Shown(name, value string) string {
	lower := strings.ToLower(name)
	for _, word := range []string{"auth", "cookie", "credential", "key", "password", "secret", "session", "signature", "token"} {
		if strings.Contains(lower, word) {
			return "…"
		}
	}
	return value
}
