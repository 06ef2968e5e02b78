package faults

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"loadbalancer/bench/balancer"
	"loadbalancer/bench/nettest"
	"loadbalancer/limiter/shared/redistest"
)

// outage is something that happens to the Redis of three instances, and how it ends.
type outage struct {
	name string

	// prepare returns the URL for each instance, what begins the outage, and what ends it.
	prepare func(t *testing.T) (urls []string, strike, heal func())

	away int      // how many of the instances have no Redis; they are the last ones
	told []string // words of the line that tells why
	lost bool     // the data is gone
}

// Times that a busy machine keeps, too: limiter.share_wait, of which the default would now and then be
// too short for it, and what a request may take that does not have to wait.
const (
	patient = 200 * time.Millisecond
	busy    = 800 * time.Millisecond
)

// outages are all of them.
var outages = []outage{
	{name: "slow", away: 3, told: []string{"answer"}, prepare: func(t *testing.T) ([]string, func(), func()) {
		gate, url := gateTo(t, redistest.Start(t, redistest.Options{}))
		return []string{url, url, url}, func() { gate.Delay(300 * time.Millisecond) }, func() { gate.Delay(0) }
	}},
	{name: "frozen", away: 3, told: []string{"answer"}, prepare: func(t *testing.T) ([]string, func(), func()) {
		s := redistest.Start(t, redistest.Options{})
		return thrice(s.URL()), s.Freeze, s.Thaw
	}},
	{name: "killed, empty", away: 3, lost: true, told: []string{"cause"}, prepare: func(t *testing.T) ([]string, func(), func()) {
		s := redistest.Start(t, redistest.Options{})
		return thrice(s.URL()), s.Kill, s.Restart
	}},
	{name: "killed, with its data", away: 3, told: []string{"cause"}, prepare: func(t *testing.T) ([]string, func(), func()) {
		s := redistest.Start(t, redistest.Options{Persist: true})
		return thrice(s.URL()), s.Kill, s.Restart
	}},
	{name: "failed over", away: 3, told: []string{"cause"}, prepare: func(t *testing.T) ([]string, func(), func()) {
		primary := redistest.Start(t, redistest.Options{})
		replica := redistest.Start(t, redistest.Options{ReplicaOf: primary})
		sentinel := redistest.StartSentinel(t, primary, 1)
		return thrice(sentinel.URL("")), func() {
			replica.Freeze() // so that the outage lasts
			primary.Kill()
		}, replica.Thaw
	}},
	{name: "FLUSHALL", lost: true, prepare: func(t *testing.T) ([]string, func(), func()) {
		s := redistest.Start(t, redistest.Options{})
		return thrice(s.URL()), func() { s.Do("FLUSHALL") }, func() {}
	}},
	{name: "SCRIPT FLUSH", prepare: func(t *testing.T) ([]string, func(), func()) {
		s := redistest.Start(t, redistest.Options{})
		return thrice(s.URL()), func() { s.Do("SCRIPT", "FLUSH") }, func() {}
	}},
	{name: "partitioned", away: 1, told: []string{"answer"}, prepare: func(t *testing.T) ([]string, func(), func()) {
		s := redistest.Start(t, redistest.Options{})
		gate, url := gateTo(t, s)
		return []string{s.URL(), s.URL(), url}, gate.Freeze, gate.Thaw
	}},
}

func thrice(url string) []string { return []string{url, url, url} }

// gateTo returns a gate before a server, and its URL.
func gateTo(t *testing.T, s *redistest.Server) (*nettest.Gate, string) {
	gate := nettest.NewGate(t, s.Network, s.Address)
	return gate, "redis://" + gate.Address
}

// The clients of an outage. Three instances have no credit for the first three.
var (
	exact     = limit{"exact", 6, 2}
	debtor    = limit{"debtor", 20, 0.2}    // has spent all at all instances
	elsewhere = limit{"elsewhere", 20, 0.2} // has spent all at the last instance, and comes to the first later
	large     = limit{"large", 240, 10}

	// They come when Redis is away. The second has fewer tokens than there are instances.
	fresh = limit{"fresh", 99, 3}
	few   = limit{"few", 2, 0.5}
)

