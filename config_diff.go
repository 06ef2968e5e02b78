package main

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"loadbalancer/proxy/upstream"
)

// change is one difference between two configs: a key, and what became of its value, in words.
type change struct {
	path string // such as pools.main.backends
	what string // such as 1 → 3; a secret's value is not shown
}

func (c change) String() string { return c.path + ": " + c.what }

// compare returns what differs between two valid configs, in the order of the sections.
func compare(before, after config) []change {
	var d differ
	d.section(reflect.ValueOf(before), reflect.ValueOf(after), "")
	return d.changes
}

// differ collects differences.
type differ struct{ changes []change }

func (d *differ) note(path, what string) { d.changes = append(d.changes, change{path, what}) }

// section compares two structs, key by key.
func (d *differ) section(before, after reflect.Value, path string) {
	t := before.Type()
	for i := range t.NumField() {
		name, option, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		at := below(path, name)
		if option == "inline" {
			at = path
		}
		d.value(before.Field(i), after.Field(i), at)
	}
}

// value compares two values of one type.
func (d *differ) value(before, after reflect.Value, path string) {
	t := before.Type()
	switch {
	case reflect.DeepEqual(before.Interface(), after.Interface()):
	case (t.Kind() == reflect.Slice || t.Kind() == reflect.Map) && before.Len()+after.Len() == 0: // [] or nothing
	case t.Implements(secretType) || secretPaths[path]:
		d.note(path, "changed")
	case t == reflect.TypeFor[[]upstream.BackendConfig]():
		d.backends(before.Interface().([]upstream.BackendConfig), after.Interface().([]upstream.BackendConfig), path)
	case t.Kind() == reflect.Map:
		d.sections(before, after, path)
	case t.Kind() == reflect.Slice:
		d.list(before, after, path)
	case isSection(t):
		d.section(before, after, path)
	default:
		d.note(path, inWords(before)+" → "+inWords(after))
	}
}

// secretPaths are the keys whose values may hold a password, although their type does not say so.
var secretPaths = map[string]bool{"clients.store": true, "limiter.share": true}

// sections compares two maps of sections by name.
func (d *differ) sections(before, after reflect.Value, path string) {
	names := map[string]bool{}
	for _, m := range []reflect.Value{before, after} {
		for _, key := range m.MapKeys() {
			names[key.String()] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		key := reflect.ValueOf(name)
		b, a := before.MapIndex(key), after.MapIndex(key)
		switch {
		case !b.IsValid():
			d.note(path, "+ "+name)
		case !a.IsValid():
			d.note(path, "- "+name)
		default:
			d.value(reflect.Indirect(b), reflect.Indirect(a), below(path, name))
		}
	}
}

// backends compares the backends of a pool by their addresses.
func (d *differ) backends(before, after []upstream.BackendConfig, path string) {
	var words []string
	byAddress := map[string]upstream.BackendConfig{}
	for _, b := range before {
		byAddress[b.URL.String()] = b
	}
	for _, a := range after {
		b, known := byAddress[a.URL.String()]
		if !known {
			words = append(words, "+ "+a.URL.String())
			continue
		}
		delete(byAddress, a.URL.String())
		var of differ
		of.section(reflect.ValueOf(b), reflect.ValueOf(a), "")
		for _, c := range of.changes {
			words = append(words, a.URL.Address()+" "+c.path+" "+c.what)
		}
	}
	for _, b := range before {
		if _, left := byAddress[b.URL.String()]; left {
			words = append(words, "- "+b.URL.String())
		}
	}
	if len(words) == 0 {
		words = append(words, "in another order")
	}
	d.note(path, strings.Join(words, "; "))
}

// list compares two lists by what their elements say.
func (d *differ) list(before, after reflect.Value, path string) {
	old, now := elements(before), elements(after)
	var words []string
	for _, e := range now {
		if !slices.Contains(old, e) {
			words = append(words, "+ "+e)
		}
	}
	for _, e := range old {
		if !slices.Contains(now, e) {
			words = append(words, "- "+e)
		}
	}
	switch {
	case len(words) > 0:
	case slices.Equal(old, now):
		words = append(words, "a value that is not shown has changed")
	default:
		words = append(words, "in another order")
	}
	d.note(path, strings.Join(words, "; "))
}

func elements(list reflect.Value) (all []string) {
	for i := range list.Len() {
		all = append(all, inWords(list.Index(i)))
	}
	return all
}

// inWords returns a value as the file would have it. A section is written on one line, without the
// keys that have their zero value.
func inWords(v reflect.Value) string {
	switch text := fmt.Sprint(v.Interface()); {
	case v.Kind() == reflect.Slice:
		return "[" + strings.Join(elements(v), ", ") + "]"
	case !isSection(v.Type()) && text == "":
		return `""`
	case !isSection(v.Type()):
		return text
	}
	var fields []string
	for i := range v.NumField() {
		if name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ","); !v.Field(i).IsZero() {
			fields = append(fields, name+": "+inWords(v.Field(i)))
		}
	}
	return "{" + strings.Join(fields, ", ") + "}"
}
