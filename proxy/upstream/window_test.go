package upstream

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"loadbalancer/proxy/reason"
)

// TestReturnForgets: what a backend answered before its ejection is no reason to eject it again.
func TestReturnForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, log := newOutlierPool(3)
		b := p.backends[0]
		ejected := time.Duration(0)
		began := time.Now()
		for n := range 4 * windowTicks {
			status := 200
			if ejected == 0 {
				status = 500
			}
			for i, other := range p.backends {
				if i > 0 {
					p.met(other, bob, 200, reason.None)
				} else if b.TakesRequests() {
					for client := range uint64(10) {
						p.met(b, 1+client, status, reason.None)
					}
				}
			}
			time.Sleep(watchInterval)
			p.compare(n, time.Now())
			if !b.TakesRequests() && ejected == 0 {
				ejected = time.Since(began)
			}
			if back := ejected + DefaultPoolConfig().Ejection.Base; ejected != 0 && time.Since(began) > back && !b.TakesRequests() {
				t.Fatalf("ejected again: %s", log)
			}
		}
		if ejected == 0 {
			t.Error("it was not ejected")
		}
		time.Sleep(time.Minute)
	})
}

// TestFailsFast: a backend that has answered well and begins to fail is out within two seconds.
func TestFailsFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := newOutlierPool(3)
		b := p.backends[0]
		status, n := 200, 0
		tick := func() {
			for client := range uint64(25) {
				p.met(b, 1+client, status, reason.None)
				p.met(p.backends[1], 1+client, 200, reason.None)
			}
			time.Sleep(watchInterval)
			p.compare(n, time.Now())
			n++
		}
		for range 2 * windowTicks {
			tick()
		}
		status = 500
		for range 7 {
			tick()
		}
		if b.TakesRequests() {
			t.Errorf("it is in after %s", 7*watchInterval)
		}
		time.Sleep(time.Minute)
	})
}

// TestTurns: half of the turns is the least number of events that are not of any one client.
func TestTurns(t *testing.T) {
	for _, test := range []struct {
		clients []uint64
		want    uint64
	}{
		{nil, 0},
		{[]uint64{alice, alice, alice}, 0},
		{[]uint64{alice, alice, bob, bob}, 1},
		{[]uint64{alice, bob, alice, bob}, 3},
		{[]uint64{0, 0, 0}, 3},
		{[]uint64{alice, 0, alice}, 1},
	} {
		var got turns
		for _, client := range test.clients {
			got.note(client)
		}
		if n := got.n.Load(); n != test.want {
			t.Errorf("%v: %d turns, want %d", test.clients, n, test.want)
		}
	}
}

// TestFailsForAll: where nearly all requests are of one client, the few of another that fail at the
// backend, too, tell that it is not that client's doing.
func TestFailsForAll(t *testing.T) {
	for _, fails := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			p, log := newOutlierPool(3)
			b := p.backends[0]
			for n := range 2 * windowTicks {
				p.met(p.backends[1], bob, 200, reason.None)
				for range 100 {
					p.met(b, alice, 500, reason.None)
				}
				if n%4 == 0 && fails {
					p.met(b, bob, 500, reason.None)
				}
				time.Sleep(watchInterval)
				p.compare(n, time.Now())
				if !fails && !b.TakesRequests() {
					t.Fatalf("the failures of one client have ejected the backend: %s", log)
				}
			}
			if fails && !strings.Contains(log.String(), "backend is ejected") {
				t.Error("the backend is in, although it answers everything with 500")
			}
			time.Sleep(time.Minute)
		})
	}
}

// TestSilenceBegins with the requests that wait: a backend that had none to answer was not silent.
func TestSilenceBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, log := newOutlierPool(2)
		b, peer := p.backends[0], p.backends[1]
		out := func(n int) bool {
			p.met(peer, alice, 200, reason.None)
			time.Sleep(watchInterval)
			p.compare(n, time.Now())
			return !b.TakesRequests()
		}
		for n := range 2 * silenceTicks {
			out(n)
		}
		for client := range uint64(9) {
			b.Begin()
			b.Await(1 + client)
		}
		for n := range silenceTicks {
			if out(n) {
				t.Fatalf("out after %s: %s", time.Duration(1+n)*watchInterval, log)
			}
		}
		if !out(silenceTicks) && !out(silenceTicks+1) {
			t.Error("it is in after two seconds of silence")
		}
		time.Sleep(time.Minute)
	})
}

// TestWaiters: those that are not of the client that waits most.
func TestWaiters(t *testing.T) {
	var w waiters
	for client, n := range map[uint64]int32{alice: 5, bob: 2, 13: 1, alice + 64: 1} {
		w.of(client).Add(n)
	}
	if client, others := w.most(); client != alice || others != 3 {
		t.Errorf("got %d and %d others, want alice, and another that counts as alice, and 3", client, others)
	}
}
