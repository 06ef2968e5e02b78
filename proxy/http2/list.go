package http2

import (
	"errors"
	"slices"
	"strings"

	"golang.org/x/net/http2/hpack"

	"loadbalancer/proxy/message"
)

// What makes a request malformed (RFC 9113, section 8.1.1), for an operator to read.
var (
	errPseudo     = errors.New("a pseudo-field of HTTP/2 is missing, unknown, repeated, not valid or behind a field")
	errName       = errors.New("a field name is not a token in lower case")
	errValue      = errors.New("a field value has a line end or NUL, or white space around it")
	errConnection = errors.New("a field is about the connection, which HTTP/2 does not have")
	errListSize   = errors.New("the header list is larger than server.max_header_size, where each field counts 32 bytes more")
	errTrailers   = errors.New("the trailers are not valid, or too many")
)

// list renders a header list, field by field as it is decoded, into a block of lines, or into
// trailers. What it holds is bounded by most; the zero value, with most set, is ready.
type list struct {
	most     int               // bytes, where each field counts 32 more
	trailers *message.Trailers // nil: it is a header
	size     int
	why      error // what is malformed; nil: nothing so far
	over     bool  // the list is too large

	buf    []byte // the values of the pseudo-fields, then the block
	pseudo [pseudoFields]span
	block  int    // where it begins; 0: no field has come
	cookie int    // the end of the value of Cookie in buf; 0: none has come
	crumbs []byte // of Cookie, which HTTP/2 may split (RFC 9113, section 8.2.3)
	length int64  // of Content-Length; -1: there is none, or none that is valid
}

// span is a part of list.buf. One that has not come has no end.
type span struct{ start, end int }

// The pseudo-fields of a request.
const (
	pseudoMethod = iota
	pseudoScheme
	pseudoAuthority
	pseudoPath
	pseudoFields
)

// begin readies the list for another header, which it renders into buf.
func (l *list) begin(buf []byte) {
	*l = list{most: l.most, buf: append(buf[:0], ' '), crumbs: l.crumbs[:0], length: -1}
}

// beginTrailers readies the list for trailers.
func (l *list) beginTrailers(t *message.Trailers) {
	*l = list{most: l.most, buf: l.buf[:0], crumbs: l.crumbs[:0], trailers: t}
}

// add adds a field.
func (l *list) add(f hpack.HeaderField) {
	if l.size += int(f.Size()); l.size > l.most {
		l.over = true
	}
	if l.over || l.why != nil {
		return
	}
	if strings.HasPrefix(f.Name, ":") {
		l.why = l.addPseudo(f.Name, f.Value)
		return
	}
	if l.why = checkField(f.Name, f.Value); l.why != nil {
		return
	}
	if l.trailers != nil {
		l.buf = append(append(append(l.buf[:0], f.Name...), ": "...), f.Value...)
		if !l.trailers.Add(l.buf) {
			l.why = errTrailers
		}
		return
	}
	l.endPseudo()
	switch f.Name {
	case "cookie":
		l.addCookie(f.Value)
		return
	case "host": // beside an authority that says the same; otherwise the guard sees two (section 8.3.1)
		if strings.EqualFold(f.Value, string(l.value(pseudoAuthority))) && f.Value != "" {
			return
		}
	case "content-length":
		l.length = parseLength(f.Value)
	}
	l.addLine(f.Name, f.Value)
}

func (l *list) addLine(name, value string) {
	l.buf = append(append(append(append(l.buf, name...), ": "...), value...), "\r\n"...)
}

// addCookie adds a part of Cookie, which stands where the first part has come.
func (l *list) addCookie(value string) {
	if l.cookie > 0 {
		l.crumbs = append(append(l.crumbs, "; "...), value...)
		return
	}
	l.addLine("cookie", value)
	l.cookie = len(l.buf) - len("\r\n")
}

// addPseudo adds a pseudo-field.
func (l *list) addPseudo(name, value string) error {
	which := -1
	switch name {
	case ":method":
		which = pseudoMethod
	case ":scheme":
		which = pseudoScheme
	case ":authority":
		which = pseudoAuthority
	case ":path":
		which = pseudoPath
	}
	if which < 0 || l.trailers != nil || l.block > 0 || l.pseudo[which].end > 0 || !isText(value) {
		return errPseudo
	}
	start := len(l.buf)
	l.buf = append(l.buf, value...)
	l.pseudo[which] = span{start, len(l.buf)}
	return nil
}

// value returns what a pseudo-field says.
func (l *list) value(which int) []byte { return l.buf[l.pseudo[which].start:l.pseudo[which].end] }

// endPseudo begins the block.
func (l *list) endPseudo() {
	if l.block > 0 {
		return
	}
	l.block = len(l.buf)
	if at := l.pseudo[pseudoAuthority]; at.end > at.start {
		l.buf = append(l.buf, "host: "...)
		l.buf = append(append(l.buf, l.buf[at.start:at.end]...), "\r\n"...)
	}
}

// end ends a header list, and returns why it is malformed, or nil. A list that is too large is not
// complete.
func (l *list) end() error {
	if l.over {
		return nil
	}
	l.endPseudo()
	if l.why == nil && !l.isRequest() {
		l.why = errPseudo
	}
	if l.why == nil && len(l.crumbs) > 0 {
		l.buf = slices.Insert(l.buf, l.cookie, l.crumbs...)
	}
	return l.why
}

// isRequest reports whether the pseudo-fields are those of a request (RFC 9113, sections 8.3.1 and
// 8.5). The guard judges what they say.
func (l *list) isRequest() bool {
	method, scheme, authority, path := l.value(pseudoMethod), l.value(pseudoScheme), l.value(pseudoAuthority), l.value(pseudoPath)
	if slices.Contains(authority, '@') {
		return false
	}
	if string(method) == "CONNECT" {
		return len(authority) > 0 && l.pseudo[pseudoScheme].end == 0 && l.pseudo[pseudoPath].end == 0
	}
	return len(method) > 0 && (string(scheme) == "http" || string(scheme) == "https") &&
		len(path) > 0 && (path[0] == '/' || string(path) == "*")
}

// checkField returns why a field makes its message malformed (RFC 9113, section 8.2), or nil.
func checkField(name, value string) error {
	switch {
	case !isName(name):
		return errName
	case !isText(value) || value != "" && (isSpace(value[0]) || isSpace(value[len(value)-1])):
		return errValue
	}
	switch name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
		return errConnection
	case "te":
		if value != "trailers" {
			return errConnection
		}
	}
	return nil
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }

func isName(s string) bool {
	for i := range len(s) {
		if c := s[i]; !message.Token.Has(c) || 'A' <= c && c <= 'Z' {
			return false
		}
	}
	return s != ""
}

func isText(s string) bool {
	for i := range len(s) {
		if !message.Text.Has(s[i]) {
			return false
		}
	}
	return true
}

// parseLength returns what a Content-Length says, or -1: then the guard refuses it.
func parseLength(s string) (n int64) {
	if s == "" || len(s) > 18 {
		return -1
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return -1
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n
}
