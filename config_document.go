package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// document is a config file as it is read: strictly, and with the line of every
// value kept, so that a fault can be shown where it stands.
type document struct {
	file   string
	root   *yaml.Node
	lines  map[string]int // by path, such as pools.main.backends[2].url
	faults []error
}

// readDocument parses YAML and puts the environment's values in.
func readDocument(file string, text []byte, lookup func(string) (string, bool)) (*document, error) {
	d := &document{file: file, lines: map[string]int{}}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var top yaml.Node
	if err := decoder.Decode(&top); errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: the file is empty; it needs at least pools with one backend", file)
	} else if err != nil {
		return nil, syntaxError(file, text, err)
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: more than one YAML document; put everything into the first", file)
	}
	d.root = top.Content[0]
	d.expand(d.root, "", lookup)
	return d, errors.Join(d.faults...)
}

// syntaxError puts the parser's line where other faults have theirs. The name of an
// anchor that does not exist is left out: it may be a token that begins with *.
func syntaxError(file string, text []byte, err error) error {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	if withLine, ok := strings.CutPrefix(message, "line "); ok {
		return fmt.Errorf("%s:%s", file, withLine)
	}
	if name := unknownAnchor.FindStringSubmatch(message); name != nil {
		before, _, _ := bytes.Cut(text, []byte("*"+name[1]))
		return fmt.Errorf("%s:%d: unknown anchor; put a text that begins with * in quotes", file, 1+bytes.Count(before, []byte("\n")))
	}
	return fmt.Errorf("%s: %s", file, message)
}

var unknownAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)

var variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)(:-([^}]*))?\}`)

// expand replaces ${NAME} and ${NAME:-default} in every value at or below a path.
// Keys stay as they are.
func (d *document) expand(n *yaml.Node, path string, lookup func(string) (string, bool)) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			d.expand(n.Content[i+1], below(path, n.Content[i].Value), lookup)
		}
	case yaml.SequenceNode:
		for i, item := range n.Content {
			d.expand(item, fmt.Sprintf("%s[%d]", path, i), lookup)
		}
	case yaml.ScalarNode:
		if strings.Contains(n.Value, "${") {
			d.expandValue(n, path, lookup)
		}
	}
}

func (d *document) expandValue(n *yaml.Node, path string, lookup func(string) (string, bool)) {
	if strings.Contains(variable.ReplaceAllString(n.Value, ""), "${") {
		d.fault(n.Line, path, "${", "${NAME} and ${NAME:-default}, NAME of letters, digits and _")
		return
	}
	n.Value = variable.ReplaceAllStringFunc(n.Value, func(match string) string {
		part := variable.FindStringSubmatch(match)
		if value, ok := lookup(part[1]); ok && value != "" {
			return value
		}
		if part[2] == "" {
			d.fault(n.Line, path, match, fmt.Sprintf("an environment variable %s that is set, or a default as in ${%s:-value}", part[1], part[1]))
		}
		return part[3]
	})
	n.Tag = "" // its type is that of the new value; in quotes, a text
	if n.Value != "" && n.ShortTag() == "!!null" {
		n.Tag = "!!str" // a token such as null or ~ is a text, and not no token
	}
}

// below is the path of a key in the section at path.
func below(path, key string) string {
	return strings.TrimPrefix(path+"."+key, ".")
}

// credentials are the user and password of a URL, in whatever place it was put.
var credentials = regexp.MustCompile(`://\S*@`)

// fault notes one fault. value is shown as the file has it, but for passwords.
func (d *document) fault(line int, path string, value any, allowed string) {
	at := d.file
	if line > 0 {
		at = fmt.Sprintf("%s:%d", at, line)
	}
	if path != "" {
		at += ": " + path
	}
	shown := fmt.Sprint(value)
	if shown == "" {
		shown = `""`
	}
	at, shown = credentials.ReplaceAllString(at, "://…@"), credentials.ReplaceAllString(shown, "://…@")
	d.faults = append(d.faults, fmt.Errorf("%s: %s is not allowed; allowed: %s", at, shown, allowed))
}

// wrong notes that the value at a path is not allowed. The line is that of the
// value or, where the file does not have it, of the nearest section around it.
func (d *document) wrong(path string, value any, allowed string) {
	line := 0
	for at := path; line == 0 && at != ""; {
		line = d.lines[at]
		at = at[:max(0, strings.LastIndexAny(at, ".["))]
	}
	d.fault(line, path, value, allowed)
}

