package state

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func open(t *testing.T, path string) *File {
	t.Helper()
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func mustSet(t *testing.T, f *File, section string, value any) {
	t.Helper()
	if err := f.Set(section, value); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, f *File, section string) string {
	t.Helper()
	var value string
	if _, err := f.Get(section, &value); err != nil {
		t.Fatal(err)
	}
	return value
}

func TestFileKeeps(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lb.state")
	f := open(t, path)
	if _, err := os.Stat(path); err == nil {
		t.Error("a state that nothing was set in has a file")
	}
	mustSet(t, f, "a", "one")
	mustSet(t, f, "b", "two")
	mustSet(t, f, "a", "three")
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("the file has mode %v (%v)", info.Mode(), err)
	}
	for _, f := range []*File{f, open(t, path)} {
		if a, b, c := get(t, f, "a"), get(t, f, "b"), get(t, f, "c"); a != "three" || b != "two" || c != "" {
			t.Errorf("got %q, %q and %q", a, b, c)
		}
	}
	if left, _ := filepath.Glob(path + "*"); len(left) != 1 {
		t.Errorf("files are left: %v", left)
	}
}

// A section of another version of the program stays as it is, and so does one that another process
// has written meanwhile.
func TestUnknownSectionsStay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lb.state")
	if err := os.WriteFile(path, []byte(`{"version": 1, "later": {"x": [1.50, null]}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	f := open(t, path)
	mustSet(t, open(t, path), "other", "process")
	mustSet(t, f, "a", "one")
	var all map[string]json.RawMessage
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(strings.Fields(string(all["later"])), ""); got != `{"x":[1.50,null]}` {
		t.Errorf("the section is now %s", got)
	}
	if string(all["other"]) != `"process"` || string(all["a"]) != `"one"` {
		t.Errorf("the file is now %s", text)
	}
	if info, _ := os.Stat(path); info.Mode() != 0o600 {
		t.Errorf("the file has mode %v", info.Mode())
	}
}

func TestBadFiles(t *testing.T) {
	for text, want := range map[string]string{
		`{`:             "no JSON object",
		`[]`:            "no JSON object",
		`null`:          "no JSON object",
		`{}`:            "has the version , and this program knows version 1 alone",
		`{"version":2}`: "has the version 2, and this program knows version 1 alone",
	} {
		path := filepath.Join(t.TempDir(), "lb.state")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(path)
		if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "server.state") {
			t.Errorf("%s: %v", text, err)
		}
		if now, _ := os.ReadFile(path); string(now) != text {
			t.Errorf("%s is now %s", text, now)
		}
	}
	var f File
	f.sections = map[string]json.RawMessage{"a": json.RawMessage("5")}
	if found, err := f.Get("a", new(string)); found || err == nil {
		t.Error("a number is read as a text")
	}
}

func TestEmptyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lb.state")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	mustSet(t, open(t, path), "a", "one")
	if got := get(t, open(t, path), "a"); got != "one" {
		t.Errorf("got %q", got)
	}
}

func TestWithoutFile(t *testing.T) {
	f := open(t, "")
	mustSet(t, f, "a", "one")
	if get(t, f, "a") != "one" || get(t, open(t, ""), "a") != "" {
		t.Error("without a file, the state is not the process's own")
	}
}

// A folder that does not exist: nothing is kept, and the state is as it was.
func TestCannotWrite(t *testing.T) {
	f := open(t, filepath.Join(t.TempDir(), "none", "lb.state"))
	err := f.Set("a", "one")
	if err == nil || !strings.Contains(err.Error(), "server.state") {
		t.Errorf("got %v", err)
	}
	if got := get(t, f, "a"); got != "" {
		t.Errorf("it has %q", got)
	}
}

func TestConcurrentSets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lb.state")
	f := open(t, path)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			if err := f.Set(string(rune('a'+i)), "set"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	f = open(t, path)
	for i := range 8 {
		if get(t, f, string(rune('a'+i))) != "set" {
			t.Errorf("section %c is missing", 'a'+i)
		}
	}
}

// TestRemovedFile: what another has removed is written again with the next change.
func TestRemovedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lb.state")
	f := open(t, path)
	mustSet(t, f, "a", "one")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	mustSet(t, f, "b", "two")
	if again := open(t, path); get(t, again, "a") != "one" || get(t, again, "b") != "two" {
		t.Error("a section has gone with the file")
	}
}

// TestNoRegularFile: a pipe would block the start, and a device would be replaced.
func TestNoRegularFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lb.state")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{path, os.DevNull} {
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), path+" is no regular file") {
			t.Errorf("%s: got %v", path, err)
		}
	}
}
