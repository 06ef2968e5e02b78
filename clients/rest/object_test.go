package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestParseObject(t *testing.T) {
	o, err := ParseObject([]byte(` {"a" : [1, {"x":2}],"b":null,"c":"\u0061","in":{"a":1.0}} `), "a", "b", "c", "d", "in")
	if err != nil {
		t.Fatal(err)
	}
	if value, ok := o.Value("a"); !ok || string(value) != `[1, {"x":2}]` {
		t.Errorf("a is %q, %t", value, ok)
	}
	if value, ok := o.Value("d"); ok {
		t.Errorf("d is %q", value)
	}
	if text, ok := o.Text("c"); !ok || text != "a" {
		t.Errorf("c is %q, %t", text, ok)
	}
	for _, field := range []string{"a", "b", "d"} {
		if text, ok := o.Text(field); ok {
			t.Errorf("%s is the string %q", field, text)
		}
	}
	inner, err := o.Object("in", "a")
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(inner.Wrong("a", "2"), "|", inner.Missing("b"), "|", o.Missing("d")); got !=
		`in.a is 1.0; allowed is 2|the field "in.b" is missing|the field "d" is missing` {
		t.Error(got)
	}
	o.DropNulls("a", "b", "d")
	if _, ok := o.Value("b"); ok {
		t.Error("a null was not dropped")
	}
	if _, ok := o.Value("a"); !ok {
		t.Error("more than nulls were dropped")
	}
}

func TestObjectsRefused(t *testing.T) {
	for _, c := range []struct {
		body, field, message string
		code                 Code
	}{
		{"", "", "not JSON", Malformed},
		{"{", "", "at byte 1", Malformed},
		{"{}x", "", "after top-level value", Malformed},
		{"{}{}", "", "after top-level value", Malformed},
		{strings.Repeat("[", 20000), "", "not JSON", Malformed},
		{"null", "", "allowed is one JSON object", Invalid},
		{"[{}]", "", "allowed is one JSON object", Invalid},
		{`{"a":1,"\u0061":2}`, "a", `"a" is there twice`, Invalid},
		{`{"A":1}`, "A", `"A" is unknown; allowed are ["a" "in"]`, Invalid},
		{`{"` + strings.Repeat("x", 200) + `":1}`, strings.Repeat("x", 100) + "…", "unknown", Invalid},
		{`{"in":[]}`, "in", `in is []; allowed is an object with the fields ["a"]`, Invalid},
		{`{"in":{"b":1}}`, "in.b", `"in.b" is unknown; allowed are ["a"]`, Invalid},
		{`{"in":{"a":1,"a":1}}`, "in.a", `"in.a" is there twice`, Invalid},
	} {
		o, err := ParseObject([]byte(c.body), "a", "in")
		if err == nil {
			_, err = o.Object("in", "a")
		}
		f, ok := errors.AsType[*Fault](err)
		if !ok {
			t.Errorf("%.50s: the error is %v", c.body, err)
			continue
		}
		if f.Code != c.code || f.Field != c.field || !strings.Contains(f.Message, c.message) {
			t.Errorf("%.50s: got %+v, want %+v", c.body, f, c)
		}
	}
}

// FuzzParseObject checks that encoding/json reads an accepted object alike, and that it refuses
// none but those that are not JSON.
func FuzzParseObject(f *testing.F) {
	f.Add([]byte(`{"a":1,"in":{"a":null}}`))
	f.Add([]byte(`{"a":1,"\u0061":{}} `))
	f.Fuzz(func(t *testing.T, body []byte) {
		o, err := ParseObject(body, "a", "in")
		if err != nil {
			fault, ok := errors.AsType[*Fault](err)
			if !ok {
				t.Fatalf("the error is a %T: %v", err, err)
			}
			if (fault.Code == Malformed) == json.Valid(body) {
				t.Fatalf("%q is refused with %+v", body, fault)
			}
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(body, &want); err != nil || len(want) != len(o.fields) {
			t.Fatalf("accepted %q with %d fields, want %d, %v", body, len(o.fields), len(want), err)
		}
		for field, value := range want {
			if string(o.fields[field]) != string(value) {
				t.Fatalf("%q is %q, want %q", field, o.fields[field], value)
			}
		}
	})
}
