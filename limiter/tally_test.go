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

// TestShareForgetsWhileAway has many addresses spend more than half of a bucket while the center is
// away, and a reset that has yet to be told.
func TestShareForgetsWhileAway(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCenter(time.Millisecond)
		l := New(Config{Default: Default{Limit: Limit{10, 1}}, IPv6Prefix: 64, MaxTracked: 1000})
		s := l.Share(5 * time.Millisecond)
		s.Return(among(2))
		s.Leave()
		go c.serve(s, t.Context().Done())
		for i := range 200 {
			spend(l, ipv4(i).String(), 6)
		}
		if n := s.tallies.Size(); n != 200 {
			t.Errorf("%d clients have something to tell, want 200", n)
		}
		l.grant(client("192.0.2.1"), Terms{Limit: Limit{10, 1}}, full)
		l.Reset(client("192.0.2.1"))
		time.Sleep(5 * time.Minute)
		if n := s.tallies.Size(); n != 1 || len(s.agenda) != 1 {
			t.Errorf("%d clients are kept, want that of the reset", n)
		}
		s.Return(among(2))
		time.Sleep(100 * time.Millisecond)
		if told := c.heard(); len(told) != 1 || !told[0].Reset {
			t.Errorf("%+v was told", told)
		}
	})
}

// TestShareForgetsOnlyDropped has a request find a tally that is about to be dropped, and is not.
func TestShareForgetsOnlyDropped(t *testing.T) {
	l := New(Config{Default: Default{Limit: Limit{10, 1}}, IPv6Prefix: 64, MaxTracked: 1000})
	s := l.Share(5 * time.Millisecond)
	x := s.open(&tally{party: party{nil, 1}}, nil, l.anonymous.Load())
	s.forget(x)
	if _, known := s.tallies.Load(x.party); !known {
		t.Error("a tally in use was forgotten")
	}
	for range 2 { // it may have been noted since it was dropped
		if !x.drop() {
			t.Error("it cannot be dropped")
		}
	}
	s.forget(x)
	if n := s.tallies.Size(); n != 0 {
		t.Errorf("%d tallies", n)
	}
}

// TestSharePlansTheFirst has two requests take the first untold tokens at once: neither sees one alone.
func TestSharePlansTheFirst(t *testing.T) {
	l := New(Config{Default: Default{Limit: Limit{100, 0.001}}, IPv6Prefix: 64, MaxTracked: 1000})
	s := l.Share(5 * time.Millisecond)
	s.Return(among(1))
	l.grant(client("192.0.2.1"), Terms{Limit: Limit{1000, 1}}, full)
	c := l.Identify(netip.MustParseAddr("192.0.2.1"), nil)
	s.reset(client("192.0.2.1"), c.bucket) // opens the tally
	s.Settle(s.Collect(nil)[0], time.Now(), Answer{})
	x, _ := s.tallies.Load(party{c.bucket.account, 0})
	if x.noted.Load() || x.untold() != 0 {
		t.Fatalf("%+v", x)
	}
	x.reserve(10)
	l.ask(c, time.Now())
	if x.took(true) != 2 || !x.noted.Load() {
		t.Errorf("%d untold, and nothing looks at them for a minute", x.untold())
	}
}

// TestShareForgetsDroppedAgain resets a client whose tally is dropped meanwhile.
func TestShareForgetsDroppedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCenter(time.Millisecond)
		s := c.instance(t, 1).share
		x := s.open(&tally{party: party{nil, 1}}, nil, s.limiter.anonymous.Load())
		if !x.drop() {
			t.Error("it cannot be dropped")
		}
		s.forget(x)
		s.forgive(x)
		time.Sleep(5 * time.Minute)
		if told := c.heard(); len(told) != 1 || !told[0].Reset || len(s.agenda) != 0 {
			t.Errorf("%+v was told, %d tallies are looked at", told, len(s.agenda))
		}
	})
}
