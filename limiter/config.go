package limiter

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

const (
	// maxCapacity is the largest integer a structured header field can carry (RFC 9651, section 3.3.1).
	maxCapacity = 999_999_999_999_999
	maxRate     = 1e9 // tokens per second: one a nanosecond, the step of the clock

	// maxRefill bounds capacity/rate, in seconds. With maxRate it keeps the arithmetic of
	// gcra.go inside 63 bits.
	maxRefill = 30 * 24 * 60 * 60

	maxTracked = 100_000_000

	maxKeyHeader = 64 // bytes
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

// Default is what a client may do that nobody registered.
type Default struct {
	Limit  `yaml:",inline"`
	Shadow bool `yaml:"shadow"` // what would be rejected passes, and is counted
}

// Config is the limiter section of the config file.
type Config struct {
	Enabled    bool    `yaml:"enabled"`     // false: the limiter is not asked
	Default    Default `yaml:"default"`     // of every client that nobody registered
	IPv6Prefix int     `yaml:"ipv6_prefix"` // bits of an IPv6 address that tell unregistered clients apart, 1 to 128
	MaxTracked int     `yaml:"max_tracked"` // buckets of unregistered clients held at once, 1 to 100,000,000

	// Headers says which header fields tell clients about their limit: standard (RateLimit and
	// RateLimit-Policy), legacy (X-RateLimit-*), both or off. A rejection has Retry-After always.
	Headers string `yaml:"headers"`

	// APIKeyHeader names the request header field whose value is a client's API key, in any case. If
	// it is empty, clients are known by address only.
	APIKeyHeader string `yaml:"api_key_header"`
}

// DefaultConfig returns the settings of an empty limiter section.
func DefaultConfig() Config {
	return Config{
		Enabled:    true,
		Default:    Default{Limit: Limit{Capacity: 100, RatePerSecond: 10}},
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
		if field == "capacity" { // Check has not looked at the rate
			rate := Limit{Capacity: 1, RatePerSecond: c.Default.RatePerSecond}
			if field, allowed, ok := rate.Check(); !ok {
				wrong("default."+field, rate.RatePerSecond, allowed)
			}
		}
	}
	if _, ok := fieldsOf(c.Headers); !ok {
		wrong("headers", c.Headers, "one of standard, legacy, both, off")
	}
	if allowed, ok := checkKeyHeader(c.APIKeyHeader); !ok {
		wrong("api_key_header", c.APIKeyHeader, allowed)
	}
	if c.IPv6Prefix < 1 || c.IPv6Prefix > 128 {
		wrong("ipv6_prefix", c.IPv6Prefix, "a whole number from 1 to 128")
	}
	if c.MaxTracked < 1 || c.MaxTracked > maxTracked {
		wrong("max_tracked", c.MaxTracked, fmt.Sprintf("a whole number from 1 to %d", maxTracked))
	}
}

// ownFields are the names, in lower case, of the fields that the proxy acts on itself, and of Cookie,
// which holds several values. A key in one of them would be taken for something else, or not come
// through.
var ownFields = []string{
	"connection", "content-length", "cookie", "expect", "forwarded", "host", "idempotency-key", "keep-alive",
	"proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "via", "x-real-ip",
}

// checkKeyHeader reports whether clients' keys can be in the field of this name. If not, allowed says
// in words which names there may be.
func checkKeyHeader(name string) (allowed string, ok bool) {
	if name == "" {
		return "", true
	}
	if len(name) > maxKeyHeader || strings.ContainsFunc(name, notInFieldName) {
		return fmt.Sprintf("the name of a header field, such as X-API-Key or Authorization, of at most %d letters, digits "+
			"and characters of !#$%%&'*+-.^_`|~, or nothing", maxKeyHeader), false
	}
	// There are backends for which _ is -.
	own := strings.ReplaceAll(strings.ToLower(name), "_", "-")
	if slices.Contains(ownFields, own) || strings.HasPrefix(own, "x-forwarded-") {
		return "a field that holds the key and nothing else, such as X-API-Key or Authorization; this one the balancer " +
			"acts on itself, or it holds several values", false
	}
	return "", true
}

// notInFieldName reports whether no name of a field has the character (RFC 9110, section 5.6.2).
func notInFieldName(c rune) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return false
	}
	return !strings.ContainsRune("!#$%&'*+-.^_`|~", c)
}
