package limiter

import (
	"net/netip"
	"sync"
	"testing"
	"time"
)

// TestShareSettlesAtOnce has answers and resets arrive while Collect runs. What is told must be what
// was let through, at most.
func TestShareSettlesAtOnce(t *testing.T) {
	l := New(Config{Default: Default{Limit: Limit{100, 0.001}}, IPv6Prefix: 64, MaxTracked: 1000})
	s := l.Share(5 * time.Second)
	s.Return(among(1))
	id := client("192.0.2.1")
	l.grant(id, Terms{Limit: Limit{1_000_000_000, 1_000_000}}, full)
	var all sync.WaitGroup
	ended, told := make(chan struct{}), make(chan *Telling, 1000)
	until := func(stop <-chan struct{}, do func()) {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					do()
				}
			}
		})
	}
	until(ended, func() { l.ask(l.Identify(netip.MustParseAddr("192.0.2.1"), nil), time.Now()) })
	until(ended, func() { l.Reset(id) })
	for range 2 {
		all.Go(func() {
			for x := range told {
				s.Settle(x, time.Now(), Answer{})
			}
		})
	}
	for began := time.Now(); time.Since(began) < time.Second; {
		s.Ask([]string{"client:192.0.2.1"})
		for _, x := range s.Collect(nil) {
			if x.Spent > 1_000_000_000 {
				t.Errorf("%d spent", x.Spent)
			}
			told <- x
		}
	}
	close(ended)
	close(told)
	all.Wait()
	s.tallies.Range(func(_ party, x *tally) bool {
		if w := x.word.Load(); w < 0 || w != x.untold() {
			t.Errorf("word %x, %d on their way", w, x.telling.Load())
		}
		return true
	})
}