// decode reads the document into c. Unknown keys and wrong types are faults.
func (d *document) decode(c *config) error {
	d.check(d.root, reflect.TypeOf(*c), "")
	if len(d.faults) > 0 {
		return errors.Join(d.faults...)
	}
	if err := d.root.Decode(c); err != nil {
		return fmt.Errorf("%s: %w", d.file, err)
	}
	return nil
}

// check compares a node with the type that it will be decoded into.
func (d *document) check(n *yaml.Node, t reflect.Type, path string) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if path != "" {
		d.lines[path] = n.Line
	}
	if n.ShortTag() == "!!null" {
		return // the default stays
	}
	switch {
	case t.Kind() == reflect.Struct:
		fields := fieldsOf(t)
		keys := strings.Join(slices.Sorted(maps.Keys(fields)), ", ")
		if n.Kind != yaml.MappingNode {
			d.fault(n.Line, path, describe(n, t), "a section with "+keys)
			return
		}
		d.checkMapping(n, path, keys, func(key string) reflect.Type { return fields[key] })
	case t.Kind() == reflect.Map:
		if n.Kind != yaml.MappingNode {
			d.fault(n.Line, path, describe(n, t), "names, each with a section")
			return
		}
		d.checkMapping(n, path, "", func(string) reflect.Type { return t.Elem() })
	case t.Kind() == reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			d.fault(n.Line, path, describe(n, t), "a list")
			return
		}
		for i, item := range n.Content {
			at := fmt.Sprintf("%s[%d]", path, i)
			if item.ShortTag() == "!!null" { // the decoder would leave it out
				d.fault(item.Line, at, "", "an entry that is not empty")
			}
			d.check(item, t.Elem(), at)
		}
	default:
		d.checkScalar(n, t, path)
	}
}

// checkMapping checks each value by the type of its key; typeOf returns nil for a
// key that is not one of keys.
func (d *document) checkMapping(n *yaml.Node, path, keys string, typeOf func(string) reflect.Type) {
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.ShortTag() == "!!merge" {
			d.fault(key.Line, path, "the key "+describe(key, nil), "keys that are plain names; << and *name are not read as keys")
			continue
		}
		at := below(path, key.Value)
		if first, twice := seen[key.Value]; twice {
			d.fault(key.Line, at, key.Value, fmt.Sprintf("each key once; it stands on line %d already", first))
			continue
		}
		seen[key.Value] = key.Line
		t := typeOf(key.Value)
		if t == nil {
			d.fault(key.Line, at, "the key "+key.Value, keys)
			continue
		}
		d.check(value, t, at)
		d.lines[at] = key.Line
	}
}

// checkScalar tries the decoding, for its error.
func (d *document) checkScalar(n *yaml.Node, t reflect.Type, path string) {
	err := n.Decode(reflect.New(t).Interface())
	isWhole := t.Kind() == reflect.Int || t.Kind() == reflect.Int64
	if err == nil && isWhole && n.ShortTag() == "!!float" {
		err = new(yaml.TypeError) // the decoder would cut the fraction off
	}
	if err == nil {
		return
	}
	allowed := map[reflect.Kind]string{
		reflect.Bool: "true or false", reflect.Float64: "a number", reflect.String: "a text",
	}[t.Kind()]
	var typeError *yaml.TypeError
	switch {
	case t.String() == "time.Duration":
		allowed = "a time such as 250ms or 30s"
	case !errors.As(err, &typeError):
		allowed = err.Error() // a type of ours says itself what it reads
	case isWhole:
		allowed = "a whole number"
	}
	d.fault(n.Line, path, describe(n, t), allowed)
}

// secret marks a type whose values no message shows, nor what stands in the place of
// one.
type secret interface{ secret() }

// describe shows in a few words a node that should be of type t.
func describe(n *yaml.Node, t reflect.Type) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a section"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case t != nil && t.Implements(reflect.TypeFor[secret]()):
		return notShown
	}
	return n.Value
}

// fieldsOf maps the yaml keys of a struct, and of those inlined in it, to types.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, option, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if option == "inline" {
			for k, v := range fieldsOf(f.Type) {
				fields[k] = v
			}
			continue
		}
		fields[name] = f.Type
	}
	return fields
}
