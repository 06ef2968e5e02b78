package limiter

import (
	"math"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// center is a central state for tests, with a round trip that takes its time.
type center struct {
	mu      sync.Mutex
	buckets map[string]*centerBucket
	trip    time.Duration
	lost    atomic.Bool // tellings and answers are
	told    []Telling
}

type centerBucket struct {
	tat    time.Time
	resets int64
}

func newCenter(trip time.Duration) *center {
	return &center{buckets: map[string]*centerBucket{}, trip: trip}
}

// instance returns one of so many instances, which tells the center until the test ends.
func (c *center) instance(t *testing.T, of int64) *Limiter {
	l := New(Config{Default: Default{Limit: Limit{100, 0.001}}, IPv6Prefix: 64, MaxTracked: 1000})
	s := l.Share(5 * time.Millisecond)
	s.Return(among(of))
	go c.serve(s, t.Context().Done())
	return l
}

// among returns a fleet of so many instances, with credit.
func among(instances int64) Fleet {
	return Fleet{Instances: instances, From: time.Now(), Until: time.Now().Add(24 * time.Hour)}
}

// serve tells what a Share has to tell.
func (c *center) serve(s *Share, ended <-chan struct{}) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-s.Asks():
		case <-s.Due():
		case <-tick.C:
		case <-ended:
			return
		}
		for _, told := range s.Collect(nil) {
			go c.bring(s, told)
		}
	}
}

func (c *center) bring(s *Share, told *Telling) {
	sent := time.Now()
	time.Sleep(c.trip / 2)
	if c.lost.Load() {
		time.Sleep(20 * time.Millisecond)
		s.Fail(told)
		return
	}
	a := c.tell(told)
	time.Sleep(c.trip - c.trip/2)
	s.Settle(told, sent, a)
}

func (c *center) tell(told *Telling) Answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told = append(c.told, *told)
	now, token := time.Now(), time.Duration(1e9/told.Rate)
	b := c.buckets[told.Client]
	if b == nil {
		b = &centerBucket{}
		c.buckets[told.Client] = b
	}
	if told.Reset {
		b.tat, b.resets = now, b.resets+1
	}
	if b.tat.Before(now) {
		b.tat = now
	}
	b.tat = b.tat.Add(time.Duration(told.Spent) * token)
	fit := min(told.Asked, max(0, told.Capacity-int64((b.tat.Sub(now)+token-1)/token)))
	b.tat = b.tat.Add(time.Duration(fit) * token)
	return Answer{Debt: b.tat.Sub(now), Granted: fit, Resets: b.resets}
}

// heard returns what the center was told.
func (c *center) heard() []Telling {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.told)
}

// spend has the client of an address make so many requests, and returns how many were admitted.
func spend(l *Limiter, addr string, requests int64) (admitted int64) {
	for range requests {
		if l.ask(l.Identify(netip.MustParseAddr(addr), nil), time.Now()).Allowed {
			admitted++
		}
		time.Sleep(100 * time.Microsecond)
	}
	return admitted
}

// inBubble runs a test with a clock of its own.
func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		test(t)
		time.Sleep(time.Second) // until what is on its way has arrived
	})
}

// TestShareOfTwo has two instances spend one limit, one request after another.
func TestShareOfTwo(t *testing.T) {
	for _, capacity := range []int64{1, 10, 100, 1000} {
		inBubble(t, func(t *testing.T) {
			c := newCenter(200 * time.Microsecond)
			all := [2]*Limiter{c.instance(t, 2), c.instance(t, 2)}
			for _, l := range all {
				l.grant(client("192.0.2.1"), Terms{Limit: Limit{capacity, 0.001}}, full)
			}
			admitted := int64(0)
			for i := range 3 * capacity {
				admitted += spend(all[i%2], "192.0.2.1", 1)
			}
			if admitted < capacity || admitted > capacity+2*(capacity/16) {
				t.Errorf("capacity %d: %d admitted", capacity, admitted)
			}
		})
	}
}

// TestShareFlood has a client that has nothing left go on asking.
func TestShareFlood(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCenter(time.Millisecond)
		l := c.instance(t, 2)
		l.grant(client("192.0.2.1"), Terms{Limit: Limit{10, 0.001}}, full)
		if got := spend(l, "192.0.2.1", 20); got != 10 {
			t.Fatalf("%d admitted", got)
		}
		before := l.share.Counters()
		if got := spend(l, "192.0.2.1", 10_000); got != 0 || l.share.Counters() != before {
			t.Errorf("%d admitted, %+v", got, l.share.Counters())
		}
	})
}

