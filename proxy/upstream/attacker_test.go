package upstream

import (
	"testing"
	"testing/synctest"
	"time"

	"loadbalancer/proxy/reason"
)

// TestAttacker: one client does what it can for the ejection of a backend at which another, bob,
// meets what a client of a healthy backend meets.
func TestAttacker(t *testing.T) {
	waits := func(b *Backend, client uint64) {
		b.Begin()
		b.Await(client)
	}
	for name, step := range map[string]func(p *Pool, b *Backend, n int){
		"long polls while bob comes seldom": func(p *Pool, b *Backend, n int) {
			if n%12 == 3 {
				p.met(b, bob, 200, reason.None)
			}
			waits(b, alice)
		},
		"long polls while bob polls too": func(p *Pool, b *Backend, n int) {
			if n%12 == 3 {
				p.met(b, bob, 200, reason.None)
			}
			if n%12 == 8 {
				waits(b, bob)
			}
			waits(b, alice)
		},
		"a broken page, which bob asks for once": func(p *Pool, b *Backend, n int) {
			p.met(b, bob, 200, reason.None)
			for range 20 {
				p.met(b, alice, 500, reason.None)
			}
			if n%10 == 9 {
				p.met(b, bob, 500, reason.None)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, log := newOutlierPool(3)
				b := p.backends[0]
				for n := range 2 * windowTicks {
					p.met(p.backends[1], bob, 200, reason.None)
					time.Sleep(watchInterval / 2)
					step(p, b, n)
					time.Sleep(watchInterval / 2)
					if p.compare(n, time.Now()); !b.TakesRequests() {
						t.Fatalf("ejected in interval %d: %s", n, log)
					}
				}
			})
		})
	}
}

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
