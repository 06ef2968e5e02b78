package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
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

// Where no field is known, none is allowed.
func TestObjectWithoutFields(t *testing.T) {
	if _, err := ParseObject([]byte(" {} ")); err != nil {
		t.Error(err)
	}
	_, err := ParseObject([]byte(`{"a":1}`))
	if fault, ok := errors.AsType[*Fault](err); !ok || fault.Field != "a" || fault.Code != Invalid {
		t.Errorf("got %v", err)
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
		{"\ufeff{}", "", "byte order mark", Malformed},
		{"{\"a\":\"\xff\"}", "", "not UTF-8", Malformed},
		{"{\"\xc3\":1}", "", "not UTF-8", Malformed},
		{`{"a":"\ud800"}`, "", "surrogate", Malformed},
		{`{"a":"\udc00\ud800"}`, "", "surrogate", Malformed},
		{`{"a":"\ud800\ud800\udc00"}`, "", "surrogate", Malformed},
		{`{"a":01}`, "", "not JSON", Malformed},
		{`{"a":NaN}`, "", "not JSON", Malformed},
		{`{"a":1,}`, "", "not JSON", Malformed},
		{"{\"a\":1}\x00", "", "after top-level value", Malformed},
		{`{"a":` + nested(maxNesting) + `}`, "", "nested deeper than 32", Invalid},
		{"null", "", "allowed is one JSON object", Invalid},
		{"[{}]", "", "allowed is one JSON object", Invalid},
		{`{"a":1,"\u0061":2}`, "a", `"a" appears twice`, Invalid},
		{`{"A":1}`, "A", `"A" is unknown; allowed are ["a" "in"]`, Invalid},
		{`{"` + strings.Repeat("x", 200) + `":1}`, strings.Repeat("x", 100) + "…", "unknown", Invalid},
		{`{"in":[]}`, "in", `in is []; allowed is an object with the fields ["a"]`, Invalid},
		{`{"in":{"b":1}}`, "in.b", `"in.b" is unknown; allowed are ["a"]`, Invalid},
		{`{"in":{"a":1,"a":1}}`, "in.a", `"in.a" appears twice`, Invalid},
		{`{"a":[0,{"b":{"c":"a","d":[],"\u0063":2}}]}`, "a[1].b.c", `"a[1].b.c" appears twice`, Invalid},
		{`{"a":[{"\ud83d\ude00":1,"😀":1}]}`, "a[0].😀", "appears twice", Invalid},
		{`{"in":{"":1,"":1}}`, "in.", "appears twice", Invalid},
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

// nested returns JSON of n levels.
func nested(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

// TestObjectsAccepted has values at the edge of what is refused.
func TestObjectsAccepted(t *testing.T) {
	for _, value := range []string{
		nested(maxNesting - 1), `"\ud83d\ude00"`, `"\\ud800"`, `"\"{[,"`, `"\ufffd"`, `"\u0000"`, "-0.0e-0",
		"1e999999999", strings.Repeat("9", MaxBody/2), `[{"a":1},{"a":1,"b":"a"}]`, `{"a":"b","b":"a"}`, "true", "null",
	} {
		for _, body := range []string{`{"a":%s}`, ` { "a" : %s } `, "{\"b\":{},\n\"a\":\t%s\r\n,\"c\":1}"} {
			o, err := ParseObject([]byte(strings.Replace(body, "%s", value, 1)), "a", "b", "c")
			if err != nil {
				t.Errorf("%.50s: %v", value, err)
			} else if got, _ := o.Value("a"); string(got) != value {
				t.Errorf("%.50s: got %.50s", value, got)
			}
		}
	}
}

// TestHostileBodies parses bodies of 1 MiB that are made to cost much. All are refused in a time
// that a quadratic or recursive parser would exceed a hundredfold.
func TestHostileBodies(t *testing.T) {
	fill := func(begin, repeated string) []byte {
		return []byte(begin + strings.Repeat(repeated, (MaxBody-len(begin))/len(repeated)))
	}
	var distinct strings.Builder
	for i := 0; distinct.Len() < MaxBody-100; i++ {
		fmt.Fprintf(&distinct, `"%d":1,`, i)
	}
	for name, body := range map[string][]byte{
		"open arrays":       fill("", "["),
		"open objects":      fill("", `{"a":`),
		"nested arrays":     []byte(nested(MaxBody / 2)),
		"arrays in a field": []byte(`{"a":` + nested(MaxBody/2-10) + `}`),
		"10,000 levels":     []byte(`{"a":` + nested(9_990) + `}`),
		"empty arrays":      append(fill(`{"a":[`, "[],"), "0],\"b\":0}"...),
		"one name":          append(fill(`{`, `"a":1,`), `"a":1}`...),
		"many names":        []byte(`{"a":{` + distinct.String() + `"x":1,"x":1}}`),
		"escapes":           append(fill(`{"a":"`, `\u0061`), `","b":1}`...),
		"quotes":            append(fill(`{"a":"`, `\"`), `","b":1}`...),
		"a long name":       append(fill(`{"`, "x"), `":1}`...),
		"a long number":     append(fill(`{"a":`, "9"), `,"b":1}`...),
		"white space":       append(fill(`{"a":1`, " "), `,"b":1}`...),
	} {
		began := time.Now()
		_, err := ParseObject(body, "a")
		if f, ok := errors.AsType[*Fault](err); !ok || len(f.Message) > 500 || len(f.Field) > 200 {
			t.Errorf("%s: the error is %.500v", name, err)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("%s: took %s", name, took)
		}
	}
}

func BenchmarkParseObject(b *testing.B) {
	body := []byte(`{"ip_address":"192.0.2.17","capacity":100,"rate_per_second":12.5,"labels":{"tier":"gold","team":"a"}}`)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseObject(body, "ip_address", "name", "capacity", "rate_per_second", "labels"); err != nil {
			b.Fatal(err)
		}
	}
}

// readable reports whether encoding/json reads a body, and nothing else than what it says.
func readable(body []byte) bool {
	return json.Valid(body) && utf8.Valid(body) && !bytes.Contains(bytes.ToLower(body), []byte(`\ud`))
}

// FuzzParseObject checks that encoding/json reads an accepted object alike, and that no body is
// called malformed that is JSON.
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
			if fault.Code != Malformed && !json.Valid(body) || fault.Code == Malformed && readable(body) {
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
