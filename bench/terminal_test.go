package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestShowsCharts(t *testing.T) {
	for _, tt := range []struct {
		environment map[string]string
		want        bool
	}{
		{map[string]string{"TERM": "xterm", "LANG": "en_US.UTF-8"}, true},
		{map[string]string{"TERM": "tmux-256color", "LC_CTYPE": "C.utf8"}, true},
		{map[string]string{"TERM": "xterm", "LC_ALL": "C.UTF-8", "LANG": "C"}, true},
		{map[string]string{"TERM": "xterm", "LC_ALL": "C", "LANG": "en_US.UTF-8"}, false},
		{map[string]string{"TERM": "xterm", "LC_CTYPE": "POSIX", "LANG": "en_US.UTF-8"}, false},
		{map[string]string{"TERM": "xterm", "LANG": "de_DE.ISO-8859-1"}, false},
		{map[string]string{"TERM": "xterm"}, false},
		{map[string]string{"TERM": "linux", "LANG": "en_US.UTF-8"}, false},
		{map[string]string{"LANG": "en_US.UTF-8"}, false},
	} {
		if got := showsCharts(func(name string) string { return tt.environment[name] }); got != tt.want {
			t.Errorf("%v: %t, want %t", tt.environment, got, tt.want)
		}
	}
}

func TestFilesAreNoTerminals(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	utf8 := func(name string) string { return map[string]string{"TERM": "xterm", "LANG": "C.UTF-8"}[name] }
	if got := openTerminal(file, utf8); got != (terminal{}) {
		t.Errorf("a file is the terminal %v", got)
	}
	if got := openTerminal(&bytes.Buffer{}, utf8); got != (terminal{}) {
		t.Errorf("a buffer is the terminal %v", got)
	}
}
