package routes

import (
	"bytes"
	"errors"
	"strings"
)

// What a request is refused for, for an operator to read.
var (
	errClimbs = errors.New("the path has .. behind //, or together with %2f, %5c, %3b, \\ or ;, so that servers disagree on what it leads to")
	errEscape = errors.New("the path has a % without two hexadecimal digits behind it, or %00")
)

// isForm reports whether a path is in its form and has nothing for which it could be refused. It
// may report false for a path that is: then appendForm changes nothing.
func isForm(path []byte) bool {
	for i, c := range path {
		switch c {
		case '%', '\\', ';':
			return false
		case '/':
			if i+1 < len(path) && (path[i+1] == '/' || path[i+1] == '.') {
				return false
			}
		}
	}
	return true
}

// appendForm appends the form in which paths are compared: escapes of unreserved characters decoded
// (RFC 3986, section 6.2.2.2), dot segments removed (section 5.2.4), and runs of / made one.
// path begins with /. The form is never longer than the path, has no segment that is . or .., no
// run of /, and is its own form.
//
// It returns an error for a path that servers read in different ways. Some take %2f, %5c or \ for
// a /, and some drop a segment's parameters, from ; on. With .. beside one of them, or with one of
// them and a segment .. anywhere, what the path leads to would depend on the server: in
// /a/b%2fc/../../d the segments that .. removes differ. So it would with .. behind //: /a//../b is
// /a/b by RFC 3986, and /b where runs of / are made one first.
func appendForm(dst, path []byte) ([]byte, error) {
	f := former{out: append(dst, '/')}
	f.segment, f.part = len(f.out), len(f.out)
	for i := 1; i < len(path); i++ {
		c := path[i]
		switch c {
		case '/':
			f.endPart(false)
			f.endSegment(false)
			continue
		case '%':
			value, ok := unescape(path[i:])
			if !ok || value == 0 {
				return dst, errEscape
			}
			escape := path[i : i+3]
			i += 2
			if !isUnreserved(value) {
				f.add(escape, value == '/' || value == '\\' || value == ';')
				continue
			}
			c = value
		case '\\', ';':
			f.add(path[i:i+1], true)
			continue
		}
		f.out = append(f.out, c)
	}
	f.endPart(false)
	f.endSegment(true)
	if f.beside || f.climbs && f.separates || f.differs {
		return dst, errClimbs
	}
	if f.runs {
		f.out = withoutRuns(f.out)
	}
	return f.out, nil
}

// former writes the form of a path, but for its runs of /. Parts are what stands between separators:
// /, and what some servers take for one.
type former struct {
	out       []byte
	segment   int  // where the last segment begins
	part      int  // where the last part begins
	behind    bool // it begins behind a separator other than /
	separates bool // there is such a separator
	climbs    bool // a part is ..
	beside    bool // a .. stands beside such a separator
	runs      bool // out has runs of /
	differs   bool // a .. would remove another segment if runs of / were made one first
}

// add adds bytes as they are. separator says that some servers take them for one.
func (f *former) add(b []byte, separator bool) {
	if separator {
		f.endPart(true)
		f.separates = true
	}
	f.out = append(f.out, b...)
	if separator {
		f.part, f.behind = len(f.out), true
	}
}

// endPart ends a part. separator reports whether a separator other than / follows.
func (f *former) endPart(separator bool) {
	part := f.out[f.part:]
	f.climbs = f.climbs || string(part) == ".."
	f.beside = f.beside || separator && bytes.HasSuffix(part, twoDots) || f.behind && bytes.HasPrefix(part, twoDots)
}

var twoDots = []byte("..")

// endSegment ends a segment, behind which / or, if it is the last, nothing follows.
func (f *former) endSegment(last bool) {
	switch name := f.out[f.segment:]; {
	case string(name) == ".":
		f.out = f.out[:f.segment]
	case string(name) == "..":
		f.removeSegment()
	case !last:
		f.runs = f.runs || len(name) == 0
		f.out = append(f.out, '/')
		f.segment = len(f.out)
	}
	f.part, f.behind = f.segment, false
}