// Whatever happens to Redis, requests are answered in time, the instances say so, and what is known of
// the clients is not forgotten.
func TestOutage(t *testing.T) {
	for _, o := range outages {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			o.run(t)
		})
	}
}

func (o *outage) run(t *testing.T) {
	urls, strike, heal := o.prepare(t)
	s := &setup{backend: startBackend(t), wait: patient, limits: []limit{exact, debtor, elsewhere, large, fresh, few}}
	all := s.share(t, urls...)
	affected := all[len(all)-o.away:]

	f := &flow{}
	for _, b := range all {
		f.send(b, exact, debtor, large)
	}
	f.send(all[len(all)-1], elsewhere)
	for _, b := range all {
		balancer.WaitFor(t, deadline, "all clients to be limited", func() bool {
			return f.isLimited(b, exact) && f.isLimited(b, debtor) && f.isLimited(b, large)
		})
	}
	balancer.WaitFor(t, deadline, "all clients to be limited", func() bool { return f.isLimited(all[len(all)-1], elsewhere) })

	at := moments{struck: s.backend.now()}
	strike()
	at.away = await(t, affected, "0")
	for _, b := range all {
		f.send(b, fresh, few)
	}
	before := waits(affected)
	for _, b := range affected {
		balancer.WaitFor(t, deadline, "the new clients to be limited", func() bool { return f.isLimited(b, fresh) && f.isLimited(b, few) })
	}
	time.Sleep(time.Second)
	if after := waits(affected); !slices.Equal(before, after) {
		t.Errorf("while Redis was away, requests waited for it: %s at the instances, and before %s", after, before)
	}
	at.healed = s.backend.now()
	heal()
	at.back = await(t, all, "1")
	awaitFleet(t, all, len(all))
	if o.lost {
		for _, b := range all {
			balancer.WaitFor(t, deadline, "the instance to find that data is lost", func() bool { return len(b.Log.With("lost data")) > 0 })
		}
	}
	time.Sleep(300 * time.Millisecond) // what is to be told then is told at once
	f.send(all[0], elsewhere)
	time.Sleep(time.Second)
	f.stop(t, patient+busy)

	o.checkLogs(t, all, affected)
	o.checkAway(t, s, affected, len(all), at)
	o.checkPassed(t, s, len(all), at)
}

// moments are those of an outage.
type moments struct {
	struck, healed time.Duration
	away, back     time.Duration // when all affected instances have said so
}

// mixed is for how long some instances have Redis, and others do not. The latter let through their part
// of the refill beside all of it.
func (o *outage) mixed(at moments, instances int) time.Duration {
	if o.away < instances {
		return at.back - at.struck
	}
	return at.away - at.struck + at.back - at.healed
}

// waits returns how many requests have waited for Redis, by instance.
func waits(all []*instance) (counts []string) {
	for _, b := range all {
		counts = append(counts, b.metric("lb_share_waits_total"))
	}
	return counts
}

// checkLogs looks at what the instances say.
func (o *outage) checkLogs(t *testing.T, all, affected []*instance) {
	t.Helper()
	for i, b := range all {
		away, back := b.Log.With("Redis is away"), b.Log.With("Redis is back")
		switch isAffected := slices.Contains(affected, b); {
		case isAffected:
			b.Log.Require(t, "the outage", append([]string{"Redis is away"}, o.told...)...)
			if len(back) == 0 || len(back) > len(away) || len(slices.Compact(causes(away))) != len(away) {
				t.Errorf("instance %d did not tell once of each cause, and that Redis is back:\n%s%s", i, away, back)
			}
		case len(away)+len(back) > 0:
			t.Errorf("instance %d says: %s%s", i, away, back)
		}
		if lost := len(b.Log.With("Redis has lost data")); o.lost && lost != 1 {
			t.Errorf("instance %d said %d times that data is lost", i, lost)
		}
	}
}

// causes returns why Redis was away, by lines of the log.
func causes(lines []string) (all []string) {
	for _, line := range lines {
		_, cause, _ := strings.Cut(line, `"cause":"`)
		cause, _, _ = strings.Cut(cause, `"`)
		all = append(all, cause)
	}
	return all
}

