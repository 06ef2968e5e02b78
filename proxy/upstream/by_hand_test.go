package upstream

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

// newStickyPool returns a pool that keeps clients at its backends.
func newStickyPool(log zerolog.Logger, urls ...string) (*Pool, PoolConfig) {
	c := withBackends(urls...)
	c.Sticky = StickyConfig{Cookie: "lb", Secret: "a secret of the tests"}
	return NewPool("main", c, log), c
}

// named reports whether clients go on at a backend.
func (p *Pool) named(b *Backend) bool {
	return p.PreviewNamed(b.cookie.Load().token[:]) == b.url.text
}

// A drained backend gets no new requests; clients that are kept there stay until the deadline, or
// until it is resumed. It comes back on a ramp.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := newStickyPool(zerolog.Nop(), "http://10.0.0.1", "http://10.0.0.2")
		a := p.backends[0]
		require := func(when, state string, stays bool, effective float64) {
			t.Helper()
			synctest.Wait()
			got := p.States()[0]
			if got.State != state || got.TakesRequests != (state == "up") || p.named(a) != stays || got.EffectiveWeight != effective {
				t.Errorf("%s: clients stay is %v, and it is %+v", when, p.named(a), got)
			}
			if idle := !a.conns.drained.Load(); idle != stays {
				t.Errorf("%s: that connections are kept is %v", when, idle)
			}
		}
		drain := func(stay time.Duration) {
			t.Helper()
			if s, known := p.Drain("10.0.0.1:80", time.Now().Add(stay)); !known || s.State != "draining" {
				t.Errorf("a drain returned %+v", s)
			}
		}
		require("at first", "up", true, 1)
		time.Sleep(time.Second)
		drain(30 * time.Second)
		begun := time.Now()
		time.Sleep(29 * time.Second)
		require("before the deadline", "draining", true, 0)
		drain(20 * time.Second) // another deadline
		time.Sleep(19 * time.Second)
		require("before the second deadline", "draining", true, 0)
		time.Sleep(time.Second)
		require("after the deadline", "draining", false, 0)
		if got := p.States()[0]; !got.Since.Equal(begun) || len(got.Causes) != 1 || got.Causes[0] != "drained by an operator" {
			t.Errorf("it is %+v, want since %s", got, begun)
		}
		if s, known := p.Drain("http://10.0.0.1", time.Time{}); !known || !s.StickyUntil.IsZero() {
			t.Errorf("without a deadline, it is %+v", s)
		}
		time.Sleep(time.Hour)
		require("without a deadline", "draining", true, 0)
		p.Mark(a, Down, true)
		require("down as well", "down,draining", false, 0)
		p.Mark(a, Down, false)
		require("no longer down", "draining", true, 0)
		if s, _ := p.Resume("10.0.0.1:80"); s.State != "up" || !s.Since.Equal(time.Now()) {
			t.Errorf("resumed, it is %+v", s)
		}
		require("resumed", "up", true, 0.05)
		time.Sleep(defaultRamp)
		require("after the ramp", "up", true, 1)
		if _, known := p.Drain("10.0.0.3:80", time.Time{}); known {
			t.Error("a backend that does not exist is drained")
		}
		drain(0)
		require("at once", "draining", false, 0)
	})
}

// A weight that is set by hand counts until the config gets another for the backend.
func TestSetWeight(t *testing.T) {
	var log logText
	p, c := newStickyPool(zerolog.New(&log), "http://10.0.0.1", "http://10.0.0.2")
	require := func(when string, weight, configured int, effective float64) {
		t.Helper()
		if got := p.States()[0]; got.Weight != weight || got.ConfiguredWeight != configured || got.EffectiveWeight != effective {
			t.Errorf("%s: it is %+v", when, got)
		}
	}
	apply := func(weight int) {
		c.Backends = []BackendConfig{{URL: mustURL("http://10.0.0.1"), Weight: weight}, c.Backends[1]}
		p.Apply(c)
	}
	require("at first", 1, 1, 1)
	p.SetWeight("10.0.0.1:80", 7)
	require("by hand", 7, 1, 7)
	apply(1)
	require("after a reload of the same", 7, 1, 7)
	p.SetWeight("10.0.0.1:80", 0)
	require("0", 0, 1, 0)
	if !p.named(p.backends[0]) {
		t.Error("clients do not stay at a backend of weight 0")
	}
	p.TakeUnsaved()
	apply(3)
	require("after a reload of another", 3, 3, 3)
	if !p.TakeUnsaved() || len(p.Settings()) != 0 || !strings.Contains(log.String(), `"by_hand":0,"before":1,"weight":3,"message":"the config, or its SRV record, has another weight`) {
		t.Errorf("that the config counts is neither kept nor logged: %v, %s", p.Settings(), log.String())
	}
	apply(1)
	require("after a reload of the first", 1, 1, 1)
	p.SetWeight("10.0.0.1:80", 5)
	p.SetWeight("10.0.0.1:80", 1)
	apply(4)
	require("set to that of the config, which changes", 4, 4, 4)
}

