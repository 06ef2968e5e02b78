package main

import (
	"testing"
	"time"
	"unsafe"

	juju "github.com/juju/ratelimit"
	uber "go.uber.org/ratelimit"
)

// stepped returns what time.Now would have returned at t if somebody had set the wall clock by so
// much: its monotonic reading stays.
func stepped(t *testing.T, at time.Time, by time.Duration) time.Time {
	t.Helper()
	s := at
	// The first word holds the seconds of the wall clock above 30 bits of nanoseconds; see
	// time.Time.
	*(*uint64)(unsafe.Pointer(&s)) += uint64(int64(by/time.Second)) << 30
	if s.Sub(at) != 0 || s.Round(0).Sub(at.Round(0)) != by {
		t.Fatalf("a step of %s made %v of %v", by, s, at)
	}
	return s
}

// clock is what a limiter takes for one.
type clock struct {
	now   time.Time
	slept time.Duration
}

func (c *clock) Now() time.Time        { return c.now }
func (c *clock) Sleep(d time.Duration) { c.slept += d }

// A limit of 10 a minute is spent; then the wall clock is set.
func TestWallClockSet(t *testing.T) {
	l := limit{tokens: 10, period: time.Minute}
	for _, step := range []struct {
		name              string
		by, after         time.Duration
		theirs, throttled int
	}{
		{"an hour ahead", time.Hour, time.Millisecond, 0, 10},
		{"an hour back", -time.Hour, time.Minute, 10, 0},
	} {
		t.Run(step.name, func(t *testing.T) {
			clock := &clock{now: time.Now()}
			store := newMemstore(t, 0)
			store.SetTimeNow(clock.Now)
			lim, bucket, our := newRate(l), juju.NewBucketWithRateAndClock(l.perSecond(), 10, clock), newLimiter(t, l, 1)
			c := our.Identify(clientOf(0).addr, nil)
			clock.now = time.Now() // no earlier than the limiters
			takes := []struct {
				name string
				take func() bool
				want int
			}{
				{"throttled/throttled", oneOf(throttledOn(t, store, l)), step.throttled},
				{"x/time/rate", func() bool { return lim.AllowN(clock.now, 1) }, step.theirs},
				{"juju/ratelimit", func() bool { return takeJuju(bucket) }, step.theirs},
				{"this limiter", func() bool { return admits(our, c, clock.now) }, step.theirs},
			}
			for _, l := range takes {
				assertGranted(t, l.name, granted(20, l.take), 10)
			}
			clock.now = stepped(t, clock.now.Add(step.after), step.by)
			for _, l := range takes {
				assertGranted(t, l.name+" after the step", granted(20, l.take), l.want)
			}
		})
	}
}

func TestWallClockSetBackBlocks(t *testing.T) {
	clock := &clock{now: time.Now()}
	lim := uber.New(10, uber.WithClock(clock))
	lim.Take()
	clock.now = stepped(t, clock.now.Add(time.Second), -time.Hour)
	lim.Take()
	if clock.slept < 59*time.Minute {
		t.Errorf("uber-go/ratelimit slept for %s after the wall clock was set back by an hour, expected as long", clock.slept)
	}
}
