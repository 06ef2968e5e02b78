package upstream

import (
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"loadbalancer/healthz"
	"loadbalancer/proxy/balance"
	"loadbalancer/proxy/reason"
)

// clients of the tests.
const (
	alice = 11
	bob   = 12
)

// logText is what was logged. It is safe for concurrent use.
type logText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// newOutlierPool returns a pool of this many backends, and what it logs.
func newOutlierPool(backends int) (*Pool, *logText) {
	c := DefaultPoolConfig()
	c.Balance = balance.RoundRobin // the others draw
	for i := range backends {
		c.Backends = append(c.Backends, BackendConfig{URL: mustURL(fmt.Sprintf("http://127.0.0.1:%d", i+1)), Weight: 1})
	}
	log := &logText{}
	p := NewPool("main", c, zerolog.New(log))
	p.reach = func(*Backend) error { return nil }
	return p, log
}

// met counts an attempt of the client, which begins and ends now.
func (p *Pool) met(b *Backend, client uint64, status int, why reason.Code) {
	b.Begin()
	b.Await(client)
	if status != 0 {
		b.HeaderCame(client)
	}
	b.End(status == 0, client)
	p.Count(b, &Result{Status: status, Reason: why, Client: client, Began: time.Now()})
}

// TestFailuresInARow: what counts as a failure of the backend ejects it after three in a row, and
// for five seconds; what does not never does.
func TestFailuresInARow(t *testing.T) {
	for _, test := range []struct {
		status int
		why    reason.Code
		want   bool
	}{
		{0, reason.ConnectFailed, true},
		{0, reason.ConnectTimeout, true},
		{0, reason.BackendReset, true},
		{0, reason.BadResponse, true},
		{0, reason.ResponseTimeout, true},
		{200, reason.BackendAborted, true},
		{502, reason.None, true},
		{503, reason.None, true},
		{504, reason.None, true},
		{500, reason.None, false},
		{501, reason.None, false},
		{404, reason.None, false},
		{0, reason.BackendOut, false},
		{0, reason.Overloaded, false},
		{0, reason.ClientGone, false},
		{0, reason.RequestTimeout, false},
		{0, reason.BodyTooLarge, false},
		{0, reason.BadRequest, false},
		{0, reason.InternalError, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			p, log := newOutlierPool(3)
			b := p.backends[0]
			for i := range 3 {
				if !b.TakesRequests() {
					t.Fatalf("%d %s: out after %d failures", test.status, test.why, i)
				}
				p.met(b, alice, test.status, test.why)
			}
			if out := !b.TakesRequests(); out != test.want {
				t.Fatalf("%d %s: out is %v, want %v", test.status, test.why, out, test.want)
			}
			if !test.want {
				return
			}
			if s := State(b.state.Load()); s.String() != "ejected" || !strings.Contains(log.String(), "3 failures in a row") {
				t.Errorf("%d %s: the state is %s; the log is %s", test.status, test.why, s, log)
			}
			time.Sleep(5*time.Second - time.Millisecond)
			if b.TakesRequests() {
				t.Error("back before five seconds are over")
			}
			time.Sleep(2 * time.Millisecond)
			synctest.Wait()
			if !b.TakesRequests() {
				t.Error("still out after five seconds")
			}
			time.Sleep(time.Minute) // the ramp's timers end
		})
	}
}

// TestNoClientEjects: one client whose requests all fail ejects no backend that serves others.
func TestNoClientEjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, log := newOutlierPool(3)
		b := p.backends[0]
		p.met(b, bob, 200, reason.None)
		for range 100 {
			p.met(b, alice, 0, reason.BackendReset)
		}
		for n := range windowTicks {
			for range 5 {
				p.met(b, alice, 500, reason.None)
			}
			p.met(b, bob, 200, reason.None)
			p.compare(n, time.Now())
			time.Sleep(watchInterval)
		}
		if !b.TakesRequests() {
			t.Errorf("the backend is out: %s", log)
		}
		p.met(b, bob, 0, reason.BackendReset) // nor is it the client's fault any more
		p.met(b, alice, 0, reason.BackendReset)
		p.met(b, alice, 0, reason.BackendReset)
		if b.TakesRequests() {
			t.Error("failures of two clients do not eject the backend")
		}
		time.Sleep(time.Minute)
	})
}

// TestShareOf5xx: a backend whose share of 5xx stands out is ejected, and none where all fail
// alike.
func TestShareOf5xx(t *testing.T) {
	for _, all := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p, log := newOutlierPool(3)
			for n := range 8 {
				for i, b := range p.backends {
					status := 200
					if i == 0 || all {
						status = 500
					}
					for range 10 {
						p.met(b, alice, status, reason.None)
					}
				}
				time.Sleep(watchInterval)
				p.compare(n, time.Now())
			}
			if out := !p.backends[0].TakesRequests(); out == all {
				t.Errorf("all fail is %v, out is %v: %s", all, out, log)
			}
			time.Sleep(time.Minute)
		})
	}
}

