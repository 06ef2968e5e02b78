package upstream

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"loadbalancer/healthz"
	"loadbalancer/proxy/reason"
)

func TestAvailable(t *testing.T) {
	const in = State(0)
	for _, test := range []struct {
		states []State
		takes  []int // indices
		panics bool
	}{
		{nil, nil, false},
		{[]State{in}, []int{0}, false},
		{[]State{Down}, nil, false},
		{[]State{Ejected, Unfit}, nil, false}, // none is in: trials
		{[]State{in, Ejected}, []int{0}, false},
		{[]State{in, Ejected, in}, []int{0, 2}, false},
		{[]State{in, Ejected, Ejected}, []int{0, 1, 2}, true},
		{[]State{in, Unfit, Down}, []int{0, 1}, true},
		{[]State{in, Down, Down}, []int{0}, true},
		{[]State{in, Ejected | Unfit, Ejected | Down}, []int{0, 1}, true},
		{[]State{in, Ejected | Draining, Ejected}, []int{0}, false}, // half of what is not drained
		{[]State{in, Draining, Draining, Draining}, []int{0}, false},
		{[]State{in, Unproven, Unproven, Unproven}, []int{0}, false},
		{[]State{in, Unproven, Ejected, Ejected}, []int{0, 2, 3}, true},
		{[]State{in, in, Ejected, Unfit, Unfit}, []int{0, 1, 2, 3, 4}, true},
	} {
		takes, panics := available(test.states)
		var got []int
		for i, take := range takes {
			if take {
				got = append(got, i)
			}
		}
		if !slices.Equal(got, test.takes) || panics != test.panics {
			t.Errorf("%v: got %v, panic %v, want %v, panic %v", test.states, got, panics, test.takes, test.panics)
		}
	}
}

// pickAll returns how many of 90 picks each backend gets.
func (p *Pool) pickAll() map[*Backend]int {
	n := map[*Backend]int{}
	for range 90 {
		n[p.Pick(0, time.Now(), &Tried{})]++
	}
	delete(n, nil)
	return n
}

// TestPanic: backends whose checks get a wrong answer take requests again once fewer than half are
// in, and those that do not answer do not.
func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := newOutlierPool(4)
		wrong, silent := healthz.Verdict{Down: true, Cause: healthz.WrongStatus}, healthz.Verdict{Down: true, Cause: healthz.NoAnswer}
		steps := []struct {
			b      int
			v      healthz.Verdict
			want   []int // that are picked
			panics bool
		}{
			{0, wrong, []int{1, 2, 3}, false},
			{1, silent, []int{2, 3}, false},
			{2, wrong, []int{0, 2, 3}, true},
			{0, silent, []int{2, 3}, true},
			{0, wrong, []int{0, 2, 3}, true},
			{1, healthz.Verdict{}, []int{1, 3}, false},
		}
		for i, step := range steps {
			p.report(p.backends[step.b], step.v)
			time.Sleep(time.Minute) // the ramps end
			synctest.Wait()
			picked := p.pickAll()
			for i, b := range p.backends {
				if got := picked[b] > 0; got != slices.Contains(step.want, i) {
					t.Errorf("step %d: backend %d is picked: %v", i, i, got)
				}
			}
			var out strings.Builder
			WriteRequests(&out, NoPool(), []*Pool{p})
			if want := fmt.Sprintf("lb_pool_panic{pool=\"main\"} %d\n", map[bool]int{true: 1}[step.panics]); !strings.Contains(out.String(), want) {
				t.Errorf("step %d: the metrics lack %s", i, want)
			}
		}
	})
}

// TestTrials: while none is in, each backend gets one request a second, and a trial that passes
// ends an ejection.
func TestTrials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, log := newOutlierPool(3)
		ejected := p.backends[0]
		for range 3 {
			p.met(ejected, alice, 0, reason.ConnectFailed)
		}
		p.Mark(p.backends[1], Down, true)
		p.Mark(p.backends[2], Draining, true)
		for range 3 {
			if got := fmt.Sprint(len(p.pickAll()), p.TakesRequests()); got != "2 false" {
				t.Errorf("got %s, want trials at two backends", got)
			}
			if n := p.pickAll(); len(n) != 0 {
				t.Errorf("in the same second %v are picked", n)
			}
			time.Sleep(trialInterval + 1)
		}
		p.met(ejected, alice, 0, reason.ConnectFailed)
		if p.TakesRequests() {
			t.Error("a trial that failed has brought the backend back")
		}
		p.met(ejected, alice, 200, reason.None)
		if !ejected.isIn() || !p.TakesRequests() {
			t.Errorf("a trial that passed has not brought the backend back: %s", log)
		}
		for range 3 { // its failures count again
			p.met(ejected, alice, 0, reason.ConnectFailed)
		}
		if !ejected.isIn() {
			t.Error("the last backend is ejected")
		}
		time.Sleep(time.Minute)
	})
}
