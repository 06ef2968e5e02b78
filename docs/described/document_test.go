package described

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

const file = "../swagger.yaml"

// TestDescription holds docs/swagger.yaml to OpenAPI 3.1 by the OpenAPI initiative's own schema of
// 2022-10-07, its schemas to JSON Schema 2020-12, and its examples to its schemas.
func TestDescription(t *testing.T) {
	d, err := open(file)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("testdata/openapi-3.1.json")
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	const openAPI = "https://spec.openapis.org/oas/3.1/schema/2022-10-07"
	if err := d.compiler.AddResource(openAPI, value); err != nil {
		t.Fatal(err)
	}
	if err := d.compiler.MustCompile(openAPI).Validate(d.root.value); err != nil {
		t.Error(err)
	}
	schemas, examples := 0, 0
	visit(d.root, false, func(n node, isSchema bool) {
		if isSchema {
			schemas++
			checkSchema(t, n)
		}
		examples += checkExamples(t, n, isSchema)
	})
	if schemas < 100 || examples < 50 {
		t.Errorf("%d schemas and %d examples were found", schemas, examples)
	}
	ids, tags := map[string]bool{}, []string{}
	for _, tag := range d.root.get("tags").items() {
		tags = append(tags, tag.get("name").text())
	}
	for _, o := range d.operations() {
		if id := o.node.get("operationId").text(); id == "" || ids[id] || !slices.Contains(tags, o.Tag) || o.node.get("summary").text() == "" {
			t.Errorf("%s %s lacks a tag of the list, a summary or an operationId of its own", o.Method, o.Path)
		} else {
			ids[id] = true
		}
	}
}

// visit calls f for each object of a document, and tells which are schemas. It follows no $ref.
func visit(n node, isSchema bool, f func(node, bool)) {
	values, _ := n.value.([]any)
	for i, item := range n.items() {
		if strings.HasPrefix(item.at, n.at+"/") && values[i] != nil { // no $ref
			visit(item, isSchema, f)
		}
	}
	if n.members() == nil {
		return
	}
	f(n, isSchema)
	for key := range n.members() {
		child := n.child(key)
		switch {
		case key == "example" || key == "examples" || key == "enum" || key == "const" || key == "default":
		case isSchema && (key == "properties" || key == "patternProperties" || key == "$defs"), !isSchema && key == "schemas":
			for name := range child.members() {
				visit(child.child(name), true, f)
			}
		default:
			visit(child, isSchema || key == "schema", f)
		}
	}
}

// keywords are those that schemas use here. JSON Schema ignores what it does not know: nullable, or
// a typing error.
var keywords = []string{
	"$ref", "type", "enum", "const", "format", "pattern", "minLength", "maxLength",
	"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
	"items", "minItems", "maxItems", "uniqueItems",
	"properties", "required", "additionalProperties", "unevaluatedProperties", "propertyNames", "minProperties", "maxProperties",
	"oneOf", "anyOf", "allOf", "not", "if", "then", "else", "dependentRequired",
	"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly",
}

// checkSchema compiles a schema. One that has properties allows no others, except as a part of
// another.
func checkSchema(t *testing.T, n node) {
	t.Helper()
	if _, err := n.compile(); err != nil {
		t.Errorf("%s: %v", n.at, err)
	}
	for key := range n.members() {
		if !slices.Contains(keywords, key) {
			t.Errorf("%s has the keyword %q, which is not one of %q", n.at, key, keywords)
		}
	}
	isPart := slices.ContainsFunc([]string{"/oneOf/", "/anyOf/", "/allOf/", "/not", "/if", "/then", "/else"}, func(within string) bool {
		return strings.Contains(n.at, within)
	})
	if closed := n.child("additionalProperties").exists() || n.child("unevaluatedProperties").exists(); n.child("properties").exists() && !closed && !isPart {
		t.Errorf("%s has properties and allows any other", n.at)
	}
}

// checkExamples checks the examples beside or in a schema, and counts them.
func checkExamples(t *testing.T, n node, isSchema bool) (count int) {
	t.Helper()
	schema, examples := n.get("schema"), []node{n.get("example")}
	if isSchema {
		schema, examples = n, n.get("examples").items()
	} else {
		for name := range n.get("examples").members() {
			examples = append(examples, n.get("examples", name, "value"))
		}
	}
	for _, example := range examples {
		if !schema.exists() || !example.exists() {
			continue
		}
		count++
		if err := schema.check(example.value); err != nil {
			t.Errorf("the example %s: %v", example.at, err)
		}
	}
	return count
}
