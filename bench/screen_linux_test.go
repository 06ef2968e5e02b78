package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// screen is a terminal of the kernel's with what it shows. It knows the escape sequences that bench
// uses, and complains about any other.
type screen struct {
	master, terminal *os.File
	done             chan struct{}

	mu      sync.Mutex
	raw     strings.Builder
	lines   [][]rune
	row     int
	column  int
	escape  []rune // an escape sequence that has begun
	unknown []string
}

func newScreen(t *testing.T, columns, rows uint16) *screen {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := &screen{master: master, terminal: terminal, done: make(chan struct{}), lines: [][]rune{nil}}
	s.resize(t, columns, rows)
	go s.read()
	t.Cleanup(func() {
		s.close()
		master.Close()
		if len(s.unknown) > 0 {
			t.Errorf("escape sequences that this terminal does not know: %q", s.unknown)
		}
	})
	return s
}

func (s *screen) resize(t *testing.T, columns, rows uint16) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(s.terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows}); err != nil {
		t.Fatal(err)
	}
}

// close ends the writers' end and waits until all that was written is shown.
func (s *screen) close() {
	_ = s.terminal.Close()
	<-s.done
}

func (s *screen) read() {
	defer close(s.done)
	buffer := make([]byte, 1<<16)
	var rest []byte // of a character that was cut
	for {
		n, err := s.master.Read(buffer)
		text := append(rest, buffer[:n]...)
		whole := len(text)
		for whole > 0 && whole > len(text)-4 && !endsCharacter(text[:whole]) {
			whole--
		}
		s.mu.Lock()
		s.raw.Write(text[:whole])
		for _, r := range string(text[:whole]) {
			s.take(r)
		}
		s.mu.Unlock()
		rest = append([]byte(nil), text[whole:]...)
		if err != nil { // EIO once the last writer has gone
			return
		}
	}
}

// endsCharacter reports whether no character of UTF-8 is cut at the end of text.
func endsCharacter(text []byte) bool { return strings.ToValidUTF8(string(text), "") == string(text) }

func (s *screen) take(r rune) {
	switch {
	case s.escape != nil:
		s.escape = append(s.escape, r)
		if r != '[' && r >= '@' {
			s.obey(string(s.escape))
			s.escape = nil
		}
	case r == 0x1b:
		s.escape = []rune{r}
	case r == '\r':
		s.column = 0
	case r == '\n':
		if s.row++; s.row == len(s.lines) {
			s.lines = append(s.lines, nil)
		}
	default:
		line := s.lines[s.row]
		for len(line) <= s.column {
			line = append(line, ' ')
		}
		line[s.column] = r
		s.lines[s.row] = line
		s.column++
	}
}

func (s *screen) obey(sequence string) {
	var n int
	switch {
	case sequence == "\x1b[J":
		s.lines = s.lines[:s.row+1]
		s.lines[s.row] = s.lines[s.row][:min(s.column, len(s.lines[s.row]))]
	case strings.HasSuffix(sequence, "A"):
		if _, err := fmt.Sscanf(sequence, "\x1b[%dA", &n); err != nil || n < 1 || n > s.row {
			s.unknown = append(s.unknown, sequence)
			return
		}
		s.row -= n
	case strings.HasSuffix(sequence, "m"): // a color
	default:
		s.unknown = append(s.unknown, sequence)
	}
}

// shows returns the text of the screen.
func (s *screen) shows() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	lines := make([]string, len(s.lines))
	for i, line := range s.lines {
		lines[i] = strings.TrimRight(string(line), " ")
	}
	return strings.Join(lines, "\n")
}

func (s *screen) written() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.raw.String()
}

// await waits until the screen shows the text.
func (s *screen) await(t *testing.T, text string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(s.shows(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the screen does not show %q but\n%s", text, s.shows())
		}
	}
}
