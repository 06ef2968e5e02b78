package management

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// schemas is where references to schemas lead.
const schemas = "#/components/schemas/"

// schema is what the page tells of a JSON Schema.
type schema struct {
	Ref         string `yaml:"$ref"`
	Type        types
	Format      string
	Description string
	Pattern     string
	Enum        []string
	Const       value
	Default     value
	Examples    []value

	Minimum          *string
	Maximum          *string
	ExclusiveMinimum *string `yaml:"exclusiveMinimum"`
	ExclusiveMaximum *string `yaml:"exclusiveMaximum"`
	MinLength        *int    `yaml:"minLength"`
	MaxLength        *int    `yaml:"maxLength"`
	MinItems         *int    `yaml:"minItems"`
	MaxItems         *int    `yaml:"maxItems"`
	MaxProperties    *int    `yaml:"maxProperties"`

	Items      *schema
	Properties named[*schema]
	Required   []string
	Additional *additional `yaml:"additionalProperties"`
	OneOf      []*schema   `yaml:"oneOf"`
	AnyOf      []*schema   `yaml:"anyOf"`
	AllOf      []*schema   `yaml:"allOf"`
}

// types are the values of the keyword type, which may be one string.
type types []string

// UnmarshalYAML reads a string or a list of strings.
func (t *types) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*t = types{n.Value}
		return nil
	}
	return n.Decode((*[]string)(t))
}

// additional is the schema of the members that have no names of their own; nil: none are allowed.
type additional struct{ *schema }

// UnmarshalYAML reads a schema or a boolean.
func (a *additional) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		return nil
	}
	return n.Decode(&a.schema)
}

// resolve follows references: to schemas, and to the first of the parts that one is made of.
func (d *description) resolve(s *schema) *schema {
	for s != nil && s.Ref != "" {
		name, isPart := strings.CutSuffix(strings.TrimPrefix(s.Ref, schemas), "/allOf/0")
		if s = d.Components.Schemas.get(name); isPart && s != nil && len(s.AllOf) > 0 {
			s = s.AllOf[0]
		}
	}
	if s == nil {
		return &schema{}
	}
	return s
}

// span is a piece of text, with or without a link.
type span struct{ Text, Anchor string }

// isObject reports whether a schema is shown among the types: it has fields.
func (s *schema) isObject() bool { return len(s.Properties) > 0 }

// spans are a schema's type in words: array of Client, integer or null.
func (d *description) spans(s *schema) (all []span) {
	if s == nil {
		return nil
	}
	name, isRef := strings.CutPrefix(s.Ref, schemas)
	s = d.resolve(s)
	switch {
	case isRef && s.isObject():
		all = []span{{name, "type-" + strings.ToLower(name)}}
		if len(s.Type) > 1 {
			all = append(all, span{Text: " or null"})
		}
		return all
	case len(s.AnyOf) > 0:
		for i, one := range s.AnyOf {
			if i > 0 {
				all = append(all, span{Text: " or "})
			}
			all = append(all, d.spans(one)...)
		}
		return all
	case s.Items != nil:
		return append([]span{{Text: "array of "}}, d.spans(s.Items)...)
	case s.Additional != nil && s.Additional.schema != nil:
		return append([]span{{Text: "object, each value "}}, d.spans(s.Additional.schema)...)
	case s.Format == "date-time":
		return []span{{Text: strings.Replace(strings.Join(s.Type, " or "), "string", "time (RFC 3339)", 1)}}
	case len(s.Type) == 0:
		return []span{{Text: "any value"}}
	}
	return []span{{Text: strings.Join(s.Type, " or ")}}
}

// bounds are what a schema allows, in words.
func (d *description) bounds(s *schema) (all []string) {
	s = d.resolve(s)
	for _, one := range s.AnyOf {
		all = append(all, d.bounds(one)...)
	}
	add := func(format string, value *string) {
		if value != nil {
			all = append(all, fmt.Sprintf(format, *value))
		}
	}
	if s.Minimum != nil && s.Maximum != nil {
		all = append(all, "from "+*s.Minimum+" to "+*s.Maximum)
	} else {
		add("at least %s", s.Minimum)
		add("above %s", s.ExclusiveMinimum)
		add("below %s", s.ExclusiveMaximum)
		add("at most %s", s.Maximum)
	}
	add("%s characters", fromTo(s.MinLength, s.MaxLength))
	add("%s items", fromTo(s.MinItems, s.MaxItems))
	add("%s members", fromTo(nil, s.MaxProperties))
	if len(s.Enum) > 0 {
		all = append(all, "one of "+strings.Join(s.Enum, ", "))
	}
	if s.Const.Node != nil {
		all = append(all, "always "+s.Const.Value)
	}
	if s.Pattern != "" {
		all = append(all, "matches "+s.Pattern)
	}
	if s.Default.Node != nil {
		all = append(all, "default "+jsonOf(s.Default.Node, ""))
	}
	if len(s.Examples) > 0 && s.Examples[0].Kind == yaml.ScalarNode && len(s.Enum) == 0 {
		all = append(all, "such as "+s.Examples[0].Value)
	}
	return all
}

// fromTo returns both bounds of a count, or the one that there is, or nil.
func fromTo(least, most *int) *string {
	var text string
	switch {
	case least != nil && most != nil:
		text = strconv.Itoa(*least) + " to " + strconv.Itoa(*most)
	case least != nil:
		text = "at least " + strconv.Itoa(*least)
	case most != nil:
		text = "at most " + strconv.Itoa(*most)
	default:
		return nil
	}
	return &text
}

// field is a member of an object, or a parameter.
type field struct {
	Name     string
	Required bool
	Schema   *schema
}

// fields are the members of an object, and those of the schemas that it is made of.
func (d *description) fields(s *schema) (all []field) {
	s = d.resolve(s)
	if s.Items != nil {
		return nil
	}
	for _, part := range s.AllOf {
		all = append(all, d.fields(part)...)
	}
	for _, p := range s.Properties {
		all = append(all, field{p.Key, slices.Contains(s.Required, p.Key), p.Value})
	}
	return all
}

// choice tells of fields one set of which has to be there; "": there is no choice.
func (d *description) choice(s *schema) string {
	var sets []string
	for _, one := range d.resolve(s).OneOf {
		if len(one.Required) > 0 {
			sets = append(sets, strings.Join(one.Required, " with "))
		}
	}
	if len(sets) < 2 {
		return ""
	}
	return "Has either " + strings.Join(sets, ", or ") + "."
}

// about is the description of a schema, or of what it refers to.
func (d *description) about(s *schema) string {
	if s == nil {
		return ""
	}
	if s.Description != "" {
		return s.Description
	}
	if found := d.resolve(s); !found.isObject() {
		if len(found.AnyOf) > 0 {
			return d.about(found.AnyOf[0])
		}
		return found.Description
	}
	return ""
}
