package main

import (
	"fmt"
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"
)

// expand replaces ${NAME} and ${NAME:-default} in every value at or below a path. Keys are not
// changed.
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
	value, err := expandText(n.Value, lookup)
	if err != nil {
		d.invalid(place{n.Line, n.Column, ""}, path, err.shown, err.allowed)
		d.broken[n] = true
		return
	}
	n.Value = value
	n.Tag = "" // the new value decides its type; in quotes it is a string
	if n.Value != "" && n.ShortTag() == "!!null" {
		n.Tag = "!!str" // a token such as null or ~ is a string, not the absence of one
	}
}

// variableError says what is wrong with a ${…}. It shows neither a default nor anything that is not
// a variable name, because both may be part of a secret.
type variableError struct {
	shown, allowed string
	unset          bool // the only fault is that the variable is not set
}

// opening matches ${, the name of a variable and what follows it.
var opening = regexp.MustCompile(`^\$\{([A-Za-z_][A-Za-z0-9_]*)(:-|})`)

// expandText replaces the variables in a text. An empty variable counts as not set. Defaults may
// contain variables; the values of variables are used as they are.
func expandText(text string, lookup func(string) (string, bool)) (string, *variableError) {
	var expanded strings.Builder
	depth := 0 // of braces that belong to no variable
	for {
		start := strings.IndexAny(text, "${}")
		if start < 0 {
			break
		}
		expanded.WriteString(text[:start])
		text = text[start:]
		if strings.HasPrefix(text, "${") {
			value, rest, err := expandVariable(text, lookup)
			if err != nil {
				return "", err
			}
			expanded.WriteString(value)
			text = rest
			continue
		}
		switch text[0] {
		case '{':
			depth++
		case '}':
			depth--
		}
		if depth < 0 {
			return "", &variableError{shown: "}", allowed: "a { for each }"}
		}
		expanded.WriteByte(text[0])
		text = text[1:]
	}
	if depth > 0 {
		return "", &variableError{shown: "{", allowed: "a } for each {"}
	}
	return expanded.String() + text, nil
}

// expandVariable replaces the variable that a text begins with. It returns the value and the rest
// of the text.
func expandVariable(text string, lookup func(string) (string, bool)) (value, rest string, err *variableError) {
	part := opening.FindStringSubmatch(text)
	isClosed := closing(text[len("${"):]) >= 0
	switch {
	case !isClosed && part == nil:
		return "", "", &variableError{shown: "${", allowed: "a } for each {"}
	case !isClosed:
		return "", "", &variableError{shown: "${" + part[1], allowed: "a } for each {"}
	case part == nil:
		return "", "", &variableError{shown: "${", allowed: "${NAME} or ${NAME:-default}, NAME of letters, digits and _"}
	}
	whole, name := part[0], part[1]
	value, _ = lookup(name)
	if !strings.HasSuffix(whole, ":-") {
		if value == "" {
			return "", "", &variableError{shown: whole, allowed: fmt.Sprintf("a variable that is set in the environment, or a default: ${%s:-value}", name), unset: true}
		}
		return value, text[len(whole):], nil
	}
	text = text[len(whole):]
	end := closing(text)
	instead, err := expandText(text[:end], lookup)
	switch {
	case value != "" && (err == nil || err.unset): // the default is not needed
		return value, text[end+1:], nil
	case err != nil:
		return "", "", err
	}
	return instead, text[end+1:], nil
}

// closing returns the index of the } that closes a { before the text, or -1.
func closing(text string) int {
	depth := 1
	for i := range len(text) {
		switch text[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}