// TestShareIsToldInTime has a client spend less than half of its credit.
func TestShareIsToldInTime(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCenter(time.Millisecond)
		l := c.instance(t, 1)
		l.grant(client("192.0.2.1"), Terms{Limit: Limit{1000, 100}}, full) // full after 10 s
		spend(l, "192.0.2.1", 3)
		time.Sleep(4900 * time.Millisecond)
		if len(c.heard()) != 0 {
			t.Errorf("%+v was told at once", c.heard())
		}
		time.Sleep(200 * time.Millisecond)
		if len(c.heard()) != 1 || c.heard()[0].Spent != 3 || c.heard()[0].Client != "client:192.0.2.1" {
			t.Errorf("%+v was told", c.heard())
		}
		time.Sleep(4 * time.Minute)
		if n := l.share.tallies.Size(); n != 0 || len(l.share.agenda) != 0 || len(c.heard()) != 1 {
			t.Errorf("%d clients are still there, %+v was told", n, c.heard())
		}
		if got := spend(l, "192.0.2.1", 3); got != 3 {
			t.Errorf("%d admitted later", got)
		}
	})
}

// TestShareOfUnregistered tells those that spend more than half of their bucket.
func TestShareOfUnregistered(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCenter(time.Millisecond)
		one, two := c.instance(t, 2), c.instance(t, 2)
		for i := range 500 {
			spend(one, ipv4(i).String(), 3)
		}
		time.Sleep(time.Minute)
		if len(c.heard()) != 0 {
			t.Errorf("%+v was told", c.heard()[0])
		}
		got := spend(one, "2001:db8::1", 60)
		time.Sleep(time.Minute)
		got += spend(two, "2001:db8::2", 100)
		if got < 99 || got > 100+2*6 || c.heard()[0].Client != "default:2001:db8::/64" {
			t.Errorf("%d admitted; %+v", got, c.heard()[0])
		}
		// Half a bucket for each instance is not told.
		if got := spend(two, "203.0.113.1", 50) + spend(one, "203.0.113.1", 100); got < 100 || got > 150+6 {
			t.Errorf("%d admitted", got)
		}
	})
}

// TestShareOfEach names each address in a range.
func TestShareOfEach(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCenter(time.Millisecond)
		l := c.instance(t, 2)
		l.grant(client("192.0.2.0/24"), Terms{Limit: Limit{20, 0.001}, Each: true}, full)
		if got := spend(l, "192.0.2.7", 30); got != 20 || c.heard()[0].Client != "client:192.0.2.0/24:192.0.2.7" {
			t.Errorf("%d admitted, %+v", got, c.heard()[0])
		}
		told := len(c.heard())
		l.grant(client("192.0.2.0/24"), Terms{Limit: Limit{20, 0.001}, Each: true, Shadow: true}, full)
		if spend(l, "192.0.2.7", 100); len(c.heard()) != told {
			t.Error("a limit in shadow mode is told")
		}
	})
}

// TestShareAway has the center go away, and come back.
func TestShareAway(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCenter(time.Millisecond)
		l := c.instance(t, 4)
		limit := Terms{Limit: Limit{40, 4}}
		l.grant(client("192.0.2.1"), limit, full)
		l.grant(client("192.0.2.2"), limit, full)
		c.lost.Store(true)
		l.share.Leave()
		if got := spend(l, "192.0.2.1", 100); got != 10 {
			t.Errorf("%d admitted, want a quarter", got)
		}
		before := l.share.Counters()
		for range 5 { // a token a second is a quarter of the rate
			d := l.ask(l.Identify(netip.MustParseAddr("192.0.2.1"), nil), time.Now())
			if d.Allowed || d.RetryAfter < time.Millisecond || d.RetryAfter > time.Second || d.Remaining != 0 {
				t.Errorf("%+v", d)
			}
			time.Sleep(d.RetryAfter)
			if d := l.ask(l.Identify(netip.MustParseAddr("192.0.2.1"), nil), time.Now()); !d.Allowed || d.Remaining != 0 {
				t.Errorf("not admitted after the wait that was announced: %+v", d)
			}
		}
		if l.share.Counters() != before {
			t.Errorf("%+v", l.share.Counters())
		}
		c.lost.Store(false)
		l.share.Return(among(4))
		time.Sleep(10 * time.Millisecond)
		if len(c.heard()) != 1 || c.heard()[0].Spent != 10 { // 15, of which 5 are repaid
			t.Errorf("%+v was told", c.heard())
		}
		if got := spend(l, "192.0.2.1", 40); got < 29 || got > 31 {
			t.Errorf("%d admitted: the others have let nothing through", got)
		}
	})
}

