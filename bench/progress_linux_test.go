package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"loadbalancer/bench/load"
)

// environment returns a getenv of a terminal that shows charts, with the settings put in.
func environment(settings ...string) func(string) string {
	all := append([]string{"TERM=xterm", "LANG=C.UTF-8"}, settings...)
	return func(name string) (value string) {
		for _, setting := range all {
			if n, v, _ := strings.Cut(setting, "="); n == name {
				value = v
			}
		}
		return value
	}
}

func progressAfter(seconds int64) load.Progress {
	return load.Progress{Elapsed: time.Duration(seconds) * time.Second, Responses: 100 * seconds, Statuses: map[int]int64{200: 100 * seconds}}
}

const lastLine = "   3.0s  300 responses  100/s   200: 300"

func TestProgressOnTerminals(t *testing.T) {
	for _, tt := range []struct {
		name          string
		columns, rows uint16
		settings      []string
		chart, color  bool
	}{
		{"a chart", 80, 24, nil, true, true},
		{"the smallest", 50, 15, nil, true, true},
		{"no color", 80, 24, []string{"NO_COLOR=1"}, true, false},
		{"too narrow", 49, 24, nil, false, false},
		{"too low", 80, 14, nil, false, false},
		{"size unknown", 0, 0, nil, false, false},
		{"no UTF-8", 80, 24, []string{"LANG=C"}, false, false},
	} {
		s := newScreen(t, tt.columns, tt.rows)
		p := newProgressPrinter(s.terminal, environment(tt.settings...))
		if p.interval != 250*time.Millisecond {
			t.Errorf("%s: every %s, want 250ms", tt.name, p.interval)
		}
		for i := int64(1); i <= 3; i++ {
			p.print(progressAfter(i))
		}
		s.await(t, lastLine)
		shown := s.shows()
		if chart := strings.Contains(shown, "100/s│⠉⠉") && strings.Contains(shown, "0└0s ──"); chart != tt.chart {
			t.Errorf("%s: a chart: %t, want %t; the screen shows\n%s", tt.name, chart, tt.chart, shown)
		}
		if strings.Count(shown, "responses") != 1 {
			t.Errorf("%s: more than the last is left:\n%s", tt.name, shown)
		}
		if color := strings.Contains(s.written(), "\x1b[36m"); color != tt.color {
			t.Errorf("%s: colored: %t, want %t", tt.name, color, tt.color)
		}
		p.finish()
		s.close()
		if shown := s.shows(); shown != "" {
			t.Errorf("%s: when all is done, the screen shows\n%s", tt.name, shown)
		}
	}
}

func TestProgressOnDumbTerminal(t *testing.T) {
	s := newScreen(t, 80, 24)
	p := newProgressPrinter(s.terminal, environment("TERM=dumb"))
	if p.interval != 5*time.Second {
		t.Errorf("every %s, want 5s", p.interval)
	}
	p.print(progressAfter(5))
	p.print(progressAfter(10))
	p.finish()
	s.close()
	want := "   5.0s  500 responses  100/s   200: 500\r\n  10.0s  1,000 responses  100/s   200: 1,000\r\n"
	if got := s.written(); got != want {
		t.Errorf("a dumb terminal gets %q, want %q", got, want)
	}
}

// TestProgressAfterResize checks that the chart of the old width is left alone, since the terminal
// may have wrapped it, and that the new one is erased.
func TestProgressAfterResize(t *testing.T) {
	s := newScreen(t, 80, 24)
	p := newProgressPrinter(s.terminal, environment())
	p.print(progressAfter(1))
	p.print(progressAfter(2))
	s.resize(t, 60, 24)
	p.print(progressAfter(3))
	s.await(t, lastLine)
	if shown := s.shows(); strings.Count(shown, "0└0s") != 2 || !strings.Contains(shown, "2s\n") {
		t.Errorf("after one resize, two charts should be shown:\n%s", shown)
	}
	s.resize(t, 20, 24) // no room
	p.print(progressAfter(4))
	s.await(t, "   4.0s  400 responses")
	p.finish()
	s.close()
	if shown := s.shows(); strings.Contains(shown, "4.0s") {
		t.Errorf("the last line is left:\n%s", shown)
	}
}

func TestProgressClipsItsLine(t *testing.T) {
	s := newScreen(t, 50, 24)
	p := newProgressPrinter(s.terminal, environment())
	now := progressAfter(3)
	now.Statuses[500] = 123_456_789
	p.print(now)
	s.await(t, "   3.0s  300 responses  100/s   200: 300  500: 1…")
	p.finish()
}

// TestInterruptOnTerminal starts bench as a process of its own whose terminal gets Ctrl-C, and
// checks that it ends with the report alone on a terminal of the same modes.
func TestInterruptOnTerminal(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	s := newScreen(t, 120, 40)
	modes, err := unix.IoctlGetTermios(int(s.terminal.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), executable, "--url="+server.URL, "--duration=1m", "--rate=200", "--connections=2")
	command.Env = append(os.Environ(), asBench+"=1", "TERM=xterm", "LC_ALL=C.UTF-8", "NO_COLOR=")
	command.Stdin, command.Stdout, command.Stderr = s.terminal, s.terminal, s.terminal
	command.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	s.await(t, "0└0s ──")
	s.await(t, "200: ")
	if _, err := s.master.WriteString("\x03"); err != nil {
		t.Fatal(err)
	}
	if err := command.Wait(); err != nil {
		t.Errorf("bench ended with %v, want 0", err)
	}
	after, err := unix.IoctlGetTermios(int(s.terminal.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	if *after != *modes {
		t.Errorf("the terminal's modes are %+v, were %+v", after, modes)
	}
	s.close()
	shown := s.shows()
	if !strings.HasPrefix(shown, "GET "+server.URL+" over 2 connections") || !strings.Contains(shown, "200 OK") || strings.ContainsAny(shown, "│└^") {
		t.Errorf("the screen shows\n%s\nwant the report alone", shown)
	}
}
