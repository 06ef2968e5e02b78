package management

import (
	"strconv"
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

// TestWithoutQueries has texts in which a query may have a secret.
func TestWithoutQueries(t *testing.T) {
	for text, want := range map[string]string{
		"pools.main.health.path: /h?a=1 → /h?a=2&b=/c?d":               "pools.main.health.path: /h?… → /h?…",
		`lb.yaml:3: pools.main.health.path: h?k is invalid: is it? no`: "lb.yaml:3: pools.main.health.path: h?… is invalid: is it? no",
		`"http://127.0.0.1:1?k=1" is invalid: use "" or ?`:             `"http://127.0.0.1:1?…" is invalid: use "" or ?`,
		"two lines: /a?b\n/c?d\nno query":                              "two lines: /a?…\n/c?…\nno query",
		"nothing to leave out":                                         "nothing to leave out",
	} {
		if got := WithoutQueries(text); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