// TestShareCapacityBelowInstances has fewer tokens than instances.
func TestShareCapacityBelowInstances(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := newCenter(time.Millisecond).instance(t, 10)
		l.grant(client("192.0.2.1"), Terms{Limit: Limit{1, 1}}, full)
		l.share.Leave()
		if got := spend(l, "192.0.2.1", 300_000); got != 3 {
			t.Errorf("%d admitted in 30 s by one of ten, want 1 and 0.1 a second", got)
		}
	})
}

// TestShareLate has a center that is slow, and then one that does not answer.
func TestShareLate(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCenter(4 * time.Millisecond)
		l := c.instance(t, 2)
		l.grant(client("192.0.2.1"), Terms{Limit: Limit{10, 0.001}}, full)
		ask := func() (took time.Duration) {
			began := time.Now()
			l.ask(l.Identify(netip.MustParseAddr("192.0.2.1"), nil), began)
			return time.Since(began)
		}
		for range 4 {
			if took := ask(); took != c.trip || l.share.IsAway() {
				t.Errorf("a request took %v", took)
			}
		}
		c.lost.Store(true)
		for i := range 3 {
			if took := ask(); took != 5*time.Millisecond {
				t.Errorf("request %d took %v", i, took)
			}
		}
		if !l.share.IsAway() {
			t.Error("it does not count as away")
		}
		if took := ask(); took != 0 {
			t.Errorf("a request took %v while it is away", took)
		}
	})
}

// TestShareReset has a client reset at one of two instances.
func TestShareReset(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCenter(time.Millisecond)
		one, two := c.instance(t, 2), c.instance(t, 2)
		id := client("192.0.2.1")
		for _, l := range []*Limiter{one, two} {
			l.grant(id, Terms{Limit: Limit{10, 1}}, full)
		}
		if got := spend(one, "192.0.2.1", 10) + spend(two, "192.0.2.1", 10); got != 10 {
			t.Errorf("%d admitted", got)
		}
		one.Reset(id)
		time.Sleep(1100 * time.Millisecond) // the other one asks once its view has a token
		if got := spend(two, "192.0.2.1", 20); got != 10 {
			t.Errorf("%d admitted after a reset", got)
		}
	})
}

// TestShareLosesNoToken has many requests at once, and compares what was admitted with what the center
// has heard.
func TestShareLosesNoToken(t *testing.T) {
	c := newCenter(0)
	l := c.instance(t, 1)
	l.grant(client("192.0.2.1"), Terms{Limit: Limit{100_000, 0.1}}, full)
	l.share.SetWait(10 * time.Second)
	var admitted atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 20_000 {
				if l.ask(l.Identify(netip.MustParseAddr("192.0.2.1"), nil), time.Now()).Allowed {
					admitted.Add(1)
				}
			}
		})
	}
	all.Wait()
	tally, _ := l.share.tallies.Load(party{l.exact.get(addressOf(netip.MustParseAddr("192.0.2.1"))).account, 0})
	for deadline := time.Now().Add(10 * time.Second); tally.word.Load() != 0 && time.Now().Before(deadline); {
		tally.forgiveNothing(l.share)
		time.Sleep(time.Millisecond)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	spent := int64(math.Round(time.Until(c.buckets["client:192.0.2.1"].tat).Seconds() * 0.1))
	if got := admitted.Load(); got < 100_000 || got > 100_000+100_000/8 || got != spent || tally.word.Load() != 0 || tally.telling.Load() != 0 {
		t.Errorf("%d admitted, the center knows of %d, %d are untold", got, spent, tally.word.Load())
	}
}

// forgiveNothing has what is untold told at once.
func (t *tally) forgiveNothing(s *Share) {
	t.restore.Store(true)
	s.note(t)
	signal(s.due)
}

