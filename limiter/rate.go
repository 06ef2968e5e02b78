package limiter

import (
	"math/big"
	"strconv"
)

// exactRate returns the rate of a limit, in tokens per second, as a fraction: the decimal that was
// written, not the binary number nearest to it, else 3 tokens at 0.3 per second would take a tick
// longer than 10 s.
//
// A rate that was computed, such as 1.0/60 or 1000.0/3600/24, has no short decimal, and may fall
// short of the fraction it stands for by a few units of a float64's last digit. It is that fraction:
// a token would take a little longer than 60 s otherwise, and clients would be told to wait for 61.
func exactRate(perSecond float64) *big.Rat {
	written, _ := new(big.Rat).SetString(strconv.FormatFloat(perSecond, 'g', -1, 64))
	lost := new(big.Rat).Mul(written, big.NewRat(1, 1e14))
	f := simplest(written, new(big.Rat).Add(written, lost))
	// Of fractions with denominators up to q, there is one within 1/q² of any number. Only one much
	// simpler than that is no coincidence.
	coincidence := new(big.Rat).SetInt(new(big.Int).Mul(f.Denom(), f.Denom()))
	if coincidence.Mul(coincidence, lost).Cmp(big.NewRat(1, 10)) > 0 {
		return written
	}
	return f
}

// simplest returns the fraction from low to high with the smallest denominator (Stern and Brocot's
// tree, by continued fractions). Both are positive, and low is not above high.
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
