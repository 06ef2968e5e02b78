package rest

import (
	"encoding/json"
	"fmt"
)

// Objects splits the value of a field that o has, which has to be a list of objects, as Object
// splits one.
func (o Object) Objects(field string, known ...string) ([]Object, error) {
	var elements []json.RawMessage
	if err := json.Unmarshal(o.fields[field], &elements); err != nil || elements == nil {
		return nil, o.Wrong(field, fmt.Sprintf("a list of objects with the fields %q", known))
	}
	all := make([]Object, 0, len(elements))
	for i, element := range elements {
		path := fmt.Sprintf("%s[%d]", o.Path(field), i)
		if !isObject(element) {
			return nil, Wrong(path, Shorten(string(element)), fmt.Sprintf("an object with the fields %q", known))
		}
		one, err := split(path, element, known, false)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

// Texts returns the value of a field that o has, which has to be an object whose values are
// strings. No name may be there twice.
func (o Object) Texts(field string) (map[string]string, error) {
	const allowed = "an object whose values are strings"
	if !isObject(o.fields[field]) {
		return nil, o.Wrong(field, allowed)
	}
	values, err := split(o.Path(field), o.fields[field], nil, true)
	if err != nil {
		return nil, err
	}
	texts := make(map[string]string, len(values.fields))
	for name := range values.fields {
		text, ok := values.Text(name)
		if !ok {
			return nil, values.Wrong(name, "a string")
		}
		texts[name] = text
	}
	return texts, nil
}