// TestHealth has round trips that are too slow.
func TestHealth(t *testing.T) {
	var h health
	for i, step := range []struct {
		now  int64
		good bool
		away bool
	}{
		{now: 100}, {now: 101}, {now: 109}, {now: 110}, {now: 119}, {now: 120, away: true}, {now: 121},
		{now: 122, good: true}, {now: 130}, {now: 140}, {now: 145, good: true}, {now: 150}, {now: 160}, {now: 170, away: true},
	} {
		if step.good {
			h.recover()
		} else if away := h.strike(step.now, 10); away != step.away {
			t.Errorf("step %d: away is %v", i, away)
		}
	}
}

// TestCredit is for the credit by the instances and the time.
func TestCredit(t *testing.T) {
	f := &fleet{instances: 3, from: 10, until: 20}
	for _, c := range []struct{ capacity, now, want int64 }{
		{23, 10, 0}, {24, 10, 1}, {100, 19, 4}, {100, 9, 0}, {100, 20, 0}, {maxCapacity, 15, maxUntold},
	} {
		if got := f.credit(c.capacity, c.now); got != min(c.want, c.capacity/24) {
			t.Errorf("capacity %d at %d: %d", c.capacity, c.now, got)
		}
	}
}

// TestShareLateAnswer has an answer come while the center is away: what the instance has let through
// since stays its part, and is told in full.
func TestShareLateAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := New(DefaultConfig())
		s := l.Share(5 * time.Millisecond)
		l.grant(client("192.0.2.1"), Terms{Limit: Limit{16, 0.001}}, full) // a part is 4, and there is no credit
		s.Return(among(4))
		sent := time.Now()
		var waits sync.WaitGroup
		waits.Go(func() { spend(l, "192.0.2.1", 1) })
		synctest.Wait()
		told := s.Collect(nil)
		s.Leave()
		alone := spend(l, "192.0.2.1", 3)
		s.Settle(told[0], sent, Answer{Debt: time.Second, Granted: 1})
		waits.Wait()
		if alone += spend(l, "192.0.2.1", 10); alone != 4 {
			t.Errorf("%d were let through without the center, want 4", alone)
		}
		s.Return(among(4))
		if told = s.Collect(nil); len(told) != 1 || told[0].Spent != alone {
			t.Errorf("%d were let through, and %+v was told", alone, told[0])
		}
	})
}

// TestMoreWait is for a process that is behind, and one that is not.
func TestMoreWait(t *testing.T) {
	for _, c := range []struct{ due, passed, want time.Duration }{
		{5, 5, 0}, {5, 6, 0}, {5, 7, 16}, {5, 30, 195}, {21, 22, 0}, {21, 24, 24}, {200, 300, 0}, {190, 200, 10},
	} {
		if got := moreWait(5*time.Millisecond, c.due*time.Millisecond, c.passed*time.Millisecond); got != c.want*time.Millisecond {
			t.Errorf("due after %d ms, seen after %d ms: %v more, want %d ms", c.due, c.passed, got, c.want)
		}
	}
}

// TestWaitOfABusyProcess has an answer arrive after the wait, while the process has no processor for the
// request that waits either. Without the one, the wait ends in time.
func TestWaitOfABusyProcess(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	w, late := &waiter{told: make(chan struct{})}, &waiter{told: make(chan struct{})}
	go func() {
		for began := time.Now(); time.Since(began) < 30*time.Millisecond; {
		}
		w.tell(granted)
	}()
	if got := w.wait(5 * time.Millisecond); got != granted {
		t.Errorf("the verdict is %d, want %d", got, granted)
	}
	began := time.Now()
	if got := late.wait(5 * time.Millisecond); got != unanswered || time.Since(began) < 5*time.Millisecond {
		t.Errorf("the verdict is %d after %v, want %d", got, time.Since(began), unanswered)
	}
}

// TestTallyMemory is for what a client in debt takes here.
func TestTallyMemory(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector takes memory, too")
	}
	const clients = 100_000
	l := New(DefaultConfig())
	l.Share(time.Second).Return(among(1))
	for i := range clients {
		l.registerNow(netip.PrefixFrom(ipv4(i), 32), Limit{1000, 1})
	}
	before := heapBytes()
	for i := range clients {
		l.ask(l.Identify(ipv4(i), nil), time.Now())
	}
	each := (heapBytes() - before) / clients
	t.Logf("%d bytes for each client in debt", each)
	if each < 100 || each > 350 || l.share.tallies.Size() != clients {
		t.Errorf("%d bytes for each of %d clients in debt, want about 250", each, l.share.tallies.Size())
	}
}
