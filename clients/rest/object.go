package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Object is a JSON object split into its fields. The zero Object has none. It is safe for
// concurrent use as long as DropNulls is not called.
type Object struct {
	path   string // of the field that holds it, "" for the body itself
	fields map[string]json.RawMessage
}

// ParseObject splits a body, which has to be one JSON object, into its fields. Unlike
// json.Unmarshal it matches names exactly, and refuses fields that are not known or appear twice
// (RFC 8259, section 4, leaves their meaning open). Its errors are Faults.
func ParseObject(body []byte, known ...string) (Object, error) {
	if err := checkSyntax(body); err != nil {
		return Object{}, err
	}
	if !isObject(body) {
		return Object{}, &Fault{Code: Invalid,
			Message: "the body is not an object; allowed is one JSON object"}
	}
	return split("", body, known)
}

// Object splits the value of a field that o has, as ParseObject splits a body.
func (o Object) Object(field string, known ...string) (Object, error) {
	if !isObject(o.fields[field]) {
		return Object{}, o.Wrong(field, fmt.Sprintf("an object with the fields %q", known))
	}
	return split(o.Path(field), o.fields[field], known)
}

// Path returns the path of a field of o from the body down, such as "trial.capacity".
func (o Object) Path(field string) string {
	if o.path == "" {
		return field
	}
	return o.path + "." + field
}

// Value returns the JSON of a field of o, and whether o has the field.
func (o Object) Value(field string) (value json.RawMessage, ok bool) {
	value, ok = o.fields[field]
	return value, ok
}

// Text returns the value of a field of o if it is a string.
func (o Object) Text(field string) (text string, ok bool) {
	var decoded *string
	if err := json.Unmarshal(o.fields[field], &decoded); err != nil || decoded == nil {
		return "", false
	}
	return *decoded, true
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

// checkSyntax returns a fault unless the body is one JSON value with nothing behind it.
func checkSyntax(body []byte) error {
	var value json.RawMessage
	err := json.Unmarshal(body, &value)
	if err == nil {
		return nil
	}
	message := fmt.Sprintf("the body is not JSON: %s", err)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		message = fmt.Sprintf("the body is not JSON: %s at byte %d", syntax, syntax.Offset)
	}
	return &Fault{Code: Malformed, Message: message}
}

func isObject(text []byte) bool {
	start, _ := json.NewDecoder(bytes.NewReader(text)).Token()
	return start == json.Delim('{')
}

// split splits an object whose syntax is correct. It may have any fields if known is nil.
func split(path string, text []byte, known []string) (Object, error) {
	o := Object{path: path, fields: make(map[string]json.RawMessage, len(known))}
	decoder := json.NewDecoder(bytes.NewReader(text))
	_, _ = decoder.Token() // the opening brace
	for decoder.More() {
		name, value, err := decodeField(decoder)
		if err != nil {
			return Object{}, err
		}
		field := o.Path(name)
		if known != nil && !slices.Contains(known, name) {
			return Object{}, &Fault{Code: Invalid, Field: Shorten(field),
				Message: fmt.Sprintf("the field %s is unknown; allowed are %q", Quote(field), known)}
		}
		if _, found := o.fields[name]; found {
			return Object{}, &Fault{Code: Invalid, Field: field,
				Message: fmt.Sprintf("the field %q is there twice", field)}
		}
		o.fields[name] = value
	}
	return o, nil
}

func decodeField(decoder *json.Decoder) (name string, value json.RawMessage, err error) {
	token, err := decoder.Token()
	if err == nil {
		err = decoder.Decode(&value)
	}
	name, ok := token.(string)
	if err != nil || !ok {
		// checkSyntax has passed, so only the decoder's own bounds remain.
		return "", nil, &Fault{Code: Malformed, Message: "the body is not JSON that can be read", Cause: err}
	}
	return name, value, nil
}
