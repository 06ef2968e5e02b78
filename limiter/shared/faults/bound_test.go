package faults

import (
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"loadbalancer/bench/balancer"
	"loadbalancer/limiter/shared/redistest"
)

// limits are those of 20 registered clients. Of three instances, those below 24 tokens have no credit. Each
// bucket takes two seconds or more to fill, so a machine that stands still for a moment wastes no
// token.
var limits = []limit{
	{"a", 2, 0.5}, {"b", 3, 1}, {"c", 5, 1}, {"d", 8, 2}, {"e", 10, 4}, {"f", 12, 0.5}, {"g", 16, 8}, {"h", 20, 10}, {"i", 23, 10},
	{"j", 24, 12}, {"k", 40, 5}, {"l", 50, 25}, {"m", 100, 10}, {"n", 100, 50}, {"o", 123, 40}, {"p", 240, 100}, {"q", 500, 50},
	{"r", 1000, 200}, {"s", 2000, 100}, {"t", 4000, 50},
}

// credit is what each of so many instances may let through before it tells.
func (l limit) credit(instances int) int { return l.capacity / (8 * instances) }

// Three instances let no client have more, in any window, than its limit and their credit; of one
// without credit, not a token more than its limit. A client that always asks gets what is its own.
func TestBound(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	// No request may give up: what an instance lets through by itself is bounded in another way.
	s := &setup{backend: startBackend(t), wait: time.Second, limits: append(limits[:len(limits):len(limits)], unregistered)}
	all := s.share(t, server.URL(), server.URL(), server.URL())
	least, entitled := 6*time.Second, 0.98
	if *long {
		least, entitled = 30*time.Second, 0.995
	}
	begun := s.backend.now()
	run := startOverload(s, all)
	time.Sleep(least)
	for i := range s.limits { // each has spent all of its bucket, however slow the machine is
		balancer.WaitFor(t, 4*deadline, "a client to be limited", func() bool { return run.clients[i].lastLimited() > 0 })
	}
	run.stop(t)
	for _, b := range all {
		if away := b.Log.With("Redis is away"); len(away) > 0 || b.metric("lb_share_timeouts_total") != "0" {
			t.Fatalf("instance %s waited for Redis for a second in vain: %s", b.number, away)
		}
	}
	for i, l := range s.limits {
		credit := l.credit(len(all))
		if l == unregistered { // of which an instance tells nothing before half of the bucket is spent
			credit = l.capacity/2 + 1
		}
		seen, bound := s.backend.of(l.name), float64(l.capacity+len(all)*credit)
		// A client that is limited has no token left, so it must have got all that was due until then.
		until := run.clients[i].lastLimited()
		due := float64(l.capacity) + l.rate*(until-begun).Seconds() - wasted(seen, l.rate, begun, until)
		most, got := mostOf(seen, l.rate), float64(sentBy(seen, until))
		t.Logf("%s: capacity %d, %g per second, credit %d: the worst window has %.1f beyond the refill, of %.0f; %.0f of %.1f tokens, %.2f %%",
			l.name, l.capacity, l.rate, credit, most, bound, got, due, 100*got/due)
		if most > bound+clocks {
			t.Errorf("%s: a window has %.3f tokens beyond the refill, more than %.0f", l.name, most, bound)
		}
		if got < math.Floor(entitled*due) {
			t.Errorf("%s: got %.0f tokens, less than %g of %.1f", l.name, got, entitled, due)
		}
	}
}

// sentBy returns how many requests had been sent at a moment.
func sentBy(all []passed, moment time.Duration) (count int) {
	for _, p := range all {
		if p.sent <= moment {
			count++
		}
	}
	return count
}

// clocks is what the clocks of Redis and of a test may differ by, in tokens.
const clocks = 0.05

// overload is the traffic of clients that ask for more than they may have.
type overload struct {
	backend *backend
	stopped chan struct{}
	sending sync.WaitGroup
	clients []demand
}

// demand is what became of the requests of a client.
type demand struct {
	mu      sync.Mutex
	limited time.Duration // when the last one was sent that was rejected
	failed  []failure
}

// failure is a request that got neither of the two answers.
type failure struct {
	at *instance
	answer
}

func (d *demand) count(b *instance, sent time.Duration, a answer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if a.status == 429 {
		d.limited = max(d.limited, sent)
	}
	if a.isFailure() {
		d.failed = append(d.failed, failure{b, a})
	}
}

// lastLimited returns when the last request was sent that was rejected; 0: none was.
func (d *demand) lastLimited() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.limited
}

// startOverload starts six senders for each client. Every other client comes to all instances by turns,
// and the others stick to one.
func startOverload(s *setup, all []*instance) *overload {
	const senders = 6
	o := &overload{backend: s.backend, stopped: make(chan struct{}), clients: make([]demand, len(s.limits))}
	for i, l := range s.limits {
		for sender := range senders {
			o.sending.Go(func() {
				for n := sender; !o.hasStopped(); n++ {
					b := all[i/2%len(all)]
					if i%2 == 0 {
						b = all[n%len(all)]
					}
					sent := o.backend.now()
					a := b.ask(l.name)
					o.clients[i].count(b, sent, a)
					if a.status != 200 {
						time.Sleep(20 * time.Millisecond)
					}
				}
			})
		}
	}
	return o
}

func (o *overload) hasStopped() bool {
	select {
	case <-o.stopped:
		return true
	default:
		return false
	}
}

// stop ends the traffic and checks that none of it has failed, but at instances that have ended.
func (o *overload) stop(t *testing.T) {
	t.Helper()
	close(o.stopped)
	o.sending.Wait()
	for i := range o.clients {
		failed := slices.DeleteFunc(o.clients[i].failed, func(f failure) bool { return f.at.HasEnded() })
		if len(failed) > 0 {
			t.Errorf("%d requests of client %d have failed, such as: %+v", len(failed), i, failed[0].answer)
		}
	}
}
