package main

import (
	"encoding"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// check compares a node with the type that it will be decoded into. It returns the node to decode
// instead: without aliases and unknown keys, and with faulty values spoiled.
func (d *document) check(n *yaml.Node, t reflect.Type, path string) *yaml.Node {
	if n.Kind == yaml.AliasNode { // its faults are reported where the alias is
		target := *n.Alias
		target.Line, target.Column = n.Line, n.Column
		d.broken[&target] = d.broken[n.Alias]
		n = &target
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	p := place{n.Line, n.Column, ""}
	if at, ok := d.places[path]; ok { // the place of its key
		p = at
	}
	switch {
	case t.Implements(secretType):
	case n.Kind == yaml.ScalarNode:
		p.text = n.Value
	case n.Kind == yaml.SequenceNode && len(n.Content) == 0:
		p.text = "[]"
	case n.Kind == yaml.MappingNode && len(n.Content) == 0:
		p.text = "{}"
	}
	d.places[path] = p
	if what, allowed := misread(n); what != "" {
		return d.mistypedAs(what, n, t, path, allowed)
	}
	switch {
	case d.broken[n]:
		return d.spoiled(t, path)
	case n.ShortTag() == "!!null" && isSection(t):
		return &yaml.Node{Kind: yaml.MappingNode} // keep its defaults
	case n.ShortTag() == "!!null":
		return n // keep the default
	case isSection(t):
		return d.checkSection(n, t, path)
	case readsText(t) && n.Kind != yaml.ScalarNode: // the decoder would look for its fields
		return d.mistyped(n, t, path, "a text")
	case t.Kind() == reflect.Map:
		return d.checkNames(n, t, path)
	case t.Kind() == reflect.Slice:
		return d.checkList(n, t, path)
	}
	return d.checkScalar(n, t, path)
}

// misread describes a value whose first character YAML does not take as part of it, such as a
// token's: without quotes, !x and &x are empty values with a tag or an anchor.
func misread(n *yaml.Node) (what, allowed string) {
	switch {
	case n.Style&yaml.TaggedStyle != 0 && n.Tag != "" && !slices.Contains(coreTags, n.Tag):
		return "a tag", "quotes around a value that begins with !"
	case n.Anchor != "" && n.Kind == yaml.ScalarNode && n.Value == "" && !isQuoted(n):
		return "an anchor without a value", "quotes around a value that begins with &"
	}
	return "", ""
}

// coreTags are the tags that state the type a value has anyway. A value that held a variable has
// none.
var coreTags = []string{"!!str", "!!int", "!!float", "!!bool", "!!null", "!!map", "!!seq"}

// mistyped records that a node has the wrong type.
func (d *document) mistyped(n *yaml.Node, t reflect.Type, path, allowed string) *yaml.Node {
	return d.mistypedAs(describe(n, t), n, t, path, allowed)
}

func (d *document) mistypedAs(shown string, n *yaml.Node, t reflect.Type, path, allowed string) *yaml.Node {
	d.invalid(place{n.Line, n.Column, ""}, path, shown, allowed)
	return d.spoiled(t, path)
}

func (d *document) checkList(n *yaml.Node, t reflect.Type, path string) *yaml.Node {
	if n.Kind != yaml.SequenceNode {
		return d.mistyped(n, t, path, "a list")
	}
	list := &yaml.Node{Kind: yaml.SequenceNode}
	for i, item := range n.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		if item.ShortTag() == "!!null" && !isSection(t.Elem()) { // the decoder would leave it out
			list.Content = append(list.Content, d.mistyped(item, t.Elem(), at, "a value, or remove the entry"))
			continue
		}
		list.Content = append(list.Content, d.check(item, t.Elem(), at))
	}
	return list
}

// checkSection checks a section with the keys of a struct. An unknown key may be a misspelled one,
// so the keys that are missing from such a section count as reported.
func (d *document) checkSection(n *yaml.Node, t reflect.Type, path string) *yaml.Node {
	fields := fieldsOf(t)
	keys := slices.Sorted(maps.Keys(fields))
	list := strings.Join(keys, ", ")
	if n.Kind != yaml.MappingNode {
		return d.mistyped(n, t, path, "a section with "+list+spaceFault(n, keys))
	}
	section, complete := d.checkMapping(n, path, list, func(key string) reflect.Type { return fields[key] })
	// Pointers are alternatives: a faulty one was meant instead of those that are absent.
	faulty := slices.ContainsFunc(keys, func(key string) bool {
		return fields[key].Kind() == reflect.Pointer && d.told[below(path, key)]
	})
	for _, key := range keys {
		isMeant := !complete || faulty && fields[key].Kind() == reflect.Pointer
		if isMeant && valueOf(section, key) == nil {
			section.Content = append(section.Content, keyNode(key), d.spoiled(fields[key], below(path, key)))
		}
	}
	return section
}

// spaceFault explains a scalar in place of a section: a key that runs into its value.
func spaceFault(n *yaml.Node, keys []string) string {
	for _, key := range keys {
		if n.Kind == yaml.ScalarNode && strings.HasPrefix(n.Value, key+":") {
			return "; a space is missing behind " + key + ":"
		}
	}
	return ""
}

// checkNames checks a section whose keys are names chosen in the file.
func (d *document) checkNames(n *yaml.Node, t reflect.Type, path string) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return d.mistyped(n, t, path, "names, each with a section")
	}
	names, complete := d.checkMapping(n, path, "", func(string) reflect.Type { return t.Elem() })
	if !complete {
		d.told[path] = true
	}
	return names
}

