package balance

import (
	"sync/atomic"
	"time"
)

// fading is a number that halves about every second (see halfBits). The zero value is 0. It is one
// atomic word: the number of some instant in the lower 28 bits, and that instant above.
type fading struct{ word atomic.Uint64 }

// instant is a time in units of 2^22 nanoseconds, about 4 ms. It has room for 9 years.
type instant uint64

const (
	unitBits  = 22 // the logarithm of an instant's unit, in nanoseconds
	halfBits  = 8  // the logarithm of the half-life, in units of an instant: 1.07 s
	valueBits = 28 // of the number

	maxValue   = 1<<valueBits - 1
	maxInstant = 1<<(64-valueBits) - 1
)

// instantOf returns the instant of a time. Those before 0 are 0.
func instantOf(t time.Duration) instant {
	return min(instant(max(0, t))>>unitBits, maxInstant)
}

// isZero reports whether the number has always been 0, so that the time does not matter.
func (f *fading) isZero() bool { return f.word.Load() == 0 }

// at returns the number at now.
func (f *fading) at(now instant) uint64 {
	value, since := unpack(f.word.Load())
	return fade(value, elapsed(since, now))
}

// add adds n to the number at now.
func (f *fading) add(n uint64, now instant) {
	for {
		old := f.word.Load()
		value, since := unpack(old)
		value = min(fade(value, elapsed(since, now))+n, maxValue)
		if f.word.CompareAndSwap(old, pack(value, max(since, now))) {
			return
		}
	}
}

func pack(value uint64, at instant) uint64 { return uint64(at)<<valueBits | value }

func unpack(word uint64) (value uint64, at instant) {
	return word & maxValue, instant(word >> valueBits)
}

// elapsed returns the time from one instant to another, or 0 if that came first: times are taken
// where a request begins, and requests do not come here in that order.
func elapsed(from, to instant) instant { return to - min(from, to) }

// fade returns what is left of a value after a time: a half after each half-life, and between
// those a straight line, which is at most 6 % above the exponential.
func fade(value uint64, after instant) uint64 {
	value >>= min(after>>halfBits, 63)
	return value - value*uint64(after&(1<<halfBits-1))>>(halfBits+1)
}
