package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Object is a JSON object split into its fields.
type Object struct {
	path   string // of the field that holds it, "" for the body itself
	fields map[string]json.RawMessage
}

// Path returns the path of a field of the object.
func (o Object) Path(field string) string {
	if o.path == "" {
		return field
	}
	return o.path + "." + field
}

// ParseObject splits one JSON object into its fields. Unlike json.Unmarshal it matches names exactly and refuses
// duplicates (RFC 8259, section 4, leaves their meaning open).
func ParseObject(body []byte, known ...string) (Object, error) {
	if err := checkSyntax(body); err != nil {
		return Object{}, err
	}
	return decodeObject("", body, known)
}

func decodeObject(path string, text []byte, known []string) (Object, error) {
	o := Object{path: path, fields: make(map[string]json.RawMessage, len(known))}
	decoder := json.NewDecoder(bytes.NewReader(text))
	if start, _ := decoder.Token(); start != json.Delim('{') {
		if path != "" {
			return Object{}, Wrong(path, Shorten(string(text)), fmt.Sprintf("an object with the fields %q", known))
		}
		return Object{}, &Fault{Code: Invalid, Message: "the body is not an object; allowed is one JSON object"}
	}
	for decoder.More() {
		name, value, err := decodeField(decoder)
		if err != nil {
			return Object{}, err
		}
		field := o.Path(name)
		if !slices.Contains(known, name) {
			return Object{}, &Fault{Code: Invalid, Field: Shorten(field),
				Message: fmt.Sprintf("the field %s is unknown; allowed are %q", Quote(field), known)}
		}
		if _, found := o.fields[name]; found {
			return Object{}, &Fault{Code: Invalid, Field: field, Message: fmt.Sprintf("the field %q is there twice", field)}
		}
		o.fields[name] = value
	}
	return o, nil
}

// DropNulls removes those of the fields that are null.
func (o Object) DropNulls(fields ...string) {
	for _, field := range fields {
		if string(o.fields[field]) == "null" {
			delete(o.fields, field)
		}
	}
}

// Object splits the value of a field.
func (o Object) Object(field string, known ...string) (Object, error) {
	return decodeObject(o.Path(field), o.fields[field], known)
}

// Value returns the JSON of a field, and whether it is there.
func (o Object) Value(field string) (value json.RawMessage, ok bool) {
	value, ok = o.fields[field]
	return value, ok
}

// Text returns the value of a field that is a string.
func (o Object) Text(field string) (text string, ok bool) {
	var decoded *string
	if err := json.Unmarshal(o.fields[field], &decoded); err != nil || decoded == nil {
		return "", false
	}
	return *decoded, true
}

// Missing is the fault of a field that has to be there.
func (o Object) Missing(field string) *Fault { return Missing(o.Path(field)) }

// Wrong is the fault of a field whose value is not allowed.
func (o Object) Wrong(field, allowed string) *Fault {
	return Wrong(o.Path(field), Shorten(string(o.fields[field])), allowed)
}

// checkSyntax reports what keeps the body from being one JSON value with nothing behind it.
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
