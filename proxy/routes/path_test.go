package routes

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestForm(t *testing.T) {
	for path, want := range map[string]string{
		"/":                    "/",
		"//":                   "/",
		"/.":                   "/",
		"/..":                  "/",
		"/./":                  "/",
		"/../":                 "/",
		"/...":                 "/...",
		"/a":                   "/a",
		"/a/":                  "/a/",
		"/a/.":                 "/a/",
		"/a/..":                "/",
		"/a/b/..":              "/a/",
		"/a/b/../":             "/a/",
		"/a/b/../..":           "/",
		"/a/b/../../..":        "/",
		"/a//b/..":             "/a/",
		"//../a":               "/a",
		"//a/../../b":          "/b",
		"/a/..//../b":          "/b",
		"/a/.//b/./..":         "/a/",
		"/a/b/c/./../../g":     "/a/g",
		"/a..":                 "/a..",
		"/..a/b":               "/..a/b",
		"/%7Ea%2D%5f":          "/~a-_",
		"/%7ea%20b":            "/~a%20b",
		"/%c3%a9":              "/%c3%a9",
		"/%2f":                 "/%2f",
		"/a;b":                 "/a;b",
		`/a\b`:                 `/a\b`,
		"/%2e%2E%2e":           "/...",
		"/%25":                 "/%25",
		"/%2565":               "/%2565",
		"/a/%2e":               "/a/",
		"/main...a%2Fb/x":      "/main...a%2Fb/x",
		"/x;v=1.0..2;y/z":      "/x;v=1.0..2;y/z",
		"/a.;b":                "/a.;b",
		"/x/./;a":              "/x/;a",
		"/" + "%61%62%63/../d": "/d",
	} {
		got, err := appendForm(nil, []byte(path))
		if err != nil || string(got) != want {
			t.Errorf("%s: got %s, %v, want %s", path, got, err, want)
		}
	}
	for path, want := range map[string]error{
		"/..;":         errClimbs,
		"/;..":         errClimbs,
		"/a..;":        errClimbs,
		"/;..a":        errClimbs,
		"/..%3B":       errClimbs,
		"/a/../b;c":    errClimbs,
		"/a;b/..":      errClimbs,
		`/a\b/%2e%2e/`: errClimbs,
		"/%5C..%5C":    errClimbs,
		"/...%2f":      errClimbs, // it ends in ..
		"/a//..":       errClimbs, // /a/ or /
		"/a//../b":     errClimbs,
		"//a//../b":    errClimbs,
		"/a/.//%2e./b": errClimbs,
		"/a//b/../..":  errClimbs,
		"/%":           errEscape,
		"/%4":          errEscape,
		"/%4g":         errEscape,
		"/%00":         errEscape,
		"/..%2f%":      errEscape,
	} {
		if got, err := appendForm(nil, []byte(path)); !errors.Is(err, want) {
			t.Errorf("%s: got %s, %v, want %v", path, got, err, want)
		}
	}
}

func TestPrefix(t *testing.T) {
	for _, test := range []struct {
		prefix, form string
		n            int // -1: it does not cover the form
	}{
		{"", "", 0},
		{"", "/a", 0},
		{"", "/%20", 0},
		{"/", "/", 1},
		{"/", "/a", 1},
		{"/", "", -1},
		{"/a", "/a", 2},
		{"/a", "/a/", 2},
		{"/a", "/a/b", 2},
		{"/a", "/ab", -1},
		{"/a", "/", -1},
		{"/a/", "/a", -1},
		{"/a/", "/a/", 3},
		{"/a/", "/a/b", 3},
		{"/a", "/a%2Fb", -1},
		{"/a", "/a%20", -1},
		{"/a%2Fb", "/a%2fb", 6},
		{"/a%2Fb", "/a/b", -1},
		{"/a/b", "/a%2fb", -1},
		{"/!", "/%21/", 4},
		{"/%21", "/!", 2},
		{"/%21", "/%2", -1},
		{"/%c3", "/%C3/x", 4},
		{"/%25", "/%25", 4},
		{"/%2525", "/%25", -1},
		{"/a%20", "/a", -1},
	} {
		p := newPrefix(test.prefix)
		n, ok := p.covers([]byte(test.form), strings.Contains(test.form, "%"))
		if ok != (test.n >= 0) || ok && n != test.n {
			t.Errorf("%s of %s: got %d, %v", test.prefix, test.form, n, ok)
		}
	}
}