// TestSilence: a backend at which eight requests wait while its peers answer is ejected after two
// seconds; where the peers are silent too, none is.
func TestSilence(t *testing.T) {
	for _, test := range []struct {
		waiting   int
		peers, me bool // answer
		streams   bool // a body's bytes come from the backend
		want      bool
	}{
		{8, true, false, false, true}, {7, true, false, false, false}, {8, false, false, false, false},
		{8, true, true, false, false}, {8, true, false, true, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			p, log := newOutlierPool(2)
			b, peer := p.backends[0], p.backends[1]
			for range test.waiting {
				b.Begin()
				b.Await(alice)
			}
			for n := range silenceTicks + 2 {
				if test.peers {
					p.met(peer, alice, 200, reason.None)
				}
				if test.me {
					p.met(b, alice, 200, reason.None)
				}
				if test.streams {
					b.Heard()
				}
				time.Sleep(watchInterval)
				p.compare(n, time.Now())
			}
			if out := !b.TakesRequests(); out != test.want {
				t.Errorf("%+v: out is %v: %s", test, out, log)
			}
			time.Sleep(time.Minute)
		})
	}
}

// TestSilenceOfOneClient: what one client waits for, such as long polling, ejects no backend that
// has served another shortly before; what many wait for does.
func TestSilenceOfOneClient(t *testing.T) {
	for _, several := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p, log := newOutlierPool(2)
			b, peer := p.backends[0], p.backends[1]
			p.met(b, bob, 200, reason.None)
			time.Sleep(time.Second)
			for range 100 {
				b.Begin()
				b.Await(alice)
			}
			for n := range 2 * silenceTicks {
				p.met(peer, bob, 200, reason.None)
				if several && n == silenceTicks {
					for client := range uint64(8) {
						b.Begin()
						b.Await(100 + client)
					}
				}
				time.Sleep(watchInterval)
				p.compare(n, time.Now())
			}
			if out := !b.TakesRequests(); out != several {
				t.Errorf("several clients: %v, out is %v: %s", several, out, log)
			}
			time.Sleep(time.Minute)
		})
	}
}

// TestLastIsNotEjected: the last backend that takes requests stays, and one of two may go.
func TestLastIsNotEjected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := newOutlierPool(2)
		for _, b := range p.backends {
			for range 5 {
				p.met(b, alice, 0, reason.ConnectFailed)
			}
		}
		if p.backends[0].TakesRequests() || !p.backends[1].TakesRequests() {
			t.Errorf("the states are %+v", p.States())
		}
		time.Sleep(time.Minute)
	})
}

// TestChecksAndEjection are two bits: a check that passes brings no ejected backend back, and the
// end of an ejection none that is down.
func TestChecksAndEjection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := newOutlierPool(2)
		b := p.backends[0]
		for range 3 {
			p.met(b, alice, 0, reason.BackendReset)
		}
		p.Mark(b, Down, true)
		if s := State(b.state.Load()).String(); s != "down,ejected" {
			t.Errorf("the state is %s", s)
		}
		p.Mark(b, Down, false)
		if b.TakesRequests() {
			t.Error("a check has brought an ejected backend back")
		}
		p.Mark(b, Down, true)
		time.Sleep(6 * time.Second)
		if s := State(b.state.Load()).String(); s != "down" {
			t.Errorf("after the ejection the state is %s", s)
		}
		time.Sleep(time.Minute)
	})
}

// TestRamp: what comes back takes a share that grows over ten seconds, and never more than its own.
func TestRamp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := newOutlierPool(2)
		b := p.backends[0]
		p.Mark(b, Down, true)
		time.Sleep(time.Second)
		p.Mark(b, Down, false)
		share := func() float64 {
			const picks = 4200
			n := 0
			for range picks {
				if p.Pick(0, time.Now(), &Tried{}) == b {
					n++
				}
			}
			return float64(n) / picks
		}
		before := share()
		if before > 0.06 {
			t.Errorf("at first the share is %.2f", before)
		}
		for range 10 {
			time.Sleep(time.Second)
			synctest.Wait()
			now := share()
			if now < before || now > 0.501 {
				t.Errorf("the share went from %.2f to %.2f", before, now)
			}
			before = now
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := share(); got < 0.499 {
			t.Errorf("in the end the share is %.2f", got)
		}
		if p.ramping {
			t.Error("a step is still due")
		}
	})
}