// A backend is alone if its drain would end the new requests of the pool: one without weight keeps only
// its clients, and without one that is up there is no panic.
func TestAlone(t *testing.T) {
	p, _ := newStickyPool(zerolog.Nop(), "http://10.0.0.1", "http://10.0.0.2", "http://10.0.0.3")
	require := func(when string, want ...bool) {
		t.Helper()
		for i, s := range p.States() {
			if s.Alone != want[i] {
				t.Errorf("%s: %s has alone %t", when, s.Backend, s.Alone)
			}
		}
	}
	require("at first", false, false, false)
	p.Drain("10.0.0.1:80", time.Time{})
	require("after a drain", false, false, false)
	if b, _ := p.SetWeight("10.0.0.2:80", 0); b.Alone {
		t.Error("the backend without weight is alone")
	}
	require("with one left", false, false, true)
	p.Drain("10.0.0.3:80", time.Time{})
	require("with none left", false, false, false)

	p, _ = newStickyPool(zerolog.Nop(), "http://10.0.0.1", "http://10.0.0.2", "http://10.0.0.3")
	for _, b := range p.backends[1:] {
		p.Mark(b, Ejected, true)
	}
	if !p.Panics() {
		t.Fatal("there is no panic")
	}
	require("in a panic", true, false, false)
	p.Drain("10.0.0.1:80", time.Time{})
	if p.TakesRequests() {
		t.Error("without it, the pool takes requests")
	}
}

// What was set outlives the pool, and a backend that the config does not have for a while.
func TestSettingsAreRestored(t *testing.T) {
	var log logText
	p, c := newStickyPool(zerolog.New(&log), "http://10.0.0.1", "http://10.0.0.2", "http://10.0.0.3")
	until := time.Now().Add(time.Hour)
	p.Drain("10.0.0.1:80", until)
	p.SetWeight("10.0.0.2:80", 7)
	settings := p.Settings()
	if len(settings) != 2 || !p.TakeUnsaved() || p.TakeUnsaved() {
		t.Errorf("the settings are %v", settings)
	}
	settings["http://10.0.0.4"] = settings["http://10.0.0.1"]

	next := NewPool("main", c, zerolog.New(&log))
	next.Restore(settings)
	require := func(when string, p *Pool, state string, weight int) {
		t.Helper()
		all := map[string]BackendState{}
		for _, s := range p.States() {
			all[s.Address] = s
		}
		if a := all["10.0.0.1:80"]; a.State != state || !a.StickyUntil.Equal(until) || a.TakesRequests {
			t.Errorf("%s: a is %+v", when, a)
		}
		if b, c := all["10.0.0.2:80"], all["10.0.0.3:80"]; b.Weight != weight || b.EffectiveWeight != float64(weight) || c.State != "up" {
			t.Errorf("%s: b is %+v, and c is %+v", when, b, c)
		}
	}
	require("after a restart", next, "draining", 7)
	if got := next.States()[0].Since; !got.Equal(settings["http://10.0.0.1"].Drained) {
		t.Errorf("after a restart it is drained since %s", got)
	}
	if !strings.Contains(log.String(), `"backend":"http://10.0.0.1","state":"draining","weight":1,"configured_weight":1,"message":"backend is as an operator has set it before"`) {
		t.Errorf("the log has %s", log.String())
	}
	without := c
	without.Backends = c.Backends[1:]
	next.Apply(without)
	if next.States()[0].Weight != 7 || len(next.States()) != 2 {
		t.Errorf("without a: %+v", next.States())
	}
	next.Apply(c)
	require("when the config has it again", next, "down,draining", 7) // it waits for its first check as well
	if got := next.Settings(); len(got) != 3 {
		t.Errorf("the settings are %v", got)
	}
	next.Forget()
	if got := next.Settings(); len(got) != 2 || got["http://10.0.0.4"] != (Setting{}) {
		t.Errorf("without those of no backend, the settings are %v", got)
	}
}
