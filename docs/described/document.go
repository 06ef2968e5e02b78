// Package described holds calls of the API to its description, docs/swagger.yaml. Only tests use
// it: a Recorder stands between a client and the network and checks each request and response.
package described

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"
)

// document is an OpenAPI 3.1 document. It is not safe for concurrent use.
type document struct {
	root     node
	compiler *jsonschema.Compiler
}

// resource is the name of the document for the compiler; nothing is fetched from there.
const resource = "https://loadbalancer.invalid/swagger.yaml"

// node is a value in a document. Where the document has a $ref, it is what that refers to.
type node struct {
	in    *document
	at    string // JSON pointer
	value any    // as encoding/json decodes it; nil: absent
}

// open reads a document. Every schema that is used later is compiled from its place in it, so that
// references are resolved by JSON Schema 2020-12 itself.
func open(file string) (*document, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var content any
	if err := yaml.Unmarshal(text, &content); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	// JSON's types are what the compiler knows.
	inJSON, err := json.Marshal(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(inJSON))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	d := &document{compiler: jsonschema.NewCompiler()}
	d.compiler.DefaultDraft(jsonschema.Draft2020)
	d.compiler.AssertFormat()
	if err := d.compiler.AddResource(resource, value); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	d.root = node{in: d, value: value}
	return d, nil
}

// get walks down from a node.
func (n node) get(keys ...string) node {
	for _, key := range keys {
		n = n.child(key).resolve()
	}
	return n
}

func (n node) child(key string) node {
	members, _ := n.value.(map[string]any)
	return node{n.in, n.at + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(key), members[key]}
}

// resolve follows a $ref. One that leads nowhere, or that stands beside a schema's other keywords,
// is left to the compiler.
func (n node) resolve() node {
	members, _ := n.value.(map[string]any)
	ref, isRef := members["$ref"].(string)
	if !isRef || len(members) != 1 {
		return n
	}
	found := n.in.root
	for key := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		found = found.child(strings.NewReplacer("~1", "/", "~0", "~").Replace(key))
	}
	if found.value == nil {
		return n
	}
	return found.resolve()
}

func (n node) exists() bool { return n.value != nil }

func (n node) text() string { text, _ := n.value.(string); return text }

func (n node) isTrue() bool { is, _ := n.value.(bool); return is }

// members are the keys of an object.
func (n node) members() map[string]any { members, _ := n.value.(map[string]any); return members }

// items are the elements of an array.
func (n node) items() (all []node) {
	values, _ := n.value.([]any)
	for i, value := range values {
		all = append(all, node{n.in, fmt.Sprintf("%s/%d", n.at, i), value}.resolve())
	}
	return all
}

// check validates a value against the schema at a node.
func (n node) check(value any) error {
	schema, err := n.compile()
	if err != nil {
		return err
	}
	return schema.Validate(value)
}

// compile compiles the schema at a node; the compiler keeps it.
func (n node) compile() (*jsonschema.Schema, error) {
	return n.in.compiler.Compile(resource + "#" + (&url.URL{Fragment: n.at}).EscapedFragment())
}