func TestRecentClients(t *testing.T) {
	var s recentClients
	at := int64(1)
	require := func(client uint64, want bool) {
		t.Helper()
		if got := s.other(client, at); got != want {
			t.Errorf("at %d another than %d was served is %v, want %v", at, client, got, want)
		}
	}
	require(alice, false)
	s.note(alice, at)
	require(alice, false)
	require(bob, true)
	s.note(bob, at)
	require(alice, true)
	require(bob, true)
	s.note(13, at+1) // two are enough
	require(alice, true)
	at += lately - 1
	s.note(alice, at)
	at += 2
	require(bob, true)
	require(alice, false)
	s.note(13, at)
	require(alice, true)
}

// TestConfirm: a backend that refuses a connection is tried again until it is out, or accepts one.
func TestConfirm(t *testing.T) {
	for _, refuses := range []int{0, 1, 100} {
		synctest.Test(t, func(t *testing.T) {
			p, log := newOutlierPool(3)
			b, dials := p.backends[0], 0
			p.reach = func(*Backend) error {
				if dials++; dials > refuses {
					return nil
				}
				return syscall.ECONNREFUSED
			}
			p.met(b, alice, 0, reason.ConnectFailed)
			time.Sleep(2*confirmPause + 1)
			synctest.Wait()
			if out := !b.TakesRequests(); out != (refuses >= 2) || dials != min(refuses+1, 2) {
				t.Errorf("it refuses %d dials: out is %v after %d: %s", refuses, out, dials, log)
			}
			time.Sleep(time.Minute)
		})
	}
}

// TestOthersServedElsewhere: failures of one client at one backend eject it only where no other
// client is served, by any backend or, where clients belong to their backends, by that one.
func TestOthersServedElsewhere(t *testing.T) {
	sticky := StickyConfig{Cookie: "backend", Secret: "secret"}
	for _, test := range []struct {
		policy balance.Policy
		sticky StickyConfig
		want   bool
	}{
		{balance.RoundRobin, StickyConfig{}, false},
		{balance.Latency, StickyConfig{}, false},
		{balance.IPHash, StickyConfig{}, true},
		{balance.Hash, StickyConfig{}, true},
		{balance.RoundRobin, sticky, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			p, log := newOutlierPool(3)
			c := *p.config.Load()
			c.Balance, c.Sticky = test.policy, test.sticky
			p.Apply(c)
			b := p.backends[0]
			for range 10 {
				p.met(p.backends[1], bob, 200, reason.None)
				p.met(b, alice, 0, reason.ResponseTimeout)
			}
			if out := !b.TakesRequests(); out != test.want {
				t.Errorf("%s, sticky %t: out is %v: %s", test.policy, test.sticky.Cookie != "", out, log)
			}
			time.Sleep(time.Minute)
		})
	}
}

// TestSuspect: a silent backend at which few requests wait gets more until silence counts, and one
// that answers them none.
func TestSuspect(t *testing.T) {
	for _, works := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p, log := newOutlierPool(3)
			b, peer := p.backends[0], p.backends[1]
			b.Begin()
			b.Await(alice)
			picked, out := 0, 0
			for n := range 5 * 4 {
				p.met(peer, alice, 200, reason.None)
				for range 20 {
					if got := p.PickSuspect(time.Now(), &Tried{}); got == b {
						picked++
						if b.Begin(); works {
							b.Heard()
							b.End(false, alice)
						} else {
							b.Await(alice)
						}
					} else if got != nil {
						t.Fatalf("%s is suspected", got.Name())
					}
				}
				time.Sleep(watchInterval)
				if p.compare(n, time.Now()); out == 0 && !b.TakesRequests() {
					out = n
				}
			}
			if works && out > 0 || !works && (out == 0 || out > 12 || picked != healthz.MinWaiting-1) {
				t.Errorf("works %v: out after %d intervals and %d requests: %s", works, out, picked, log)
			}
			time.Sleep(time.Minute)
		})
	}
}

// TestOwnFaultEjectsNone: that this machine has no descriptor left says nothing about a backend.
func TestOwnFaultEjectsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, log := newOutlierPool(3)
		b := p.backends[0]
		shortage := &net.OpError{Op: "dial", Err: os.NewSyscallError("socket", syscall.EMFILE)}
		p.reach = func(*Backend) error { return shortage }
		for range 100 {
			b.Begin()
			b.End(false, 0)
			p.Count(b, &Result{Reason: reason.ConnectFailed, Cause: shortage, Client: alice, Began: time.Now()})
		}
		time.Sleep(time.Minute)
		if !b.TakesRequests() {
			t.Errorf("it is out: %s", log)
		}
	})
}
