package rest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

// withLines returns a request that has a header field on these lines.
func withLines(name string, lines []string) *fasthttp.RequestCtx {
	var ctx fasthttp.RequestCtx
	for _, line := range lines {
		ctx.Request.Header.Add(name, line)
	}
	return &ctx
}

// requireMalformed checks that an error is a fault that names the header field.
func requireMalformed(t *testing.T, what any, err error, field string) {
	t.Helper()
	if f, ok := errors.AsType[*Fault](err); !ok || f.Code != Malformed || f.Field != field || len(f.Message) > 300 {
		t.Errorf("%q: the error is %v", what, err)
	}
}

func TestIfMatch(t *testing.T) {
	const has = `"a1"` // the entity tag of what there is
	for _, c := range []struct {
		lines  []string
		want   string // of fmt, "" for a fault
		holds  bool   // for has
		absent bool   // holds for nothing
	}{
		{nil, "{false false []}", true, true},
		{[]string{"*"}, "{true true []}", true, false},
		{[]string{" *\t"}, "{true true []}", true, false},
		{[]string{`"a1"`}, `{true false ["a1"]}`, true, false},
		{[]string{`"b2"`}, `{true false ["b2"]}`, false, false},
		{[]string{`"b2", "a1"`}, `{true false ["b2" "a1"]}`, true, false},
		{[]string{`"b2"`, `"a1"`}, `{true false ["b2" "a1"]}`, true, false},
		{[]string{`, ,"b2","a1" ,`}, `{true false ["b2" "a1"]}`, true, false},
		{[]string{`W/"a1"`}, `{true false []}`, false, false},
		{[]string{`W/"a1", "a1"`}, `{true false ["a1"]}`, true, false},
		{[]string{`""`}, `{true false [""]}`, false, false},
		{[]string{`"a,1", "*"`}, `{true false ["a,1" "*"]}`, false, false},
		{[]string{"\"\xe9\""}, "{true false [\"\xe9\"]}", false, false},
		{[]string{""}, "", false, false},
		{[]string{", ,"}, "", false, false},
		{[]string{"a1"}, "", false, false},
		{[]string{`"a1`}, "", false, false},
		{[]string{`"`}, "", false, false},
		{[]string{"W/"}, "", false, false},
		{[]string{`w/"a1"`}, "", false, false},
		{[]string{`W/*`}, "", false, false},
		{[]string{`"a1" "a2"`}, "", false, false},
		{[]string{`"a 1"`}, "", false, false},
		{[]string{"*, *"}, "", false, false},
		{[]string{`*`, `"a1"`}, "", false, false},
		{[]string{`"` + strings.Repeat("x", 1000)}, "", false, false},
	} {
		m, err := IfMatch(withLines("If-Match", c.lines))
		if c.want == "" {
			requireMalformed(t, c.lines, err, "If-Match")
			continue
		}
		if got := fmt.Sprint(m); err != nil || got != c.want || m.Holds(has) != c.holds || m.Holds("") != c.absent {
			t.Errorf("%q: got %s, holds: %v, for nothing: %v, %v", c.lines, got, m.Holds(has), m.Holds(""), err)
		}
	}
}

func TestIdempotencyKey(t *testing.T) {
	longest := strings.Repeat("k", 255)
	for _, c := range []struct {
		lines []string
		want  string
		bad   bool
	}{
		{lines: nil},
		{lines: []string{"8e03978e-40d5-43dd-bc93-6894a57f9324"}, want: "8e03978e-40d5-43dd-bc93-6894a57f9324"},
		{lines: []string{`"8e03978e"`}, want: "8e03978e"},
		{lines: []string{` "a,b" `}, want: "a,b"},
		{lines: []string{`"a\"b\\c"`}, want: `a"b\c`},
		{lines: []string{`a\b;c=d`}, want: `a\b;c=d`},
		{lines: []string{longest}, want: longest},
		{lines: []string{`"` + longest + `"`}, want: longest},
		{lines: []string{longest + "k"}, bad: true},
		{lines: []string{`"` + longest + `k"`}, bad: true},
		{lines: []string{""}, bad: true},
		{lines: []string{`""`}, bad: true},
		{lines: []string{`"`}, bad: true},
		{lines: []string{`"a`}, bad: true},
		{lines: []string{`"a\`}, bad: true},
		{lines: []string{`"a\b"`}, bad: true},
		{lines: []string{`"a"b`}, bad: true},
		{lines: []string{`"a";b=c`}, bad: true},
		{lines: []string{`a"b`}, bad: true},
		{lines: []string{"a,b"}, bad: true},
		{lines: []string{"a b"}, bad: true},
		{lines: []string{`"a b"`}, bad: true},
		{lines: []string{"ä"}, bad: true},
		{lines: []string{"a", "a"}, bad: true},
	} {
		key, err := IdempotencyKey(withLines("Idempotency-Key", c.lines))
		if c.bad {
			requireMalformed(t, c.lines, err, "Idempotency-Key")
		} else if err != nil || key != c.want {
			t.Errorf("%q: got %q, %v", c.lines, key, err)
		}
	}
}

// FuzzConditions checks that every value is either refused or read as one that means the same when
// it is sent again.
func FuzzConditions(f *testing.F) {
	f.Add(`"a1", W/"b"`)
	f.Add(`"a\"b"`)
	f.Fuzz(func(t *testing.T, value string) {
		if m, err := IfMatch(withLines("If-Match", []string{value})); err == nil && !m.Any {
			again, err := IfMatch(withLines("If-Match", append([]string{`W/"x"`}, m.Tags...)))
			if err != nil || fmt.Sprint(again) != fmt.Sprint(m) {
				t.Fatalf("%q: got %v, again %v, %v", value, m, again, err)
			}
		}
		if key, err := IdempotencyKey(withLines("Idempotency-Key", []string{value})); err == nil {
			quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(key) + `"`
			if again, err := IdempotencyKey(withLines("Idempotency-Key", []string{quoted})); err != nil || again != key {
				t.Fatalf("%q: got %q, again %q, %v", value, key, again, err)
			}
		}
	})
}
