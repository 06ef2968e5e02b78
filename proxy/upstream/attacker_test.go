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
			if n%4 == 0 { // as many at once as do not make it out
				waits(b, bob)
			}
			if n%4 == 0 && n >= 20 {
				b.End(true, bob)
			}
			waits(b, alice)
		},
		"long polls while bob is served elsewhere": func(_ *Pool, b *Backend, n int) {
			if n%30 == 0 {
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
