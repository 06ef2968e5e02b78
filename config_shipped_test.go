package main

import (
	"reflect"
	"regexp"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// notDefault is how a comment of config.yaml marks a value, with the default in brackets.
var notDefault = regexp.MustCompile(`not the default \(([^()]*)\)`)

// Each value of config.yaml that is not the default is marked as such, with the default, and no
// other.
func TestShippedConfigMarksWhatIsNotTheDefault(t *testing.T) {
	text := readFile(t, "config.yaml")
	doc, err := readDocument("config.yaml", []byte(text), environment(nil))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(text, "\n")
	marked := requireMarks(t, lines, doc.root, reflect.ValueOf(defaultConfig()), "")
	if all := len(notDefault.FindAllString(text, -1)); all != marked || marked == 0 {
		t.Errorf("%d lines say that they are not the default, and %d values are not", all, marked)
	}
}

// requireMarks checks the values of a section against their defaults, and returns how many differ.
func requireMarks(t *testing.T, lines []string, n *yaml.Node, defaults reflect.Value, path string) (differ int) {
	t.Helper()
	fields := fieldValues(defaults)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at, of := below(path, key.Value), fields[key.Value]
		switch {
		case of.Kind() == reflect.Struct:
			differ += requireMarks(t, lines, value, of, at)
			continue
		case of.Kind() == reflect.Map: // of names, each with a section
			for j := 0; j+1 < len(value.Content); j += 2 {
				section := defaultsOf(t, of.Type().Elem())
				differ += requireMarks(t, lines, value.Content[j+1], section, below(at, value.Content[j].Value))
			}
			continue
		}
		mark := notDefault.FindStringSubmatch(lines[key.Line-1])
		switch same := reads(t, value, of); {
		case same && mark != nil:
			t.Errorf("config.yaml:%d: %s is the default, and marked as if it were not", key.Line, at)
		case !same && mark == nil:
			t.Errorf("config.yaml:%d: %s is not the default, and not marked", key.Line, at)
		case !same:
			differ++
			var told yaml.Node
			if err := yaml.Unmarshal([]byte(mark[1]), &told); err != nil || !reads(t, told.Content[0], of) {
				t.Errorf("config.yaml:%d: the default of %s is %v, not %s", key.Line, at, of, mark[1])
			}
		}
	}
	return differ
}

// reads reports whether a node gives a value.
func reads(t *testing.T, n *yaml.Node, value reflect.Value) bool {
	t.Helper()
	got := reflect.New(value.Type()).Elem()
	got.Set(value) // what an empty node leaves as it is
	if err := n.Decode(got.Addr().Interface()); err != nil {
		t.Fatal(err)
	}
	if value.Kind() == reflect.Slice && got.Len()+value.Len() == 0 {
		return true
	}
	return reflect.DeepEqual(got.Interface(), value.Interface())
}

// defaultsOf returns what an empty section of a type decodes to.
func defaultsOf(t *testing.T, of reflect.Type) reflect.Value {
	t.Helper()
	v := reflect.New(of)
	if err := yaml.Unmarshal([]byte("{}"), v.Interface()); err != nil {
		t.Fatal(err)
	}
	return reflect.Indirect(v.Elem())
}

// fieldValues maps the yaml keys of a struct, and of those inlined in it, to its values.
func fieldValues(v reflect.Value) map[string]reflect.Value {
	values := map[string]reflect.Value{}
	for i := range v.NumField() {
		name, option, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		if option == "inline" {
			for key, inlined := range fieldValues(v.Field(i)) {
				values[key] = inlined
			}
			continue
		}
		values[name] = v.Field(i)
	}
	return values
}
