package management

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// description is what the page for people needs of an OpenAPI 3.1 document. References to anything
// but schemas are replaced by what they lead to.
type description struct {
	Info struct {
		Title, Description string
	}
	Servers []struct{ URL string }
	Tags    []struct{ Name, Description string }
	Paths   named[struct {
		Parameters                    []parameter
		Get, Post, Put, Patch, Delete *operation
	}]
	Components struct {
		Schemas   named[*schema]
		Responses named[response]
	}
}

type operation struct {
	Method, Path string
	Tags         []string
	ID           string `yaml:"operationId"`
	Summary      string
	Description  string
	Parameters   []parameter // those of the path, too
	RequestBody  struct {
		Required bool
		Content  named[media]
	} `yaml:"requestBody"`
	Responses named[response]
}

type parameter struct {
	Name, In, Description string
	Required              bool
	Schema                *schema
	Example               value
	Examples              named[example]
}

type response struct {
	Name        string `yaml:"x-name"` // under which it stands in the components, or ""
	Description string
	Headers     named[parameter]
	Content     named[media]
}

type media struct {
	Schema   *schema
	Example  value
	Examples named[example]
}

type example struct {
	Summary string
	Value   value
}

// value is an example of any type; its node is nil where there is none.
type value struct{ *yaml.Node }

// UnmarshalYAML keeps the node.
func (v *value) UnmarshalYAML(n *yaml.Node) error {
	v.Node = n
	return nil
}

// named is a mapping in the order of the document.
type named[T any] []entry[T]

type entry[T any] struct {
	Key   string
	Value T
}

// UnmarshalYAML decodes a mapping.
func (n *named[T]) UnmarshalYAML(y *yaml.Node) error {
	for i := 0; i+1 < len(y.Content); i += 2 {
		e := entry[T]{Key: y.Content[i].Value}
		if err := y.Content[i+1].Decode(&e.Value); err != nil {
			return err
		}
		*n = append(*n, e)
	}
	return nil
}

func (n named[T]) get(key string) (value T) {
	for _, e := range n {
		if e.Key == key {
			return e.Value
		}
	}
	return value
}

// parseDescription reads an OpenAPI document, which is valid.
func parseDescription(text []byte) (*description, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return nil, err
	}
	d := &description{}
	if len(root.Content) == 0 {
		return d, nil
	}
	if err := inline(&root, root.Content[0]); err != nil {
		return nil, err
	}
	return d, root.Decode(d)
}

// inline replaces the references below a node by what they lead to, except those to schemas.
func inline(root, n *yaml.Node) error {
	for i, child := range n.Content {
		ref := valueOf(child, "$ref")
		if ref != nil && !strings.HasPrefix(ref.Value, schemas) {
			target := root.Content[0]
			for key := range strings.SplitSeq(strings.TrimPrefix(ref.Value, "#/"), "/") {
				if target = valueOf(target, key); target == nil {
					return fmt.Errorf("line %d: %s leads nowhere", ref.Line, ref.Value)
				}
			}
			copied := *target
			name := ref.Value[strings.LastIndexByte(ref.Value, '/')+1:]
			copied.Content = append([]*yaml.Node{{Kind: yaml.ScalarNode, Value: "x-name"}, {Kind: yaml.ScalarNode, Value: name}}, copied.Content...)
			n.Content[i] = &copied
		}
		if err := inline(root, n.Content[i]); err != nil {
			return err
		}
	}
	return nil
}

// valueOf returns the value of a key in a mapping, or nil.
func valueOf(n *yaml.Node, key string) *yaml.Node {
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// operations returns the calls with a tag, in the order of the document.
func (d *description) operations(tag string) (all []*operation) {
	for _, path := range d.Paths {
		p := path.Value
		for _, m := range []struct {
			method string
			*operation
		}{{"GET", p.Get}, {"POST", p.Post}, {"PUT", p.Put}, {"PATCH", p.Patch}, {"DELETE", p.Delete}} {
			if m.operation == nil || !slices.Contains(m.Tags, tag) {
				continue
			}
			o := *m.operation
			o.Method, o.Path, o.Parameters = m.method, path.Key, append(slices.Clone(p.Parameters), o.Parameters...)
			all = append(all, &o)
		}
	}
	return all
}

// sorted returns responses by their statuses.
func sorted(all named[response]) named[response] {
	return slices.SortedStableFunc(slices.Values(all), func(a, b entry[response]) int { return strings.Compare(a.Key, b.Key) })
}

var (
	//go:embed page_api.html.tmpl
	pageTemplate string
	//go:embed page_api.css
	pageStyle string
)

// The two parts of the page that depend on who reads it, until descriptionPage.to fills them in.
const (
	anyServer = "http://lb.invalid"
	anyToken  = "-H authorization.invalid "
)

// descriptionPage is the API's description for people: one document, without scripts. It is
// immutable.
type descriptionPage struct {
	html   []byte
	policy string // Content-Security-Policy
}

// newDescriptionPage renders an OpenAPI document.
func newDescriptionPage(text []byte) (*descriptionPage, error) {
	d, err := parseDescription(text)
	if err != nil {
		return nil, err
	}
	page, err := template.New("page").Funcs(template.FuncMap{
		"text":       markdown,
		"operations": d.operations,
		"spans":      d.spans,
		"bounds":     d.bounds,
		"fields":     d.fields,
		"choice":     d.choice,
		"about":      d.about,
		"curls":      d.curls,
		"json":       func(v value) string { return jsonOf(v.Node, "\n") },
		"words":      inWords,
		"sorted":     sorted,
		"breakable":  breakable,
		"anchor":     func(name string) string { return strings.ToLower(name) },
		"class":      func(status string) string { return "s" + status[:1] },
		"style":      func() template.CSS { return template.CSS(pageStyle) },
		"isError":    func(status string) bool { return status >= "4" },
		"isProblem":  func(r response) bool { return r.Content.get("application/problem+json").Schema != nil },
	}).Parse(pageTemplate)
	if err != nil {
		return nil, err
	}
	var html bytes.Buffer
	if err := page.Execute(&html, d); err != nil {
		return nil, err
	}
	style := sha256.Sum256([]byte(pageStyle))
	return &descriptionPage{html: html.Bytes(), policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(style[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"}, nil
}

// plainHost is a host, with or without a port, that needs no quotes in a shell.
var plainHost = regexp.MustCompile(`^([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?$`)

// to returns the page with calls as its reader would make them: to the host that the request names,
// with a token where one is needed.
func (p *descriptionPage) to(host string, withToken bool) []byte {
	if !plainHost.MatchString(host) {
		host = "localhost:8081"
	}
	token := ""
	if withToken {
		token = `-H "Authorization: Bearer $LB_TOKEN" `
	}
	page := bytes.ReplaceAll(p.html, []byte(anyServer), []byte("http://"+template.HTMLEscapeString(host)))
	return bytes.ReplaceAll(page, []byte(anyToken), []byte(template.HTMLEscapeString(token)))
}
