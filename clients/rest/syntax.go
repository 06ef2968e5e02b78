package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxNesting is how deep objects and arrays may stand in each other (RFC 8259, section 9, leaves
// that to the reader).
const maxNesting = 32

// checkSyntax returns a fault unless the body is one JSON value that can be read in one way only.
// The time is linear in the length of the body.
func checkSyntax(body []byte) error {
	if bytes.HasPrefix(body, byteOrderMark) {
		return malformedJSON("it begins with a byte order mark; send it without one")
	}
	if !utf8.Valid(body) { // encoding/json would read another text
		return malformedJSON("it is not UTF-8")
	}
	if !json.Valid(body) {
		var value json.RawMessage
		err := json.Unmarshal(body, &value)
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			return malformedJSON(fmt.Sprintf("%s at byte %d", syntax, syntax.Offset))
		}
		return malformedJSON(fmt.Sprint(err))
	}
	return checkNames(body)
}

var byteOrderMark = []byte("\ufeff")

func malformedJSON(why string) *Fault {
	return &Fault{Code: Malformed, Message: "the body is not JSON: " + why}
}

// level is an object or array that checkNames is in.
type level struct {
	array bool
	index int    // of the present element of an array
	name  string // of the present field of an object
	due   bool   // the next string is a name
	names nameSet
}

// checkNames returns a fault if JSON whose syntax is correct nests deeper than maxNesting, or has an
// object with a name twice, or a text that is not Unicode.
func checkNames(body []byte) error {
	var levels []level
	for at := 0; at < len(body); at++ {
		var inner *level
		if len(levels) > 0 {
			inner = &levels[len(levels)-1]
		}
		switch c := body[at]; c {
		case '{', '[':
			if len(levels) == maxNesting {
				return &Fault{Code: Invalid,
					Message: fmt.Sprintf("the body is nested deeper than %d levels of objects and arrays", maxNesting)}
			}
			levels = append(levels, level{array: c == '[', due: c == '{'})
		case '}', ']':
			levels = levels[:len(levels)-1]
		case ',':
			inner.index, inner.due = inner.index+1, !inner.array
		case '"':
			end := stringEnd(body, at)
			text := body[at:end]
			at = end - 1
			if !isUnicode(text) {
				return malformedJSON("a text has half a surrogate pair")
			}
			if inner == nil || !inner.due {
				continue
			}
			if !inner.begin(nameOf(text)) {
				field := pathOf(levels)
				return &Fault{Code: Invalid, Field: field,
					Message: fmt.Sprintf("the field %q appears twice", field)}
			}
		}
	}
	return nil
}

// begin begins a field of an object, and reports whether its name is new.
func (l *level) begin(name string) (ok bool) {
	l.name, l.due = name, false
	return l.names.add(name)
}

// nameSet is a set of names, which is a list as long as it is short: most objects are.
type nameSet struct {
	few  []string
	many map[string]struct{} // all of them, once they are too many for few
}

const fewNames = 16

// add reports whether the name is new.
func (s *nameSet) add(name string) (ok bool) {
	if s.many == nil {
		if slices.Contains(s.few, name) {
			return false
		}
		if s.few = append(s.few, name); len(s.few) > fewNames {
			s.many = make(map[string]struct{}, 2*len(s.few))
			for _, known := range s.few {
				s.many[known] = struct{}{}
			}
		}
		return true
	}
	known := len(s.many)
	s.many[name] = struct{}{}
	return len(s.many) > known
}

// pathOf returns the path of the field that is being read, such as "trial.capacity" or "all[1].a".
func pathOf(levels []level) string {
	var path strings.Builder
	for i, l := range levels {
		switch {
		case l.array:
			path.WriteString("[" + strconv.Itoa(l.index) + "]")
		case i > 0:
			path.WriteString("." + l.name)
		default:
			path.WriteString(l.name)
		}
	}
	return Shorten(path.String())
}

// The functions below read JSON whose syntax is correct.

// stringEnd returns where the string that begins at a quote ends: behind the closing quote.
func stringEnd(text []byte, at int) int {
	for at++; text[at] != '"'; at++ {
		if text[at] == '\\' {
			at++
		}
	}
	return at + 1
}

// valueEnd returns where the value that begins there ends.
func valueEnd(text []byte, at int) int {
	for depth := 0; ; {
		switch text[at] {
		case '"':
			at = stringEnd(text, at)
		case '{', '[':
			depth++
			at++
		case '}', ']':
			depth--
			at++
		default:
			at++
		}
		if depth == 0 && (at == len(text) || isValueEnd(text[at-1], text[at])) {
			return at
		}
	}
}

// isValueEnd reports whether a value at the level of the first one has ended between two bytes.
func isValueEnd(last, next byte) bool {
	switch next {
	case ',', '}', ']', ' ', '\t', '\n', '\r', ':':
		return true
	}
	return last == '"' || last == '}' || last == ']'
}

// skipSpace returns where the next token begins.
func skipSpace(text []byte, at int) int {
	for at < len(text) && (text[at] == ' ' || text[at] == '\t' || text[at] == '\n' || text[at] == '\r') {
		at++
	}
	return at
}

// nameOf returns what a string, with its quotes, holds.
func nameOf(text []byte) (name string) {
	if bytes.IndexByte(text, '\\') < 0 {
		return string(text[1 : len(text)-1])
	}
	_ = json.Unmarshal(text, &name) // its syntax is correct
	return name
}

// isUnicode reports whether no escape of a string stands for half a surrogate pair alone:
// encoding/json would read another text.
func isUnicode(text []byte) bool {
	for {
		at := bytes.IndexByte(text, '\\')
		if at < 0 {
			return true
		}
		first, escaped := surrogate(text[at:])
		if !escaped {
			text = text[at+2:]
			continue
		}
		text = text[at+6:]
		if !utf16.IsSurrogate(first) {
			continue
		}
		second, escaped := surrogate(text)
		if !escaped || utf16.DecodeRune(first, second) == utf8.RuneError {
			return false
		}
		text = text[6:]
	}
}

// surrogate returns the number of an escape such as \ud83d at the beginning of text.
func surrogate(text []byte) (number rune, ok bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	return rune(n), err == nil
}