// checkMapping checks each value by the type of its key. typeOf returns nil for a key that is not
// one of keys; such a key is left out of the returned mapping, which is then not complete.
func (d *document) checkMapping(n *yaml.Node, path, keys string, typeOf func(string) reflect.Type) (checked *yaml.Node, complete bool) {
	checked, complete = &yaml.Node{Kind: yaml.MappingNode}, true
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		p := place{key.Line, key.Column, ""}
		if key.Kind != yaml.ScalarNode || key.ShortTag() == "!!merge" {
			d.invalid(p, path, "the key "+describe(key, nil), "keys that are plain names; << and *name are not read as keys")
			complete = false
			continue
		}
		at := below(path, key.Value)
		t := typeOf(key.Value)
		if t == nil {
			d.invalid(p, at, "the key "+key.Value, "one of "+keys)
			complete = false
			continue
		}
		if first, twice := lines[key.Value]; twice {
			d.invalid(p, at, "the key "+key.Value, fmt.Sprintf("it once; it is already on line %d", first))
			join(valueOf(checked, key.Value), d.check(value, t, at))
			continue
		}
		lines[key.Value], d.places[at] = key.Line, p
		checked.Content = append(checked.Content, keyNode(key.Value), d.check(value, t, at))
	}
	return checked, complete
}

// join adds to a section the keys that occur only in a second section of the same name: both were
// meant to be read.
func join(section, second *yaml.Node) {
	if section.Kind != yaml.MappingNode || second.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(second.Content); i += 2 {
		if key := second.Content[i]; valueOf(section, key.Value) == nil {
			section.Content = append(section.Content, key, second.Content[i+1])
		}
	}
}

// valueOf returns the value of a key in a mapping, or nil.
func valueOf(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

func keyNode(key string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: key}
}

var durationType = reflect.TypeFor[time.Duration]()

