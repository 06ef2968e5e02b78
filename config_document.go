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

// document is a config file that is decoded strictly. It keeps the place of every value, so that
// faults can be shown where they are, and collects faults, so that all are reported at once.
type document struct {
	file   string
	root   *yaml.Node
	places map[string]place // by path, such as pools.main.backends[2].url
	faults []fault

	// Paths and nodes with a reported fault. A second fault there is only a consequence of the
	// first.
	told   map[string]bool
	broken map[*yaml.Node]bool
}

// place is the line and column of a value, counted from 1, and its spelling in the file. Line 0
// means that the file does not contain it.
type place struct {
	line, column int
	text         string
}

// fault is one fault of the file.
type fault struct {
	place
	words string
}

// readDocument parses YAML and substitutes environment variables.
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

// decode decodes the document into c. Unknown keys and wrong types are faults. In place of a faulty
// value, c gets one that no check accepts.
func (d *document) decode(c *config) error {
	d.root = d.check(d.root, reflect.TypeOf(*c), "")
	if err := d.root.Decode(c); err != nil {
		return fmt.Errorf("%s: %w", d.file, err)
	}
	if d.told["pools"] { // the names of the pools are then unknown
		for i := range c.Routes {
			d.told[fmt.Sprintf("routes[%d].pool", i)] = true
		}
	}
	return nil
}

// err returns all faults in the order of their lines, and last those of values that the file does
// not contain. It returns nil if there are none.
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

// wrong records that the value at a path is invalid, unless that is a consequence of an earlier
// fault. The line is that of the value or, if the file does not contain it, of the nearest
// enclosing section.
func (d *document) wrong(path string, value any, allowed string) {
	if d.told[path] {
		return
	}
	p, inFile := d.places[path]
	if text, isText := value.(string); (!isText || text == "") && p.text != "" {
		value = p.text // as spelled in the file: 24h, not 24h0m0s
	}
	p = d.near(path)
	if value == "" && !inFile {
		d.note(p, masked(path), " is missing: use "+allowed)
		return
	}
	d.invalid(p, path, fmt.Sprint(value), allowed)
}

// near returns the place of the value at a path or, if the file does not contain it, of the nearest
// enclosing section.
func (d *document) near(path string) place {
	p := d.places[path]
	for at := path; p.line == 0 && at != ""; p = d.places[at] {
		at = at[:max(0, strings.LastIndexAny(at, ".["))]
	}
	return p
}

// invalid records a fault, with the value in the file and what is allowed.
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

// maxShown is the most characters of a value that a fault shows.
const maxShown = 100

// note records a fault. words continue the sentence that begins with the path.
func (d *document) note(p place, path, words string) {
	at := d.file
	if p.line > 0 {
		at = fmt.Sprintf("%s:%d", at, p.line)
	}
	d.faults = append(d.faults, fault{p, at + ": " + path + words})
}

// These match a key in PEM where the path of its file belongs, the user and password of a URL, a
// password among its parameters, and a secret that runs into its key because a space is missing.
var (
	inPEM       = regexp.MustCompile(`(?s)(-----BEGIN [A-Z ]*).*`)
	credentials = regexp.MustCompile(`://.*@`)
	passwords   = regexp.MustCompile(`(?i)(password=)[^&\s]+`)
	keyed       = regexp.MustCompile(`(?is)\b((?:token|sha256|store|share|secret):).*`)
)

// masked hides passwords, tokens and keys, wherever they occur.
func masked(text string) string {
	text = inPEM.ReplaceAllString(text, "${1}…")
	text = passwords.ReplaceAllString(credentials.ReplaceAllString(text, "://…@"), "${1}…")
	return keyed.ReplaceAllString(text, "${1}…")
}

// secret marks types whose values, and whatever is written in their place, no message shows.
type secret interface{ Secret() }

var secretType = reflect.TypeFor[secret]()

// describe describes a node that should be of type t in a few words, with its spelling in the file.
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

// below returns the path of a key in the section at path.
func below(path, key string) string {
	return strings.TrimPrefix(path+"."+key, ".")
}
