package top

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
)

// message is a message of a stream with the status.
var message = "data: " + strings.ReplaceAll(status, "\n", "") + "\n\n"

// serveStream serves streams that begin with a text, and end when then returns.
func serveStream(t *testing.T, text string, then func(*http.Request)) (url string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = w.Write([]byte(text))
		_ = http.NewResponseController(w).Flush()
		then(r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// untilClosed waits until the client has gone.
func untilClosed(r *http.Request) { <-r.Context().Done() }

// The program runs with a stream that ends, or goes silent, comes back, and is quit by a key.
func TestProgram(t *testing.T) {
	for _, isSilent := range []bool{false, true} {
		t.Run(fmt.Sprintf("silent: %t", isSilent), func(t *testing.T) { testProgram(t, isSilent) })
	}
}

func testProgram(t *testing.T, isSilent bool) {
	opened := make(chan bool, 1000)
	url := serveStream(t, "retry: 1000\n\n"+message, func(r *http.Request) {
		opened <- true
		if isSilent {
			untilClosed(r)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	m, err := begin(ctx, mustClient(t, url, ""))
	if err != nil {
		t.Fatal(err)
	}
	m.client.silence = 50 * time.Millisecond
	program := tea.NewProgram(m, tea.WithContext(ctx), tea.WithInput(nil), tea.WithOutput(new(strings.Builder)), tea.WithWindowSize(80, 24), tea.WithoutSignalHandler())
	go func() {
		<-opened
		<-opened // again
		program.Send(tea.KeyPressMsg{Code: 'q', Text: "q"})
	}()
	if _, err := program.Run(); err != nil {
		t.Error(err)
	}
}

// A stream that says nothing is cut, and the error says so.
func TestSilence(t *testing.T) {
	url := serveStream(t, "data: {}\n\n: nothing", untilClosed) // nor does a piece of a line count
	m, err := begin(t.Context(), mustClient(t, url, ""))
	if err != nil {
		t.Fatal(err)
	}
	m.client.silence = time.Millisecond
	want := lost{url + " has told nothing for 0 s", retryPause}
	if got := listen(m.first)(); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

// After the API has not let it in, the model waits longer, and says how long.
func TestRefusedLater(t *testing.T) {
	for _, tt := range []struct {
		code  int
		pause time.Duration
		said  string
	}{
		{401, refusedPause, "LB_TOKEN is none of the tokens configured at URL; trying again every 30 s"},
		{403, refusedPause, "no; trying again every 30 s"},
		{429, refusedPause, "no; trying again every 30 s"},
		{503, retryPause, "no; trying again"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(tt.code)
			_, _ = w.Write([]byte(`{"detail": "no"}`))
		}))
		m := toldModel(t, status)
		m.client = mustClient(t, server.URL, "old")
		got, _ := m.open(0)().(lost)
		if got.pause != tt.pause {
			t.Errorf("%d: the pause is %s, want %s", tt.code, got.pause, tt.pause)
		}
		m.Update(got)
		said := strings.TrimSpace(ansi.Strip(strings.Join(m.screen.state(300), "\n")))
		if want := ": " + strings.Replace(tt.said, "URL", server.URL, 1); !strings.HasSuffix(said, want) {
			t.Errorf("%d: %q, want %q", tt.code, said, want)
		}
		server.Close()
	}
}

// drawn is what a program has written. on is closed once it is in the alternate screen.
type drawn struct {
	mu   sync.Mutex
	text []byte
	on   chan struct{}
}

const alternate = "\x1b[?1049"

func (d *drawn) Write(text []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := bytes.Contains(d.text, []byte(alternate+"h"))
	d.text = append(d.text, text...)
	if !before && bytes.Contains(d.text, []byte(alternate+"h")) {
		close(d.on)
	}
	return len(text), nil
}

// A panic ends the program with an error, and leaves the alternate screen.
func TestPanic(t *testing.T) {
	url := serveStream(t, message, untilClosed)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	m, err := begin(ctx, mustClient(t, url, ""))
	if err != nil {
		t.Fatal(err)
	}
	defer m.first.close()
	out := &drawn{on: make(chan struct{})}
	program := tea.NewProgram(m, tea.WithContext(ctx), tea.WithInput(nil), tea.WithOutput(out), tea.WithWindowSize(80, 24), tea.WithoutSignalHandler())
	go func() {
		<-out.on
		program.Send(told{}) // no document
	}()
	if _, err := program.Run(); !errors.Is(err, tea.ErrProgramPanic) {
		t.Errorf("got %v", err)
	}
	out.mu.Lock()
	defer out.mu.Unlock()
	if on, off := bytes.LastIndex(out.text, []byte(alternate+"h")), bytes.LastIndex(out.text, []byte(alternate+"l")); off < on {
		t.Errorf("the alternate screen is not left: %q", out.text)
	}
}

// What is no terminal is told as that, before anything is asked.
func TestNoTerminal(t *testing.T) {
	err := Run(t.Context(), Options{Management: "http://lb.invalid", Env: func(string) string { return "xterm" }}, new(bytes.Buffer))
	if err == nil || !strings.HasPrefix(err.Error(), "stdout is not a terminal") {
		t.Error(err)
	}
}
