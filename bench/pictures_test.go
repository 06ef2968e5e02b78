package main

import (
	"bytes"
	"errors"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"loadbalancer/bench/load"
)

func TestLoadWritesReportBesideChart(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	folder := t.TempDir()
	chart, page := filepath.Join(folder, "load.png"), filepath.Join(folder, "load.html")
	var stdout, stderr bytes.Buffer
	args := []string{"--url=" + server.URL, "--requests=20", "--connections=2", "--chart=" + chart, "--report=" + page}
	if err := run(t.Context(), args, &stdout, &stderr); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(page)
	if err != nil || !bytes.HasPrefix(content, []byte("<!doctype html>")) || !bytes.HasSuffix(content, []byte("</html>\n")) {
		t.Errorf("the page: %v\n%s", err, content)
	}
	f, err := os.Open(chart)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := png.Decode(f); err != nil {
		t.Errorf("the chart is no PNG: %v", err)
	}
	if want := "chart written to " + chart + "\nreport written to " + page + "\n"; stderr.String() != want {
		t.Errorf("stderr is %q, want %q", &stderr, want)
	}
	wantFiles(t, folder, "load.html", "load.png")
}

// TestPictureIsWrittenWholeOrNotAtAll checks that a file stays as it was until the whole of the new
// one replaces it.
func TestPictureIsWrittenWholeOrNotAtAll(t *testing.T) {
	folder := t.TempDir()
	name := filepath.Join(folder, "load.html")
	if err := os.WriteFile(name, []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	content := func() string {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	broken := errors.New("broken")
	p := picture{"report", name, func(w io.Writer, _ string, _ *load.Result) error {
		_, _ = io.WriteString(w, strings.Repeat("half", 10_000))
		return broken
	}}
	if err := p.validate(); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, folder, "load.html")
	if err := p.save("bench", nil); !errors.Is(err, broken) || !strings.Contains(err.Error(), "--report="+name) {
		t.Errorf("error %v, want %v with the flag", err, broken)
	}
	if got := content(); got != "before" {
		t.Errorf("after half a page, the file has %d bytes, want those before", len(got))
	}
	wantFiles(t, folder, "load.html")
	p.write = func(w io.Writer, command string, _ *load.Result) error {
		_, err := io.WriteString(w, command)
		if got := content(); got != "before" {
			t.Errorf("while the page is written, the file is %q, want what was there before", got)
		}
		return err
	}
	if err := p.save("after", nil); err != nil || content() != "after" {
		t.Errorf("error %v, the file is %q, want nil, after", err, content())
	}
	wantFiles(t, folder, "load.html")
}

func wantFiles(t *testing.T, folder string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got := strings.Join(names, " "); got != strings.Join(want, " ") {
		t.Errorf("the folder has %s, want %s", got, strings.Join(want, " "))
	}
}
