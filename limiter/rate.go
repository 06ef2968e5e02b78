package limiter

import (
	"math/big"
	"strconv"
	"strings"
)

// A written rate often stands for a fraction that has no short decimal: 0.0167 a second for one a
// minute, 0.02777777777777778 for 100 an hour. Where the decimal falls short of the fraction, a token
// would take a little longer than 60 s, and clients would be told to wait for 61.

// decimal is a limit's rate as it was written, in tokens per second.
type decimal struct {
	exact *big.Rat
	unit  *big.Rat // what the last digit counts, or what arithmetic loses if that is more; 0: a whole number
}

// writtenRate returns the decimal that was written, not the binary number nearest to it: else 3
// tokens at 0.3 per second would take a tick longer than 10 s.
func writtenRate(perSecond float64) decimal {
	text := strconv.FormatFloat(perSecond, 'e', -1, 64)
	exact, _ := new(big.Rat).SetString(text)
	if exact.IsInt() {
		return decimal{exact, new(big.Rat)}
	}
	digits, exponent, _ := strings.Cut(text, "e")
	_, fraction, _ := strings.Cut(digits, ".")
	power, _ := strconv.Atoi(exponent)
	unit, _ := new(big.Rat).SetString("1e" + strconv.Itoa(power-len(fraction)))
	// A rate that was computed, as in 1000.0/3600/24, is off by a few units of a float64's last bit.
	if lost := new(big.Rat).Mul(exact, big.NewRat(1, 1e14)); lost.Cmp(unit) > 0 {
		unit = lost
	}
	return decimal{exact, unit}
}

// meant returns the simplest fraction that the rate falls short of by its rounding alone. It is the
// rate itself unless the fraction is so simple that this is no coincidence: of fractions with
// denominators up to q, there is one within 1/q² of any number.
func (r decimal) meant() *big.Rat {
	f := simplest(r.exact, new(big.Rat).Add(r.exact, r.unit))
	coincidence := new(big.Rat).SetInt(new(big.Int).Mul(f.Denom(), f.Denom()))
	if coincidence.Mul(coincidence, r.unit).Cmp(big.NewRat(1, 10)) > 0 || !r.shortOf(f) {
		return r.exact
	}
	return f
}

// wholeSeconds returns in how many seconds the capacity is refilled if the rate, but for its
// rounding, does so in a whole number of them. The rounding must be worth a tenth of a second at
// most: of 0.3 tokens per second nobody knows in which second 500 are there.
func (r decimal) wholeSeconds(capacity int64) (seconds int64, ok bool) {
	tokens := new(big.Rat).SetInt64(capacity)
	took := new(big.Rat).Quo(tokens, r.exact)
	seconds = new(big.Int).Quo(took.Num(), took.Denom()).Int64()
	if seconds == 0 {
		return 0, false
	}
	whole := new(big.Rat).SetInt64(seconds)
	if !r.shortOf(tokens.Quo(tokens, whole)) {
		return 0, false
	}
	rounding := whole.Mul(whole, r.unit)
	return seconds, rounding.Quo(rounding, r.exact).Cmp(big.NewRat(1, 10)) <= 0
}

// shortOf reports whether the rate is below f by its rounding alone: by less than its last digit
// counts, and by no more than a thousandth.
func (r decimal) shortOf(f *big.Rat) bool {
	short := new(big.Rat).Sub(f, r.exact)
	if short.Sign() < 0 || short.Cmp(r.unit) >= 0 {
		return false
	}
	return short.Cmp(new(big.Rat).Mul(f, big.NewRat(1, 1000))) <= 0
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