// removeSegment removes the last segment, which is .., and the one before it, if there is one.
func (f *former) removeSegment() {
	end := max(1, f.segment-1)
	f.segment = 1 + bytes.LastIndexByte(f.out[:end], '/')
	empty := f.segment == end
	f.out = f.out[:f.segment]
	f.differs = f.differs || empty && len(bytes.Trim(f.out, "/")) > 0
}

// withoutRuns makes runs of / one, in place.
func withoutRuns(path []byte) []byte {
	n := 1
	for _, c := range path[1:] {
		if c != '/' || path[n-1] != '/' {
			path[n] = c
			n++
		}
	}
	return path[:n]
}

// unescape returns the byte that an escape at the beginning of b stands for.
func unescape(b []byte) (value byte, ok bool) {
	if len(b) < 3 || b[0] != '%' {
		return 0, false
	}
	high, low := hexValues[b[1]], hexValues[b[2]]
	return (high-1)<<4 | (low - 1), high > 0 && low > 0
}

// hexValues gives the value of each hexadecimal digit, plus 1; 0 for other bytes.
var hexValues = func() (t [256]byte) {
	for i := range byte(10) {
		t['0'+i] = i + 1
	}
	for i := range byte(6) {
		t['a'+i], t['A'+i] = i+11, i+11
	}
	return t
}()

// isUnreserved reports whether a byte means the same escaped and not (RFC 3986, section 2.3).
func isUnreserved(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return c == '-' || c == '.' || c == '_' || c == '~'
}

// prefix is the path of a route, or what it strips. The zero value is of every target.
type prefix struct {
	text    []byte // in the form of appendForm
	escapes bool   // it has escapes
}

func newPrefix(text string) prefix {
	return prefix{[]byte(text), strings.Contains(text, "%")}
}

// ending is the last byte of a prefix, by which most prefixes differ from a form.
type ending struct {
	at    int32 // -1: it tells nothing
	value byte
}

func (p *prefix) ending() ending {
	if p.escapes || len(p.text) == 0 {
		return ending{at: -1}
	}
	return ending{int32(len(p.text) - 1), p.text[len(p.text)-1]}
}

// differs reports whether the prefix does not cover a form, which has no escapes, because of its
// last byte.
func (e ending) differs(form []byte) bool {
	return e.at >= 0 && (int(e.at) >= len(form) || form[e.at] != e.value)
}

// covers reports whether a form is the prefix, or below it by whole segments. n is the size of the
// form's part that is the prefix. escapes reports whether the form has escapes: one is the same as
// another that stands for the same byte or as that byte, but %2f is not /.
func (p *prefix) covers(form []byte, escapes bool) (n int, ok bool) {
	if escapes || p.escapes {
		n, ok = commonPrefix(form, p.text)
	} else {
		n, ok = len(p.text), bytes.HasPrefix(form, p.text)
	}
	return n, ok && (n == 0 || n == len(form) || form[n] == '/' || form[n-1] == '/')
}

// commonPrefix reports whether the form begins with the text, and the size of that part of it.
func commonPrefix(form, text []byte) (n int, ok bool) {
	for i := 0; i < len(text); {
		if n == len(form) {
			return n, false
		}
		a, sizeA := character(form[n:])
		b, sizeB := character(text[i:])
		if a != b {
			return n, false
		}
		n, i = n+sizeA, i+sizeB
	}
	return n, true
}

// characters returns those of the prefix, which are the same however it is spelled.
func (p *prefix) characters() (all []rune) {
	for rest := p.text; len(rest) > 0; {
		c, size := character(rest)
		all, rest = append(all, c), rest[size:]
	}
	return all
}

// character returns the first character and its size. That of %2f is none that stands for itself.
func character(b []byte) (c rune, size int) {
	if value, ok := unescape(b); ok {
		if value == '/' {
			return -1, 3
		}
		return rune(value), 3
	}
	return rune(b[0]), 1
}
