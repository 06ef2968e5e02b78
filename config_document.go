package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"gopkg.in/yaml.v3"
)

// document is a config file as it is read: strictly, and with the place of every value kept, so
// that a fault can be shown where it stands. Faults are collected, so that all are told at once.
type document struct {
	file   string
	root   *yaml.Node
	places map[string]place // by path, such as pools.main.backends[2].url
	faults []fault

	// Paths and nodes with a fault. A second fault there only follows from the first.
	told   map[string]bool
	broken map[*yaml.Node]bool
}

// place is where a value stands, both counted from 1, and how the file spells it. Line 0 means that
// the file does not have it.
type place struct {
	line, column int
	text         string
}

// fault is one fault of the file.
type fault struct {
	place
	words string
}

// readDocument parses YAML and puts the environment's values in.
func readDocument(file string, text []byte, lookup func(string) (string, bool)) (*document, error) {
	d := &document{file: file, places: map[string]place{}, told: map[string]bool{}, broken: map[*yaml.Node]bool{}}
	text = utf8Text(text)
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var top, second yaml.Node
	if err := decoder.Decode(&top); errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: the file is empty: it needs at least pools with one backend", file)
	} else if err != nil {
		return nil, syntaxFault(file, text, err)
	}
	if err := decoder.Decode(&second); err == nil {
		return nil, fmt.Errorf("%s:%d: a second YAML document begins here: put everything into the first", file, second.Line)
	} else if !errors.Is(err, io.EOF) {
		return nil, syntaxFault(file, text, err)
	}
	d.root = top.Content[0]
	d.expand(d.root, "", lookup)
	return d, nil
}

// decode reads the document into c. Unknown keys and wrong types are faults; in place of a value at
// fault c gets one that no check accepts.
func (d *document) decode(c *config) error {
	d.root = d.check(d.root, reflect.TypeOf(*c), "")
	if err := d.root.Decode(c); err != nil {
		return fmt.Errorf("%s: %w", d.file, err)
	}
	if d.told["pools"] { // then which pools there are is not known
		for i := range c.Routes {
			d.told[fmt.Sprintf("routes[%d].pool", i)] = true
		}
	}
	return nil
}

// err returns all faults in the order of the file's lines, those of what the file does not have
// last. It returns nil if there are none.
func (d *document) err() error {
	slices.SortStableFunc(d.faults, func(a, b fault) int {
		if (a.line == 0) != (b.line == 0) {
			return cmp.Compare(b.line, a.line)
		}
		return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.column, b.column))
	})
	var all []error
	for _, f := range d.faults {
		all = append(all, errors.New(f.words))
	}
	return errors.Join(all...)
}

// wrong notes that the value at a path is invalid, unless that only follows from an earlier fault.
// The line is that of the value or, where the file does not have it, of the nearest section around
// it.
func (d *document) wrong(path string, value any, allowed string) {
	if d.told[path] {
		return
	}
	p, inFile := d.places[path]
	if text, isText := value.(string); (!isText || text == "") && p.text != "" {
		value = p.text // as the file has it: 24h, and not 24h0m0s
	}
	for at := path; p.line == 0 && at != ""; p = d.places[at] {
		at = at[:max(0, strings.LastIndexAny(at, ".["))]
	}
	if value == "" && !inFile {
		d.note(p, masked(path), " is missing: use "+allowed)
		return
	}
	d.invalid(p, path, fmt.Sprint(value), allowed)
}

// invalid notes one fault, with what the file has and what is allowed.
func (d *document) invalid(p place, path, value, allowed string) {
	value = masked(value)
	if all := []rune(value); len(all) > maxShown {
		value = string(all[:maxShown]) + "…"
	}
	if value == "" || strings.ContainsFunc(value, func(r rune) bool { return !unicode.IsPrint(r) }) {
		value = strconv.Quote(value)
	}
	if path != "" {
		path = masked(path) + ": "
	}
	d.note(p, path, value+" is invalid: use "+allowed)
}

// maxShown bounds what a fault shows of a value, in characters.
const maxShown = 100

// note notes one fault. words go on where the path ends.
func (d *document) note(p place, path, words string) {
	at := d.file
	if p.line > 0 {
		at = fmt.Sprintf("%s:%d", at, p.line)
	}
	d.faults = append(d.faults, fault{p, at + ": " + path + words})
}

// The user and password of a URL, a password among its parameters, and a secret that runs into its
// key for want of a space.
var (
	credentials = regexp.MustCompile(`://.*@`)
	passwords   = regexp.MustCompile(`(?i)(password=)[^&\s]+`)
	keyed       = regexp.MustCompile(`(?is)\b((?:token|sha256|store):).*`)
)

// masked hides passwords and tokens, wherever they stand.
func masked(text string) string {
	text = passwords.ReplaceAllString(credentials.ReplaceAllString(text, "://…@"), "${1}…")
	return keyed.ReplaceAllString(text, "${1}…")
}

// secret marks a type whose values no message shows, nor what stands in the place of one.
type secret interface{ Secret() }

var secretType = reflect.TypeFor[secret]()

// describe shows in a few words a node that should be of type t: a value as the file has it.
func describe(n *yaml.Node, t reflect.Type) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a section"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case t != nil && t.Implements(secretType):
		return "(not shown)"
	case isQuoted(n):
		return strconv.Quote(n.Value)
	}
	return n.Value
}

func isQuoted(n *yaml.Node) bool {
	return n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
}

// below is the path of a key in the section at path.
func below(path, key string) string {
	return strings.TrimPrefix(path+"."+key, ".")
}
