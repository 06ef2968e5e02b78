package limiter

import (
	"math"
	"math/big"
	"math/bits"
	"time"
)

// rates is a limit prepared for exact arithmetic: a token bucket in the form of the generic cell
// rate algorithm (ITU-T I.371). The whole state of a bucket is one number, the theoretical arrival
// time (TAT): the moment at which the bucket will be full again.
//
// Moments are counted in ticks rather than nanoseconds. A token is exactly 2^shift ticks, and shift
// is chosen such that a nanosecond is 8 to 16 ticks. With whole nanoseconds per token, a client
// that pays for 700 million tokens per second would get 500 million. Only the clock is rounded,
// once and to a tick, so errors do not add up: in every window a client gets at most capacity +
// rate·(window + 1/4 ns) tokens, and over time its whole rate.
//
// A TAT stays below 2^63 for 18 years after the start of the process. Its sign bit is free, and
// marks a bucket that has moved; see closed.
type rates struct {
	capacity int64  // tokens
	token    int64  // ticks of a token
	full     int64  // ticks of a full bucket
	shift    uint8  // a token is 1<<shift ticks
	speed    uint64 // ticks per nanosecond, times 2^speedBits, rounded up
	pace     uint64 // nanoseconds per tick, times 2^63, rounded down and never exact; see when
	window   time.Duration

	perSecond float64 // tokens
}

const speedBits = 59

// prepare computes the rates of a limit that has passed Check. It panics if the limit has not.
func prepare(l Limit) rates {
	if field, allowed, ok := l.Check(); !ok {
		panic("BUG: unchecked limit: " + field + " must be " + allowed)
	}
	perSecond := exactRate(l.RatePerSecond)
	shift := 4 + uint(math.Ilogb(1e9/l.RatePerSecond))

	perBillion := new(big.Int).Mul(perSecond.Denom(), big.NewInt(1e9))
	speed := ceilQuo(new(big.Int).Lsh(perSecond.Num(), shift+speedBits), perBillion)
	// The largest whole number below 2^63 / (speed / 2^speedBits).
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

		perSecond: l.RatePerSecond,
	}
}

// limit returns the limit that was prepared.
func (r *rates) limit() Limit { return Limit{r.capacity, r.perSecond} }

func ceilQuo(a, b *big.Int) *big.Int {
	quo, rem := new(big.Int).QuoRem(a, b, new(big.Int))
	if rem.Sign() > 0 {
		quo.Add(quo, big.NewInt(1))
	}
	return quo
}

// ticks returns the number of ticks of the tokens.
func (r *rates) ticks(tokens int64) int64 {
	return tokens << (r.shift & 63) // the mask spares a check of the range
}

// at returns the tick in progress at now, in nanoseconds.
func (r *rates) at(now int64) int64 {
	tick, _ := bits.Mul64(uint64(now)<<(64-speedBits), r.speed)
	return int64(tick)
}

// when returns the first nanosecond whose tick is at least the given one, which must be positive.
func (r *rates) when(tick int64) int64 {
	// pace is rounded down, but by so little that the product lacks less than 1 ns. Its whole part
	// is therefore one or two below the result.
	before, _ := bits.Mul64(uint64(tick)<<1, r.pace)
	now := int64(before) + 1
	if r.at(now) < tick {
		now++
	}
	return now
}

// outcome is the result of asking for a token at now, in nanoseconds, and the state of the bucket
// afterwards.
type outcome struct {
	tat, now, tick int64 // tick is that of now
	allowed        bool
}

// take asks the bucket in state tat for a token at now, in nanoseconds. It reads no clock: a
// request whose now is earlier than that of the previous one finds less refilled.
func take(tat, now int64, r *rates) outcome {
	tick := r.at(now)
	next := max(tat, tick) + r.token
	if next-tick > r.full {
		return outcome{tat, now, tick, false}
	}
	return outcome{next, now, tick, true}
}

// describe fills in the decision for an outcome. It is separate from take because only the last of
// several tries is described. The caller provides the decision because the compiler copies structs
// of this size through memory when they are returned.
func (r *rates) describe(o outcome, d *Decision) {
	lacking := o.tat - r.full // the tick at which the bucket was empty
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
