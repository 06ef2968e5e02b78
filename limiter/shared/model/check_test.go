package model

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// faults returns what the run has shown to be wrong.
func (w *world) faults() (all []string) {
	for _, s := range w.subjects {
		faults := append(s.check(), s.faults...)
		for _, f := range faults[:min(len(faults), 5)] {
			all = append(all, fmt.Sprintf("client %d: %s", s.index, f))
		}
	}
	return all
}

// check compares the whole run of a client with its bounds.
func (s *subject) check() (faults []string) {
	slices.SortFunc(s.admitted, func(a, b admission) int { return int(a.at - b.at) })
	fault := func(format string, values ...any) { faults = append(faults, fmt.Sprintf(format, values...)) }
	if s.longest > s.world.scenario.Wait {
		fault("a request waited for %v", s.longest)
	}
	b := s.bounds()
	check := func(what string, times []time.Duration, refill func(time.Duration) float64, most float64) {
		if got, from, to := outrun(times, refill); got > most+rounding(b.rate) {
			fault("%s: from %v to %v %.3f tokens more than the refill, want at most %.3f", what, from, to, got, most)
		}
	}
	steady := func(t time.Duration) float64 { return b.rate * t.Seconds() }
	refill, most := s.world.refill(b.rate), b.fresh*b.capacity+b.credits
	n := float64(len(s.world.all))
	if s.Kind.isSilent() {
		most += n * (math.Floor(b.capacity/2) + 1)
		shared := refill
		refill = func(t time.Duration) float64 { return shared(t) + n*steady(t) }
	} else {
		check("together", s.times(together), steady, most)
		if b.exact {
			check("granted", s.granted(), steady, most)
		}
	}
	for _, p := range s.parts {
		if p.fewest > 0 { // its part of the limit, by what it knows of the others
			most += b.fresh * max(1, b.capacity/float64(p.fewest))
		}
	}
	check("everything", s.times(together, alone, unclear), refill, most)
	if s.world.scenario.isQuiet() {
		s.checkQuiet(fault)
	}
	return faults
}

// bounds are the terms of the bound of a client.
type bounds struct {
	capacity, rate float64 // the largest of all phases
	credits        float64 // what may be untold
	fresh          float64 // buckets, the one at the start included
	exact          bool    // there is no credit
}

func (s *subject) bounds() bounds {
	b := bounds{fresh: 1}
	for _, p := range s.phases {
		b.capacity = max(b.capacity, float64(p.limit.Capacity))
		b.rate = max(b.rate, p.limit.RatePerSecond)
	}
	w := s.world
	capacity := int64(b.capacity)
	b.credits = float64(w.scenario.Instances) * float64(capacity/int64(8*w.scenario.Instances))
	if w.isRestless() {
		b.credits = float64(capacity / 8)
	}
	for _, f := range w.forgotten {
		b.credits += float64(capacity / (8 * f.instances))
	}
	b.exact = b.credits == 0
	b.fresh += float64(len(w.losses) + len(s.resets)) // each of which forgives the credits as well
	b.credits *= b.fresh
	return b
}

// isRestless reports whether instances may come or go, or seem to.
func (w *world) isRestless() bool {
	s := &w.scenario
	return s.has(crash, stop, start, cut, freeze, wipe, failover) || s.Network.LostReplies > 0 || s.Network.LostRequests > 0
}

// times returns when requests were let through in one of the ways.
func (s *subject) times(ways ...how) (times []time.Duration) {
	for _, a := range s.admitted {
		if slices.Contains(ways, a.how) {
			times = append(times, a.at)
		}
	}
	return times
}

// granted returns when the central state has granted tokens.
func (s *subject) granted() (times []time.Duration) {
	slices.SortFunc(s.charges, func(a, b charge) int { return int(a.at - b.at) })
	for _, c := range s.charges {
		for range c.granted {
			times = append(times, c.at)
		}
	}
	return times
}

// refill returns how many tokens come until a time: those of the rate, and the part of each instance
// while the central state is away for it, as it may be there for the others.
func (w *world) refill(rate float64) func(time.Duration) float64 {
	var absences []absence
	for _, s := range w.all {
		absences = append(absences, s.absences...)
	}
	slices.SortFunc(absences, func(a, b absence) int { return int(a.from - b.from) })
	return func(t time.Duration) float64 {
		tokens := rate * t.Seconds()
		for _, a := range absences {
			if a.from >= t {
				break
			}
			tokens += rate / a.instances * (min(a.to, t) - a.from).Seconds()
		}
		return tokens
	}
}

// outrun returns by how many tokens the admissions at these times outrun the refill in the worst of all
// windows, and that window. The times are in order.
func outrun(times []time.Duration, refill func(time.Duration) float64) (worst float64, from, to time.Duration) {
	least, start := math.Inf(1), time.Duration(0)
	for n, at := range times {
		ahead := float64(n) - refill(at)
		if ahead < least {
			least, start = ahead, at
		}
		if ahead+1-least > worst {
			worst, from, to = ahead+1-least, start, at
		}
	}
	return worst, from, to
}

// checkQuiet checks a client while nothing goes wrong: no request is let through alone, and the client
// has what one bucket for all would have given to the same requests.
func (s *subject) checkQuiet(fault func(string, ...any)) {
	if n := len(s.times(alone, unclear)); n > 0 {
		fault("%d requests were let through without the central state, which always answered in time", n)
	}
	slices.Sort(s.arrivals)
	var one debt
	want := 0
	for _, at := range s.arrivals {
		if one.until(at, s.Limit.RatePerSecond)+1 <= float64(s.Limit.Capacity) {
			one.tokens++
			want++
		}
	}
	if got, least := len(s.admitted), 0.995*float64(want)-slack(s); float64(got) < least {
		fault("%d requests were let through, want %.1f of the %d that one bucket for all admits", got, least, want)
	}
}

// slack is what a round trip may cost, and what is under way at the end.
func slack(s *subject) float64 {
	return 1 + s.Limit.RatePerSecond*s.world.scenario.Wait.Seconds()
}

// quantile returns the least of the times that so much of them does not exceed.
func quantile(times []time.Duration, part float64) time.Duration {
	if len(times) == 0 {
		return 0
	}
	times = slices.Sorted(slices.Values(times))
	return times[int(part*float64(len(times)-1))]
}
