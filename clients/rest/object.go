package rest

import (
	"encoding/json"
	"fmt"
	"slices"
)

// Object is a JSON object split into its fields. The zero Object has none. It refers to the body that
// it was parsed from, and is valid as long as that does not change. It is safe for concurrent use as
// long as DropNulls is not called.
//
// Value tells a field that is absent from one that is null, which a JSON merge patch (RFC 7396) needs:
// it returns false for the one and "null" for the other. No object inside a Value has a name twice,
// so json.Unmarshal reads all of it.
type Object struct {
	path   string // of the field that holds it, "" for the body itself
	fields map[string]json.RawMessage
}

// ParseObject splits a body, which has to be one JSON object, into its fields. Unlike
// json.Unmarshal it matches names exactly. It refuses a field that is not known, any if none is; at
// any depth a name that appears twice (RFC 8259, section 4, leaves its meaning open), a text that is
// not Unicode, and more than 32 levels of objects and arrays. Its errors are Faults.
func ParseObject(body []byte, known ...string) (Object, error) {
	if err := checkSyntax(body); err != nil {
		return Object{}, err
	}
	if !isObject(body) {
		return Object{}, &Fault{Code: Invalid,
			Message: "the body is not an object; allowed is one JSON object"}
	}
	return split("", body, known, false)
}

// Object splits the value of a field that o has, as ParseObject splits a body.
func (o Object) Object(field string, known ...string) (Object, error) {
	if !isObject(o.fields[field]) {
		return Object{}, o.Wrong(field, fmt.Sprintf("an object with the fields %q", known))
	}
	return split(o.Path(field), o.fields[field], known, false)
}

// Path returns the path of a field of o from the body down, such as "trial.capacity".
func (o Object) Path(field string) string {
	if o.path == "" {
		return field
	}
	return o.path + "." + field
}

// Value returns the JSON of a field of o, without white space around it, and whether o has the field.
func (o Object) Value(field string) (value json.RawMessage, ok bool) {
	value, ok = o.fields[field]
	return value, ok
}

// Text returns the value of a field of o if it is a string.
func (o Object) Text(field string) (text string, ok bool) {
	value := o.fields[field]
	if len(value) == 0 || value[0] != '"' {
		return "", false
	}
	return nameOf(value), true
}

// Missing returns the fault of a required field that o lacks.
func (o Object) Missing(field string) *Fault { return Missing(o.Path(field)) }

// Wrong returns the fault of a field of o whose value is not allowed. Its message shows the value.
func (o Object) Wrong(field, allowed string) *Fault {
	return Wrong(o.Path(field), Shorten(string(o.fields[field])), allowed)
}

// DropNulls removes those of the given fields from o that are null.
func (o Object) DropNulls(fields ...string) {
	for _, field := range fields {
		if string(o.fields[field]) == "null" {
			delete(o.fields, field)
		}
	}
}

// isObject reports whether JSON whose syntax is correct is an object.
func isObject(text []byte) bool {
	at := skipSpace(text, 0)
	return at < len(text) && text[at] == '{'
}

// split splits an object that has passed checkSyntax. An open one may have any fields.
func split(path string, text []byte, known []string, open bool) (Object, error) {
	o := Object{path: path, fields: map[string]json.RawMessage{}}
	for at := skipSpace(text, 0) + 1; ; { // behind the brace, or a comma
		at = skipSpace(text, at)
		if text[at] == '}' {
			return o, nil
		}
		end := stringEnd(text, at)
		name := nameOf(text[at:end])
		at = skipSpace(text, skipSpace(text, end)+1) // behind the colon
		end = valueEnd(text, at)
		if !open && !slices.Contains(known, name) {
			field := o.Path(name)
			return Object{}, &Fault{Code: Invalid, Field: Shorten(field),
				Message: fmt.Sprintf("the field %s is unknown; allowed are %q", Quote(field), known)}
		}
		o.fields[name] = json.RawMessage(text[at:end:end])
		if at = skipSpace(text, end); text[at] == ',' {
			at++
		}
	}
}
