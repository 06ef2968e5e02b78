package upstream

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// lines hands over each line that is logged.
type lines chan string

func (l lines) Write(line []byte) (int, error) {
	l <- strings.TrimSpace(string(line))
	return len(line), nil
}

// next waits for a line.
func (l lines) next(t *testing.T) string {
	t.Helper()
	select {
	case line := <-l:
		return line
	case <-time.After(10 * time.Second):
		t.Fatal("waited 10 s for a line of the log")
		return ""
	}
}

// TestRun has a backend that does not listen, and then does.
func TestRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	c := DefaultPoolConfig()
	c.Backends = []BackendConfig{{URL: mustURL("unix:" + path), Weight: 1}}
	c.Health.Interval = 10 * time.Millisecond
	log := make(lines, 1)
	p := NewPool("main", c, zerolog.New(log))
	if !p.TakesRequests() {
		t.Error("the pool takes no requests before the first check")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.Run(ctx)
	}()
	out := log.next(t)
	if want := `{"level":"warn","pool":"main","backend":"unix:` + path + `","cause":"`; !strings.HasPrefix(out, want) || !strings.HasSuffix(out, `"message":"backend is out"}`) {
		t.Errorf("logged %s, want %s…", out, want)
	}
	if b := p.Pick(0, time.Now(), &Tried{}); b != nil || p.TakesRequests() {
		t.Errorf("picked %v, which does not listen", b)
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if got, want := log.next(t), `{"level":"info","pool":"main","backend":"unix:`+path+`","message":"backend is up"}`; got != want {
		t.Errorf("logged %s, want %s", got, want)
	}
	if b := p.Pick(0, time.Now(), &Tried{}); b == nil {
		t.Error("a backend that came back is not picked")
	}
	cancel()
	<-ended
}