// checkAway looks at what the instances without Redis let through: each its part.
func (o *outage) checkAway(t *testing.T, s *setup, affected []*instance, instances int, at moments) {
	t.Helper()
	for _, c := range []limit{fresh, few} {
		part, rate := float64(max(1, c.capacity/instances)), c.rate/float64(instances)
		for _, b := range affected {
			most := mostOf(within(by(s.backend.of(c.name), b), at.away, at.healed), rate)
			if most > part+clocks || most < part-0.5 {
				t.Errorf("while Redis was away, instance %s let through %.2f tokens of client %s beyond its part of the refill, want %.0f", b.number, most, c.name, part)
			}
		}
	}
}

// checkPassed looks at what all instances let through in all the time.
func (o *outage) checkPassed(t *testing.T, s *setup, instances int, at moments) {
	t.Helper()
	mixed := float64(o.away) * o.mixed(at, instances).Seconds() / float64(instances)
	for _, c := range []struct {
		limit
		more int // than the bound while Redis is there, beside what mixed is for
	}{
		{exact, 1}, {debtor, 1}, {elsewhere, 1},
		{large, 1 + instances*large.credit(instances)},
		// Those that are away still may let through their part while the others are back.
		{fresh, o.away * fresh.capacity / instances},
		{few, o.away},
	} {
		bound := float64(c.capacity+instances*c.credit(instances)+c.more) + mixed*c.rate
		most := mostOf(s.backend.of(c.name), c.rate)
		t.Logf("%s: the worst window has %.2f beyond the refill, of at most %.2f", c.name, most, bound)
		if most > bound+clocks {
			t.Errorf("%s: a window has %.2f tokens beyond the refill, more than %.2f", c.name, most, bound)
		}
	}
}

// flow is steady traffic, a request of each client at an instance each 10 ms or so.
type flow struct {
	stopped chan struct{}
	sending sync.WaitGroup
	mu      sync.Mutex
	limited map[string]bool // by instance and client
	took    []time.Duration
	failed  []answer
}

func (f *flow) send(b *instance, limits ...limit) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped == nil {
		f.stopped, f.limited = make(chan struct{}), map[string]bool{}
	}
	for _, l := range limits {
		f.sending.Go(func() {
			for {
				select {
				case <-f.stopped:
					return
				case <-time.After(10 * time.Millisecond):
				}
				a := b.ask(l.name)
				for ; a.status == 200; a = b.ask(l.name) {
					f.count(b, l, a)
				}
				f.count(b, l, a)
			}
		})
	}
}

func (f *flow) count(b *instance, l limit, a answer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.took = append(f.took, a.took)
	if a.status == 429 {
		f.limited[b.number+l.name] = true
	}
	if a.isFailure() {
		f.failed = append(f.failed, a)
	}
}

// isLimited reports whether a request of a client was rejected by an instance.
func (f *flow) isLimited(b *instance, l limit) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.limited[b.number+l.name]
}

// await waits until lb_share_up has a value at all instances, and returns when that is so.
func await(t *testing.T, all []*instance, value string) (at time.Duration) {
	t.Helper()
	for _, b := range all {
		took := balancer.WaitFor(t, deadline, fmt.Sprintf("lb_share_up to be %s at instance %s", value, b.number), func() bool {
			return b.metric("lb_share_up") == value
		})
		t.Logf("instance %s: lb_share_up is %s after %s more", b.number, value, took.Round(time.Millisecond))
		at = b.backend.now()
	}
	return at
}

// stop ends the traffic and checks it: each request was let through or rejected, in time.
func (f *flow) stop(t *testing.T, limit time.Duration) {
	t.Helper()
	close(f.stopped)
	f.sending.Wait()
	slices.Sort(f.took)
	n := len(f.took)
	t.Logf("%d requests: median %s, p99 %s, longest %s", n, f.took[n/2], f.took[n*99/100], f.took[n-1])
	if len(f.failed) > 0 {
		t.Errorf("%d requests have failed, such as: %+v", len(f.failed), f.failed[0])
	}
	if longest := f.took[n-1]; longest > limit {
		t.Errorf("a request took %s, more than %s", longest, limit)
	}
}
