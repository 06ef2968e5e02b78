package message

import "bytes"

// Field returns the value of the first field with a name, or nil. name is in lower case. The header
// must have passed the guard.
func (r *Request) Field(name string) []byte {
	for block := r.Header; len(block) > 0; {
		f, rest := knownField(block)
		if f.line == nil {
			break
		}
		if len(f.name) == len(name) && equalFold(f.name, name) {
			return f.value
		}
		block = rest
	}
	return nil
}

// Cookie returns the value of the first cookie with a name (RFC 6265, section 4.2.1), or nil. The
// header must have passed the guard.
func (r *Request) Cookie(name string) []byte {
	for block := r.Header; len(block) > 0; {
		f, rest := knownField(block)
		if f.line == nil {
			break
		}
		if len(f.name) == len("cookie") && equalFold(f.name, "cookie") {
			if value := cookie(f.value, name); value != nil {
				return value
			}
		}
		block = rest
	}
	return nil
}

// cookie returns the value of the first cookie with a name in the value of a Cookie field, or nil.
func cookie(field []byte, name string) []byte {
	for len(field) > 0 {
		pair, rest, _ := bytes.Cut(field, semicolon)
		field = rest
		pair = trimSpace(pair)
		if len(pair) > len(name) && pair[len(name)] == '=' && string(pair[:len(name)]) == name {
			return pair[len(name)+1:]
		}
	}
	return nil
}

var semicolon = []byte(";")