// checkScalar tries to decode the value, for the error.
func (d *document) checkScalar(n *yaml.Node, t reflect.Type, path string) *yaml.Node {
	err := n.Decode(reflect.New(t).Interface())
	if readsItself(t) && !errors.As(err, new(*yaml.TypeError)) {
		if err == nil {
			return n
		}
		return d.mistyped(n, t, path, err.Error())
	}
	var allowed string
	refused := err != nil
	switch kind := t.Kind(); {
	case t == durationType:
		allowed = "a time such as 250ms or 30s"
	case kind == reflect.Int || kind == reflect.Int64:
		allowed = "a whole number" + numberFault(n)
		// The decoder would drop a fraction.
		refused = refused || n.ShortTag() == "!!float" || !decimal.MatchString(n.Value)
	case kind == reflect.Float64:
		allowed = "a number" + numberFault(n)
		refused = refused || !decimal.MatchString(n.Value)
	case kind == reflect.Bool && isQuoted(n):
		allowed = "true or false, without quotes"
	case kind == reflect.Bool:
		allowed = "true or false"
	default:
		allowed = "a text"
	}
	if refused {
		return d.mistyped(n, t, path, allowed)
	}
	return n
}

// readsItself reports whether a type decodes itself. Its error then says what is allowed.
func readsItself(t reflect.Type) bool {
	return readsText(t) || reflect.PointerTo(t).Implements(reflect.TypeFor[yaml.Unmarshaler]())
}

// readsText reports whether a type decodes itself from one value.
func readsText(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// isSection reports whether a type is decoded from a section.
func isSection(t reflect.Type) bool { return t.Kind() == reflect.Struct && !readsText(t) }

// decimal matches numbers as they must be written. YAML allows more forms, and reads some in
// surprising ways: 0100 is 64 and 1_0 is 10.
var decimal = regexp.MustCompile(`^[-+]?(0|[1-9][0-9]*|(0|[1-9][0-9]*)?\.[0-9]+|(0|[1-9][0-9]*)\.)([eE][-+]?[0-9]+)?$`)

// numberFault says how a rejected number must be written.
func numberFault(n *yaml.Node) string {
	digits := strings.TrimLeft(n.Value, "-+")
	isDecimal := decimal.MatchString(n.Value)
	switch {
	case isQuoted(n):
		return ", without quotes"
	case isDecimal && strings.Trim(digits, "0123456789") == "":
		return " of fewer digits"
	case strings.EqualFold(digits, ".inf"), strings.EqualFold(digits, ".nan"):
		return " that is finite"
	case isDecimal, digits == "", digits[0] < '0', digits[0] > '9':
		return ""
	case strings.Contains(digits, "_"):
		return " without underscores"
	case digits[0] == '0' && len(digits) > 1 && strings.Contains("xXoObB", digits[1:2]):
		return " in decimal digits, not in hexadecimal, octal or binary"
	case digits[0] == '0':
		return " without a leading zero, which YAML reads as octal"
	}
	return ""
}

// spoiled returns a value to use in place of a faulty one, and marks it and everything below it as
// reported. No check accepts that value, so a check that compares two values does not blame the
// other one.
func (d *document) spoiled(t reflect.Type, path string) *yaml.Node {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	d.told[path] = true
	switch {
	case isSection(t):
		section := &yaml.Node{Kind: yaml.MappingNode}
		for key, field := range fieldsOf(t) {
			section.Content = append(section.Content, keyNode(key), d.spoiled(field, below(path, key)))
		}
		return section
	case t.Kind() == reflect.Slice:
		return &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{d.spoiled(t.Elem(), path+"[0]")}}
	case readsText(t) && reflect.New(t).Interface().(encoding.TextUnmarshaler).UnmarshalText(nil) == nil:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str"} // the zero value
	case t.Kind() == reflect.Map, readsItself(t):
	case t == durationType:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: "-1ns"}
	case t.Kind() == reflect.Int, t.Kind() == reflect.Int64:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: "-1"}
	case t.Kind() == reflect.Float64:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!float", Value: "-1"}
	case t.Kind() == reflect.String:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: "\x00"}
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"} // the default
}

// fieldsOf maps the yaml keys of a struct, and of structs inlined in it, to their types.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, option, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if option == "inline" {
			maps.Copy(fields, fieldsOf(f.Type))
			continue
		}
		fields[name] = f.Type
	}
	return fields
}
