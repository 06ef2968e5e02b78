package rest

import (
	"fmt"
	"strings"

	"github.com/valyala/fasthttp"
)

// Match is the condition of If-Match (RFC 9110, section 13.1.1). The zero value is that of a
// request without one, which holds for everything.
type Match struct {
	Present bool
	Any     bool     // *: there has to be something
	Tags    []string // one of these, with their quotes; weak ones are left out, as they match nothing
}

// Holds reports whether the condition holds for something with this strong entity tag, quotes
// included, or for nothing with "".
func (m Match) Holds(tag string) bool {
	if !m.Present || m.Any {
		return !m.Present || tag != ""
	}
	for _, t := range m.Tags {
		if t == tag {
			return true
		}
	}
	return false
}

const allowedMatch = `* or a list of entity tags such as "a1", with their quotes`

// IfMatch returns the condition of If-Match, of all its lines together. Its errors are Faults of
// code Malformed: for what is no list of entity tags, and for a list without any.
func IfMatch(ctx *fasthttp.RequestCtx) (Match, error) {
	lines := ctx.Request.Header.PeekAll("If-Match")
	m := Match{Present: len(lines) > 0}
	count := 0
	for _, line := range lines {
		for list := string(line); ; {
			list = strings.TrimLeft(list, " \t,") // empty elements count for nothing
			if list == "" {
				break
			}
			tag, after, ok := cutTag(list)
			if !ok {
				return Match{}, malformedHeader("If-Match", string(line), allowedMatch)
			}
			switch {
			case tag == "*":
				m.Any = true
			case tag[0] == '"':
				m.Tags = append(m.Tags, tag)
			}
			list = after
			count++
		}
	}
	if m.Present && count == 0 || m.Any && count > 1 {
		return Match{}, malformedHeader("If-Match", "such a list", allowedMatch)
	}
	return m, nil
}

// cutTag cuts * or an entity tag off a list, up to the next comma.
func cutTag(list string) (tag, after string, ok bool) {
	end := 1
	if list[0] != '*' {
		opaque, _ := strings.CutPrefix(list, "W/")
		length := strings.IndexByte(strings.TrimPrefix(opaque, `"`), '"')
		if opaque == "" || opaque[0] != '"' || length < 0 {
			return "", "", false
		}
		end = len(list) - len(opaque) + length + 2
	}
	tag, after = list[:end], strings.TrimLeft(list[end:], " \t")
	visible := strings.IndexFunc(tag, func(c rune) bool { return c <= ' ' || c == 0x7f }) < 0
	return tag, after, visible && (after == "" || after[0] == ',')
}

// maxKey is the length of the longest Idempotency-Key, in bytes.
const maxKey = 255

// IdempotencyKey returns the value of Idempotency-Key, or "" if there is none. A key is 1 to 255
// visible ASCII characters, in quotes (draft-ietf-httpapi-idempotency-key-header) or, as clients
// send it, without: then it has neither quotes nor commas. A fault of code Malformed is returned
// for any other, and for two.
func IdempotencyKey(ctx *fasthttp.RequestCtx) (string, error) {
	const name = "Idempotency-Key"
	const allowed = "one key of 1 to 255 visible ASCII characters"
	lines := ctx.Request.Header.PeekAll(name)
	switch len(lines) {
	case 0:
		return "", nil
	case 1:
	default:
		return "", malformedHeader(name, "there twice", allowed)
	}
	text := strings.Trim(string(lines[0]), " \t")
	key, ok := text, !strings.ContainsAny(text, `",`)
	if strings.HasPrefix(text, `"`) {
		key, ok = unquote(text)
	}
	if !ok || key == "" || len(key) > maxKey || strings.ContainsFunc(key, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return "", malformedHeader(name, Quote(text), allowed)
	}
	return key, nil
}

// unquote returns what a string of structured fields holds (RFC 9651, section 4.2.5).
func unquote(text string) (held string, ok bool) {
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '"':
			return b.String(), i == len(text)-1
		case '\\':
			if i++; i == len(text) || text[i] != '"' && text[i] != '\\' {
				return "", false
			}
		}
		b.WriteByte(text[i])
	}
	return "", false
}

func malformedHeader(name, value, allowed string) *Fault {
	return &Fault{Code: Malformed, Field: name,
		Message: fmt.Sprintf("the header field %s is %s; allowed is %s", name, Shorten(value), allowed)}
}
