package limiter

import (
	"math"
	"math/big"
	"math/bits"
	"time"
)

// rates is a limit prepared for arithmetic without rounding: a token bucket in the form of the
// generic cell rate algorithm (ITU-T I.371), whose whole state is one number, the theoretical
// arrival time (TAT): the moment at which the bucket will be full again.
//
// Moments are counted in ticks rather than nanoseconds. A token is 2^shift ticks, exactly, and
// shift is chosen such that a nanosecond is 8 to 16 of them. Counting whole nanoseconds per
// token would sell 500 million tokens per second to who has bought 700 million. Only the clock
// is rounded, once and to a tick, so no error adds up: in every window a client gets
// at most capacity + rate·(window + 1/4 ns) tokens, and over time all of its rate.
//
// A TAT stays below 2^63 for 18 years after the start of the process. Its sign is free, and
// marks a bucket that has moved; see closed.
type rates struct {
	capacity int64  // tokens
	token    int64  // ticks of one
	full     int64  // ticks of all that the bucket holds
	shift    uint8  // a token is 1<<shift ticks
	speed    uint64 // ticks per nanosecond, times 2^speedBits, rounded up
	pace     uint64 // nanoseconds per tick, times 2^63, rounded down, and never exact; see when
	window   time.Duration
}

const speedBits = 59

// prepare computes the rates of a limit that has passed Check.
func prepare(l Limit) rates {
	if field, allowed, ok := l.Check(); !ok {
		panic("BUG: unchecked limit: " + field + " must be " + allowed)
	}
	perSecond := exactRate(l.RatePerSecond)
	shift := 4 + uint(math.Ilogb(1e9/l.RatePerSecond))

	perBillion := new(big.Int).Mul(perSecond.Denom(), big.NewInt(1e9))
	speed := ceilQuo(new(big.Int).Lsh(perSecond.Num(), shift+speedBits), perBillion)
	// 2^63 / (speed / 2^speedBits), or the whole number below.
	pace, _ := bits.Div64(1<<(speedBits-1)-1, math.MaxUint64, speed.Uint64())
	window := ceilQuo(perBillion.Mul(perBillion, big.NewInt(l.Capacity)), perSecond.Num())
	return rates{
		capacity: l.Capacity,
		token:    1 << shift,
		full:     l.Capacity << shift,
		shift:    uint8(shift),
		speed:    speed.Uint64(),
		pace:     pace,
		window:   time.Duration(window.Int64()),
	}
}

func ceilQuo(a, b *big.Int) *big.Int {
	quo, rem := new(big.Int).QuoRem(a, b, new(big.Int))
	if rem.Sign() > 0 {
		quo.Add(quo, big.NewInt(1))
	}
	return quo
}

// ticks returns the ticks of so many tokens.
func (r *rates) ticks(tokens int64) int64 {
	return tokens << (r.shift & 63) // the mask spares a check of the range
}

// at returns the tick that has begun at now, in nanoseconds.
func (r *rates) at(now int64) int64 {
	tick, _ := bits.Mul64(uint64(now)<<(64-speedBits), r.speed)
	return int64(tick)
}

// when returns the first nanosecond whose tick is at least the given one, which is positive.
func (r *rates) when(tick int64) int64 {
	// pace is below the true one, but by so little that the product lacks less than 1 ns. Its whole
	// part is thus one or two below the result.
	before, _ := bits.Mul64(uint64(tick)<<1, r.pace)
	now := int64(before) + 1
	if r.at(now) < tick {
		now++
	}
	return now
}

// outcome is what came of a request for a token: the state of the bucket after it, at now, in
// nanoseconds.
type outcome struct {
	tat, now, tick int64 // tick is the one at now
	allowed        bool
}

// take asks the bucket whose state is tat for a token at now, in nanoseconds. It knows no clock: a
// now that is earlier than the one before it is simply a request that finds less refilled.
func take(tat, now int64, r *rates) outcome {
	tick := r.at(now)
	next := max(tat, tick) + r.token
	if next-tick > r.full {
		return outcome{tat, now, tick, false}
	}
	return outcome{next, now, tick, true}
}

// describe fills in the decision that an outcome is. It is apart from take because only the last try
// counts. The decision is the caller's because the compiler copies structs of this size through
// memory each time they are returned.
func (r *rates) describe(o outcome, d *Decision) {
	lacking := o.tat - r.full // the tick at which the bucket held nothing
	d.Allowed, d.Exceeded, d.Shadow = o.allowed, Nothing, false
	d.Capacity = r.capacity
	d.Remaining = max(0, o.tick-lacking) >> (r.shift & 63)
	d.Reset = 0
	if d.Remaining < r.capacity { // else no token was taken, see refuse
		d.Reset = time.Duration(r.when(lacking+r.ticks(d.Remaining+1)) - o.now)
	}
	d.Window = r.window
	d.RetryAfter = 0
	if !o.allowed {
		d.RetryAfter = d.Reset
	}
}