// pieces are what hostile paths are made of.
var pieces = []string{"/", "//", ".", "..", "a", "b", "%2e", "%2E", "%2f", "%2F", "%5c", `\`, ";", "%3b", "%", "%25", "%61", "%c0%ae", "%00", "2e", "%2", "/../", "/./", "~", "!"}

// randomPath returns a path of random pieces.
func randomPath(random *rand.Rand) []byte {
	path := []byte("/")
	for range random.IntN(9) {
		path = append(path, pieces[random.IntN(len(pieces))]...)
	}
	return path
}

// checkForm holds what appendForm promises for a path.
func checkForm(t *testing.T, path []byte) {
	t.Helper()
	form, err := appendForm(nil, path)
	if err != nil {
		if isForm(path) {
			t.Errorf("%q has a fault that is overlooked: %v", path, err)
		}
		return
	}
	if isForm(path) && !bytes.Equal(form, path) {
		t.Errorf("%q counts as its form, which is %q", path, form)
	}
	if len(form) > len(path) {
		t.Errorf("the form %q is longer than %q", form, path)
	}
	if len(form) == 0 || form[0] != '/' || bytes.Contains(form, []byte("//")) {
		t.Errorf("%q has the form %q", path, form)
	}
	for segment := range strings.SplitSeq(string(form), "/") {
		if segment == "." || segment == ".." {
			t.Errorf("%q has the form %q, with a dot segment", path, form)
		}
	}
	if again, err := appendForm(nil, form); err != nil || !bytes.Equal(again, form) {
		t.Errorf("%q has the form %q, which has the form %q, %v", path, form, again, err)
	}
}

func TestFormOfRandomPaths(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		if checkForm(t, randomPath(random)); t.Failed() {
			return
		}
	}
}

// FuzzForm looks for a path whose form is not one, and for one that a server that takes more for
// separators would read as climbing out of it.
func FuzzForm(f *testing.F) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		f.Add(randomPath(random))
	}
	f.Fuzz(func(t *testing.T, path []byte) {
		if len(path) > 0 && path[0] == '/' {
			checkForm(t, path)
			checkNoSlip(t, path)
		}
	})
}

func TestNoRandomPathSlips(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 200_000 {
		if checkNoSlip(t, randomPath(random)); t.Failed() {
			return
		}
	}
}

// checkNoSlip compares a form that has no fault with what servers make of the path that take a
// separator for a / or that drop parameters: they climb to no place outside of the form's. It is the
// same whether runs of / are made one before dot segments are removed or behind that.
func checkNoSlip(t *testing.T, path []byte) {
	t.Helper()
	form, err := appendForm(nil, path)
	if err != nil {
		return
	}
	for _, first := range []bool{false, true} {
		if got := withoutDots(string(form), first); got != string(form) {
			t.Errorf("%q has the form %q, which leads to %q", path, form, got)
		}
		plain, _ := resolved(string(path), false)
		plainForm, _ := resolved(string(form), false)
		if got := withoutDots(plain, first); got != plainForm {
			t.Errorf("%q has the form %q, but leads to %q", path, form, got)
		}
	}
	_, climbs := resolved(string(path), false)
	if _, also := resolved(string(path), true); also && !climbs {
		t.Errorf("%q climbs where a separator is taken for a /", path)
	}
	if strings.Contains(string(path), ";") && climbs {
		t.Errorf("%q climbs, and has parameters", path)
	}
}

// resolved decodes a path in the plainest way, and reports whether a segment of it is "..". lax takes
// what some servers take for a separator for a /.
func resolved(path string, lax bool) (text string, climbs bool) {
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		c := path[i]
		if value, ok := unescape([]byte(path[i:])); ok {
			if c, i = value, i+2; value == '/' && !lax {
				b.WriteString("%2f")
				continue
			}
		}
		if lax && strings.IndexByte(`\;`, c) >= 0 {
			c = '/'
		}
		b.WriteByte(c)
	}
	for segment := range strings.SplitSeq(b.String(), "/") {
		climbs = climbs || segment == ".."
	}
	return b.String(), climbs
}

// withoutDots removes dot segments as RFC 3986, section 5.2.4, has it, and makes runs of / one:
// before that, or behind it.
func withoutDots(path string, runsFirst bool) string {
	segments := strings.Split(path, "/")[1:]
	names, last := segments[:len(segments)-1], segments[len(segments)-1]
	if last == "." || last == ".." {
		names, last = segments, ""
	}
	isEmpty := func(name string) bool { return name == "" }
	if runsFirst {
		names = slices.DeleteFunc(names, isEmpty)
	}
	var kept []string
	for _, name := range names {
		switch {
		case name == "..":
			kept = kept[:max(0, len(kept)-1)]
		case name != ".":
			kept = append(kept, name)
		}
	}
	return "/" + strings.Join(append(slices.DeleteFunc(kept, isEmpty), last), "/")
}
