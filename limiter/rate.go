package limiter

import (
	"math/big"
	"strconv"
)

// exactRate returns the rate of a limit, in tokens per second, as a fraction: the decimal as
// written, not the nearest binary number. Otherwise 3 tokens at 0.3 per second would take a tick
// longer than 10 s.
//
// A computed rate, such as 1.0/60 or 1000.0/3600/24, has no short decimal, and may fall short of
// the intended fraction by a few units of a float64's last digit. exactRate then returns that
// fraction; otherwise a token would take a little longer than 60 s, and clients would be told to
// wait for 61.
func exactRate(perSecond float64) *big.Rat {
	written, _ := new(big.Rat).SetString(strconv.FormatFloat(perSecond, 'g', -1, 64))
	lost := new(big.Rat).Mul(written, big.NewRat(1, 1e14))
	f := simplest(written, new(big.Rat).Add(written, lost))
	// Any number has a fraction with a denominator up to q within 1/q² of it. Only a much simpler
	// one is no coincidence.
	coincidence := new(big.Rat).SetInt(new(big.Int).Mul(f.Denom(), f.Denom()))
	if coincidence.Mul(coincidence, lost).Cmp(big.NewRat(1, 10)) > 0 {
		return written
	}
	return f
}

// simplest returns the fraction from low to high with the smallest denominator (the Stern-Brocot
// tree, by continued fractions). Both must be positive, and low not above high.
func simplest(low, high *big.Rat) *big.Rat {
	whole := new(big.Rat).SetInt(new(big.Int).Quo(low.Num(), low.Denom()))
	if whole.Cmp(low) == 0 {
		return whole
	}
	if next := new(big.Rat).Add(whole, big.NewRat(1, 1)); next.Cmp(high) <= 0 {
		return next
	}
	upper, lower := new(big.Rat).Sub(low, whole), new(big.Rat).Sub(high, whole)
	inner := simplest(lower.Inv(lower), upper.Inv(upper))
	return whole.Add(whole, inner.Inv(inner))
}
