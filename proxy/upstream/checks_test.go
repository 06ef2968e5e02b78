package upstream

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"loadbalancer/healthz"
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
	if got := log.next(t); !strings.Contains(got, `"set":"pools.main.health.path, such as /healthz"`) {
		t.Errorf("at first %s is logged, want that the checks only connect", got)
	}
	out := log.next(t)
	if want := `{"level":"warn","pool":"main","backend":"unix:` + path + `","cause":"`; !strings.HasPrefix(out, want) || !strings.HasSuffix(out, `"message":"backend is out"}`) {
		t.Errorf("logged %s, want %s…", out, want)
	}
	p.Pick(0, time.Now(), &Tried{}) // a trial
	if b := p.Pick(0, time.Now(), &Tried{}); b != nil || p.TakesRequests() {
		t.Error("a backend that does not listen takes requests")
	}
	if got := p.States()[0]; got.State != "down" || got.Cause != "refused" {
		t.Errorf("the state is %+v", got)
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
	if got := p.States()[0]; got.State != "up" || got.Cause != "" {
		t.Errorf("the state is %+v", got)
	}
	cancel()
	<-ended
}

// TestNoteChecks: that the checks only connect is said once, and again when it begins anew.
func TestNoteChecks(t *testing.T) {
	var log strings.Builder
	c := withBackends("http://10.0.0.1")
	p := NewPool("main", c, zerolog.New(&log))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	p.Run(ended)
	for _, step := range []struct {
		path string
		want int // lines so far
	}{{"", 1}, {"/healthz", 1}, {"", 2}} {
		c.Health.Path = step.path
		p.Apply(c)
		if got := strings.Count(log.String(), "health checks only connect"); got != step.want {
			t.Errorf("with the path %q there are %d lines, want %d", step.path, got, step.want)
		}
	}
}

// TestUnproven: backends of a new pool take requests at once, and those that a reload adds once
// their first check has ended, the time is over or no other takes requests.
func TestUnproven(t *testing.T) {
	failed := healthz.Verdict{Down: true, Cause: healthz.WrongStatus, Err: errors.New("status 503")}
	tests := []struct {
		name string
		then func(p *Pool, old, added *Backend)
		want bool // the added backend takes requests
	}{
		{"nothing", func(*Pool, *Backend, *Backend) {}, false},
		{"almost the timeout", func(*Pool, *Backend, *Backend) { time.Sleep(time.Second - 1) }, false},
		{"the timeout", func(*Pool, *Backend, *Backend) { time.Sleep(time.Second + 1) }, true},
		{"a check of another", func(p *Pool, old, _ *Backend) { p.report(old, healthz.Verdict{}) }, false},
		{"a check that passes", func(p *Pool, _, added *Backend) { p.report(added, healthz.Verdict{}) }, true},
		{"a check that fails", func(p *Pool, _, added *Backend) { p.report(added, failed) }, false},
		{"a check that fails, and the timeout", func(p *Pool, _, added *Backend) {
			p.report(added, failed)
			time.Sleep(time.Second + 1)
		}, false},
		{"the other goes out", func(p *Pool, old, _ *Backend) { p.report(old, failed) }, true},
		{"another reload", func(p *Pool, _, _ *Backend) { p.Apply(withBackends("http://10.0.0.1", "http://10.0.0.2")) }, false},
		{"a reload without the other", func(p *Pool, _, _ *Backend) { p.Apply(withBackends("http://10.0.0.2")) }, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := NewPool("main", withBackends("http://10.0.0.1"), zerolog.Nop())
				old := p.backends[0]
				if !p.TakesRequests() {
					t.Fatal("a new pool takes no requests")
				}
				p.Apply(withBackends("http://10.0.0.1", "http://10.0.0.2"))
				added := p.backends[1]
				tt.then(p, old, added)
				synctest.Wait()
				if got := added.TakesRequests(); got != tt.want {
					t.Errorf("takes requests: %v, want %v", got, tt.want)
				}
				if got := slices.Contains(p.current.Load().backends, added); got != tt.want {
					t.Errorf("is in the snapshot: %v, want %v", got, tt.want)
				}
				time.Sleep(time.Second + 1) // the timers end
			})
		})
	}
}

// TestAddedBackends adds a backend that works and one that answers 503 while requests pick: the
// latter gets none, and the former does soon.
func TestAddedBackends(t *testing.T) {
	backend := func(status int) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		t.Cleanup(s.Close)
		return s.URL
	}
	first, good, bad := backend(200), backend(200), backend(503)
	c := withBackends(first)
	c.Health.Path, c.Health.Interval, c.Health.Timeout = "/", 20*time.Millisecond, time.Minute
	log := make(lines, 1)
	p := NewPool("main", c, zerolog.New(log))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { p.Run(ctx) })
	defer running.Wait()
	defer cancel()

	next := withBackends(first, good, bad)
	next.Health = c.Health
	p.Apply(next)
	taken := map[string]int{}
	for began := time.Now(); taken[good] == 0 && time.Since(began) < 10*time.Second; {
		taken[p.Pick(0, time.Now(), &Tried{}).url.text]++
	}
	log.next(t) // the bad one is out
	for range 100 {
		taken[p.Pick(0, time.Now(), &Tried{}).url.text]++
	}
	if taken[good] == 0 || taken[bad] > 0 {
		t.Errorf("picked %v; %s must be picked, and %s must not", taken, good, bad)
	}
	if got := p.States()[2]; got.Cause != "wrong_status" {
		t.Errorf("the state is %+v", got)
	}
}
