// Package central is a model in Go of what a Redis keeps for package shared: the buckets that
// instances tell of, and the instances that live. It does the arithmetic of buckets.lua and members.lua in
// the same order on the same numbers, so both agree to the last bit.
package central

import (
	"maps"
	"math"
	"time"

	"loadbalancer/limiter"
)

// Central is the state. The zero value is empty. It is not safe for concurrent use.
type Central struct {
	buckets map[string]Bucket
	members map[string]time.Duration
	epochs  int // made so far
	epoch   int // 0: none
	process int
}

// Bucket is the state of a client's bucket.
type Bucket struct {
	At       int64   // microseconds of the central clock
	Debt     float64 // tokens that the bucket lacked at that time
	Capacity int64
	Rate     float64 // tokens per second
	Owed     float64 // tokens that a smaller capacity has forgiven
	Resets   int64

	// Expires is when the bucket is full and nothing is owed, in whole milliseconds: then it is
	// forgotten. One that was reset is kept until any bucket would be full, as an instance that has
	// not heard of the reset may know of a debt until then.
	Expires time.Duration
}

// Tell takes a telling at a moment of the central clock, of which only whole microseconds count.
func (c *Central) Tell(now time.Duration, t *limiter.Telling) limiter.Answer {
	b, ok := c.Bucket(now, t.Client)
	if ok {
		b.refill(now.Microseconds())
		b.carry(t)
	} else {
		b = Bucket{Debt: known(t), Resets: t.Resets}
	}
	b.At, b.Capacity, b.Rate = now.Microseconds(), t.Capacity, t.Rate
	b.Resets = max(b.Resets, t.Resets)
	if t.Restore {
		b.Debt = max(b.Debt, known(t))
	}
	if t.Reset {
		b.Debt, b.Owed, b.Resets = 0, 0, b.Resets+1
	}
	b.Debt += float64(t.Spent)
	granted := max(0, min(float64(t.Asked), math.Floor(float64(t.Capacity)-b.Debt)))
	b.Debt += granted
	b.Expires = now.Truncate(time.Millisecond) + b.life()
	if c.buckets == nil {
		c.buckets = map[string]Bucket{}
	}
	c.buckets[t.Client] = b
	return limiter.Answer{
		Debt:    time.Duration(math.Floor(b.Debt * 1e9 / b.Rate)),
		Granted: int64(granted),
		Resets:  b.Resets,
	}
}

// known returns the debt that the teller knows of, in tokens.
func known(t *limiter.Telling) float64 { return float64(t.Debt) * t.Rate / 1e9 }

// refill brings the bucket to a moment. What it cannot hold pays what is owed.
func (b *Bucket) refill(now int64) {
	b.Debt -= float64(max(0, now-b.At)) * b.Rate / 1e6
	if b.Debt < 0 {
		b.Owed = max(0, b.Owed+b.Debt)
		b.Debt = 0
	}
}

// carry takes the debt over to the capacity of the telling: what a smaller one forgives is owed, and
// a larger one pays what is owed first.
func (b *Bucket) carry(t *limiter.Telling) {
	forgiven := max(float64(b.Capacity-t.Capacity), -b.Owed)
	if b.Capacity > t.Capacity {
		forgiven = max(0, b.Debt-float64(t.Capacity))
	}
	b.Debt -= forgiven
	b.Owed += forgiven
}

// longest is for how many milliseconds a bucket is kept at most: 60 days. No bucket needs more than 30
// to be full, but what is owed may be of a limit a million times larger.
const longest = 60 * 24 * 60 * 60 * 1000

// life is for how long the bucket is kept.
func (b *Bucket) life() time.Duration {
	tokens := b.Debt + b.Owed
	if b.Resets > 0 {
		tokens = max(tokens, float64(b.Capacity)+b.Owed)
	}
	return time.Duration(min(math.Floor(tokens*1e3/b.Rate)+1, longest)) * time.Millisecond
}

// Bucket returns the state of a client's bucket when it was last told of. It returns false for ok if
// there is none, or none any more.
func (c *Central) Bucket(now time.Duration, client string) (b Bucket, ok bool) {
	b, ok = c.buckets[client]
	return b, ok && now.Truncate(time.Millisecond) <= b.Expires
}

// Lose forgets everything, as a Redis without persistence does when it is restarted.
func (c *Central) Lose() { c.buckets, c.members, c.epoch = nil, nil, 0 }

// Clone returns a copy that is another process, as a replica that lags behind.
func (c *Central) Clone() *Central {
	clone := *c
	clone.process++
	clone.buckets, clone.members = maps.Clone(c.buckets), maps.Clone(c.members)
	return &clone
}
