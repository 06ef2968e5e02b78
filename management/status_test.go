package management

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"loadbalancer/proxy/upstream"
)

// TestWhy has causes as pools tell them.
func TestWhy(t *testing.T) {
	since := time.Now()
	for want, b := range map[string]upstream.BackendState{
		"":                       {State: "up"},
		"drained by an operator": {Causes: []string{"drained by an operator"}},
		"ejected for 10 s: 3 failures in a row, the last: response_timeout": {
			Causes: []string{"ejected: 3 failures in a row, the last: response_timeout"}, Since: since, EjectedUntil: since.Add(10 * time.Second),
		},
		"ejected for 5 min: 90 % of its answers": {Causes: []string{"ejected: 90 % of its answers"}, Since: since, EjectedUntil: since.Add(5 * time.Minute)},
		"health check of http://a:1: GET /h?… got 500; drained by an operator": {
			Causes: []string{"health check of http://a:1: GET /h?token=1&b=/c?d got 500", "drained by an operator"},
		},
	} {
		if got := why(&b); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestPart(t *testing.T) {
	for _, c := range []struct{ of, whole, want float64 }{{0, 0, 0}, {1, 0, 0}, {1, 3, 0.3333}, {2, 3, 0.6667}, {5, 5, 1}} {
		if got := part(c.of, c.whole); got != c.want {
			t.Errorf("%v of %v: got %v, want %v", c.of, c.whole, got, c.want)
		}
	}
}

// TestReloadStatus has a reload with more changes than a status shows.
func TestReloadStatus(t *testing.T) {
	if (LastReload{OK: true}).status() != nil {
		t.Error("before the first reload there is one")
	}
	l := LastReload{OK: true, Total: 3, Cause: "SIGHUP"}
	for i := range maxReloadLines + 5 {
		l.Changed = append(l.Changed, strconv.Itoa(i))
	}
	if s := l.status(); len(s.Changed) != maxReloadLines || s.More != 5 || s.Faults == nil || s.Total != 3 {
		t.Errorf("got %+v", s)
	}
}

// TestReloadStatusHasNoQueries has the path of a check with a token, changed and at fault.
func TestReloadStatusHasNoQueries(t *testing.T) {
	l := LastReload{Total: 1, Changed: []string{"pools.main.health.path: /h?a=secret1 → /h?a=secret2&b=/c?d"}, Faults: []string{"lb.yaml:3: pools.main.health.path: h?secret3 is invalid: is it? no"}}
	s := l.status()
	if got, want := s.Changed[0], "pools.main.health.path: /h?… → /h?…"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := s.Faults[0], "lb.yaml:3: pools.main.health.path: h?… is invalid: is it? no"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !strings.Contains(l.Changed[0], "secret1") {
		t.Error("the line of the reload itself has changed")
	}
}
