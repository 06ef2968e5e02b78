package clients

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// object is a JSON object split into its fields.
type object struct {
	path   string // of the field that holds it, "" for the body itself
	fields map[string]json.RawMessage
}

// within returns the path of a field of the object.
func (o object) within(field string) string {
	if o.path == "" {
		return field
	}
	return o.path + "." + field
}

// decodeObject splits one JSON object into its fields. Unlike json.Unmarshal it matches names exactly and refuses
// duplicates (RFC 8259, section 4, leaves their meaning open).
func decodeObject(path string, text []byte, known ...string) (object, error) {
	o := object{path: path, fields: make(map[string]json.RawMessage, len(known))}
	decoder := json.NewDecoder(bytes.NewReader(text))
	if start, _ := decoder.Token(); start != json.Delim('{') {
		if path != "" {
			return object{}, wrongValue(path, shorten(string(text)), fmt.Sprintf("an object with the fields %q", known))
		}
		return object{}, &fault{code: invalid, message: "the body is not an object; allowed is one JSON object"}
	}
	for decoder.More() {
		name, value, err := decodeField(decoder)
		if err != nil {
			return object{}, err
		}
		field := o.within(name)
		if !slices.Contains(known, name) {
			return object{}, &fault{code: invalid, field: shorten(field),
				message: fmt.Sprintf("the field %s is unknown; allowed are %q", quote(field), known)}
		}
		if _, found := o.fields[name]; found {
			return object{}, &fault{code: invalid, field: field, message: fmt.Sprintf("the field %q is there twice", field)}
		}
		o.fields[name] = value
	}
	return o, nil
}

// dropNulls removes those of the fields that are null.
func (o object) dropNulls(fields []string) {
	for _, field := range fields {
		if string(o.fields[field]) == "null" {
			delete(o.fields, field)
		}
	}
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
	return &fault{code: malformed, message: message}
}

func decodeField(decoder *json.Decoder) (name string, value json.RawMessage, err error) {
	token, err := decoder.Token()
	if err == nil {
		err = decoder.Decode(&value)
	}
	name, ok := token.(string)
	if err != nil || !ok {
		// checkSyntax has passed, so only the decoder's own bounds remain.
		return "", nil, &fault{code: malformed, message: "the body is not JSON that can be read", cause: err}
	}
	return name, value, nil
}
