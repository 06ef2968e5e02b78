package limiter

import (
	"fmt"
	"math"
)

const (
	// maxCapacity is the largest integer a structured header field can carry (RFC 9651, section 3.3.1).
	maxCapacity = 999_999_999_999_999
	maxRate     = 1e9 // tokens per second: one a nanosecond, the step of the clock

	// maxRefill bounds capacity/rate, in seconds. With maxRate it keeps the arithmetic of
	// bucket.go inside 63 bits.
	maxRefill = 30 * 24 * 60 * 60

	maxTracked = 100_000_000
)

// Limit is what a client may do: so many requests at once, and so many per second in the long run.
type Limit struct {
	Capacity      int64   `yaml:"capacity"`        // tokens, whole, at least 1
	RatePerSecond float64 `yaml:"rate_per_second"` // tokens per second, above 0, fractions allowed
}

// Check reports whether the limit can be enforced. If not, field is the name of the faulty key,
// "capacity" or "rate_per_second", and allowed says in words which values it may have.
func (l Limit) Check() (field, allowed string, ok bool) {
	switch {
	case l.Capacity < 1 || l.Capacity > maxCapacity:
		return "capacity", fmt.Sprintf("a whole number from 1 to %d", int64(maxCapacity)), false
	case !(l.RatePerSecond > 0 && l.RatePerSecond <= maxRate): // the negation catches NaN
		return "rate_per_second", fmt.Sprintf("a number above 0, up to %d", int64(maxRate)), false
	case float64(l.Capacity)/l.RatePerSecond > maxRefill:
		return "rate_per_second", fmt.Sprintf("a number from %s to %d, for an empty bucket of capacity %d to be full within 30 days",
			roundedUp(float64(l.Capacity)/maxRefill), int64(maxRate), l.Capacity), false
	}
	return "", "", true
}

// roundedUp prints x with three digits such that the printed number is not below x.
func roundedUp(x float64) string {
	step := math.Pow(10, math.Floor(math.Log10(x))-2)
	return fmt.Sprintf("%.3g", (math.Floor(x/step)+1)*step)
}

// Config is the limiter section of the config file.
type Config struct {
	Enabled    bool  `yaml:"enabled"`     // false: the limiter is not asked
	Default    Limit `yaml:"default"`     // of every client that nobody registered
	IPv6Prefix int   `yaml:"ipv6_prefix"` // bits of an IPv6 address that tell unregistered clients apart, 1 to 128
	MaxTracked int   `yaml:"max_tracked"` // buckets of unregistered clients held at once, 1 to 100,000,000

	// Headers says which header fields tell clients about their limit: standard (RateLimit and
	// RateLimit-Policy), legacy (X-RateLimit-*), both or off. A rejection has Retry-After always.
	Headers string `yaml:"headers"`

	// APIKeyHeader names the field that identifies clients by key. Clients with keys cannot be
	// registered yet, so it has to be empty.
	APIKeyHeader string `yaml:"api_key_header"`
}

// DefaultConfig returns the settings of an empty limiter section.
func DefaultConfig() Config {
	return Config{
		Enabled:    true,
		Default:    Limit{Capacity: 100, RatePerSecond: 10},
		IPv6Prefix: 64,
		MaxTracked: 1_000_000,
		Headers:    "standard",
	}
}

// Validate calls wrong once for each fault, with the path of the key inside the limiter section,
// its value, and what is allowed.
func (c Config) Validate(wrong func(path string, value any, allowed string)) {
	if field, allowed, ok := c.Default.Check(); !ok {
		var value any = c.Default.Capacity
		if field == "rate_per_second" {
			value = c.Default.RatePerSecond
		}
		wrong("default."+field, value, allowed)
	}
	if _, ok := fieldsOf(c.Headers); !ok {
		wrong("headers", c.Headers, "standard, legacy, both, off")
	}
	if c.APIKeyHeader != "" {
		wrong("api_key_header", c.APIKeyHeader, `"": clients are known by address only`)
	}
	if c.IPv6Prefix < 1 || c.IPv6Prefix > 128 {
		wrong("ipv6_prefix", c.IPv6Prefix, "a whole number from 1 to 128")
	}
	if c.MaxTracked < 1 || c.MaxTracked > maxTracked {
		wrong("max_tracked", c.MaxTracked, fmt.Sprintf("a whole number from 1 to %d", maxTracked))
	}
}
