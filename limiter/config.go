package limiter

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

const (
	// maxCapacity is the largest integer of a structured header field (RFC 9651, section 3.3.1).
	maxCapacity = 999_999_999_999_999
	maxRate     = 1e9 // tokens per second: one a nanosecond, the step of the clock

	// maxRefill bounds capacity/rate, in seconds. With maxRate it keeps the arithmetic of gcra.go
	// inside 63 bits.
	maxRefill = 30 * 24 * 60 * 60

	maxTracked = 100_000_000

	maxKeyHeader = 64 // bytes
)

// Limit is the size and the refill of a token bucket: the requests that a client may make at once,
// and per second in the long run. The zero value is invalid.
type Limit struct {
	Capacity      int64   `yaml:"capacity"`        // tokens, from 1 to 999,999,999,999,999
	RatePerSecond float64 `yaml:"rate_per_second"` // tokens per second, above 0, up to 1e9
}

// Check reports whether the limit is valid; an empty bucket must be full within 30 days. If it is
// not, field is the name of the invalid key, "capacity" or "rate_per_second", and allowed describes
// the values it may have.
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

// roundedUp prints x with three digits, such that the printed number is not below x.
func roundedUp(x float64) string {
	step := math.Pow(10, math.Floor(math.Log10(x))-2)
	return fmt.Sprintf("%.3g", (math.Floor(x/step)+1)*step)
}

// Default is the limit of each unregistered client.
type Default struct {
	Limit       `yaml:",inline"`
	Shadow      bool  `yaml:"shadow"`        // requests over the limit are admitted and counted
	MaxInFlight int64 `yaml:"max_in_flight"` // concurrent requests, up to 1,000,000,000; 0 means no bound
}

// Config is the limiter section of the config file.
type Config struct {
	Enabled    bool    `yaml:"enabled"`     // false: the caller does not use the limiter
	Default    Default `yaml:"default"`     // for each unregistered client
	IPv6Prefix int     `yaml:"ipv6_prefix"` // bits of an unregistered IPv6 network, 1 to 128
	MaxTracked int     `yaml:"max_tracked"` // unregistered clients and addresses of ranges with Terms.Each held at once, 1 to 100,000,000

	// Headers selects the header fields that tell clients about their limit: standard (RateLimit
	// and RateLimit-Policy), legacy (X-RateLimit-*), both or off. A rejection always has
	// Retry-After.
	Headers string `yaml:"headers"`

	// APIKeyHeader names the request header field with a client's API key, in any case, in at most
	// 64 bytes. If it is empty, clients are known by address only.
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

// Validate calls wrong once for each invalid key, with its path in the limiter section, its value,
// and a description of the values it may have.
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
	if c.Default.MaxInFlight < 0 || c.Default.MaxInFlight > MaxInFlight {
		wrong("default.max_in_flight", c.Default.MaxInFlight, allowedInFlight)
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

// KeyField returns the name, in lower case, of the request header field with the API key, or "" if
// clients are known by address only.
func (c Config) KeyField() string { return strings.ToLower(c.APIKeyHeader) }

// ownFields are the names, in lower case, of the fields that the proxy itself acts on, of Cookie,
// which holds several values, and of User-Agent, which the access log has. A key in one of them
// would be misread, would not arrive, or would be logged.
var ownFields = []string{
	"connection", "content-length", "cookie", "expect", "forwarded", "host", "idempotency-key", "keep-alive",
	"proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "via", "x-real-ip",
	"user-agent", "x-request-id",
}

// checkKeyHeader reports whether the field of this name can hold API keys. If it cannot, allowed
// describes the names that can.
func checkKeyHeader(name string) (allowed string, ok bool) {
	if name == "" {
		return "", true
	}
	if len(name) > maxKeyHeader || strings.ContainsFunc(name, notInFieldName) {
		return fmt.Sprintf("the name of a header field, such as X-API-Key or Authorization, of at most %d letters, digits "+
			"and characters of !#$%%&'*+-.^_`|~, or nothing", maxKeyHeader), false
	}
	// Some backends treat _ as -.
	own := strings.ReplaceAll(strings.ToLower(name), "_", "-")
	if slices.Contains(ownFields, own) || strings.HasPrefix(own, "x-forwarded-") {
		return "a field that holds the key and nothing else, such as X-API-Key or Authorization; this one the balancer " +
			"acts on itself, or it holds several values", false
	}
	return "", true
}

// notInFieldName reports whether the character is invalid in a field name (RFC 9110, section
// 5.6.2).
func notInFieldName(c rune) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return false
	}
	return !strings.ContainsRune("!#$%&'*+-.^_`|~", c)
}
