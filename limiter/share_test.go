package limiter

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// center is a central state for tests, with a round trip that takes its time.
type center struct {
	tat  map[string]time.Time
	trip time.Duration
	lost bool
}

// serve tells what a Share has to tell until stop is closed.
func (c *center) serve(s *Share, stop chan struct{}) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-s.Asks():
		case <-s.Due():
		case <-tick.C:
		case <-stop:
			return
		}
		for _, told := range s.Collect(nil) {
			sent := time.Now()
			time.Sleep(c.trip / 2)
			if c.lost {
				s.Fail(told)
				continue
			}
			a := c.tell(told)
			time.Sleep(c.trip / 2)
			s.Settle(told, sent, a)
		}
	}
}

func (c *center) tell(told *Telling) Answer {
	now := time.Now()
	token := time.Duration(1e9 / told.Rate)
	tat := c.tat[told.Client]
	if tat.Before(now) {
		tat = now
	}
	tat = tat.Add(time.Duration(told.Spent) * token)
	fit := min(told.Asked, max(0, told.Capacity-int64((tat.Sub(now)+token-1)/token)))
	c.tat[told.Client] = tat.Add(time.Duration(fit) * token)
	return Answer{Debt: c.tat[told.Client].Sub(now), Granted: fit}
}

// TestShareOfTwo has two instances spend one limit, one request after another.
func TestShareOfTwo(t *testing.T) {
	for _, capacity := range []int64{1, 10, 100, 1000} {
		synctest.Test(t, func(t *testing.T) {
			c := &center{tat: map[string]time.Time{}, trip: 200 * time.Microsecond}
			stop := make(chan struct{})
			defer close(stop)
			var all [2]*Limiter
			for i := range all {
				all[i] = New(DefaultConfig())
				s := all[i].Share(5 * time.Millisecond)
				s.Return(Fleet{Instances: 2, From: time.Now(), Until: time.Now().Add(time.Hour)})
				all[i].Set(Registration{ID: ID{Prefix: netip.MustParsePrefix("192.0.2.1/32")}, Terms: Terms{Limit: Limit{capacity, 0.001}}})
				go c.serve(s, stop)
			}
			admitted := int64(0)
			for i := range 3 * capacity {
				var d Decision
				all[i%2].Admit(all[i%2].Identify(netip.MustParseAddr("192.0.2.1"), nil), time.Now(), &d)
				if d.Allowed {
					admitted++
				}
				time.Sleep(100 * time.Microsecond)
			}
			t.Log(capacity, admitted, all[0].share.Counters(), all[1].share.Counters())
			if admitted < capacity || admitted > capacity+2*(capacity/16) {
				t.Errorf("capacity %d: %d admitted", capacity, admitted)
			}
		})
	}
}
