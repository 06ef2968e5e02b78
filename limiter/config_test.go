package limiter

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

func TestLimitCheck(t *testing.T) {
	tests := []struct {
		capacity int64
		rate     float64
		field    string // "" if the limit is fine
		allowed  string
	}{
		{1_000_000_000, 1_000_000_000, "", ""},
		{5, 0.1, "", ""},
		{1, 0.01, "", ""},
		{100, 10, "", ""},
		{maxCapacity, 1e9, "", ""},
		{1, 1.0 / maxRefill, "", ""},
		{0, 10, "capacity", "a whole number from 1 to 999999999999999"},
		{-1, 10, "capacity", "a whole number from 1 to"},
		{maxCapacity + 1, 1e9, "capacity", "a whole number from 1 to"},
		{1, 0, "rate_per_second", "a number above 0, up to 1000000000"},
		{1, -1, "rate_per_second", "above 0"},
		{1, math.NaN(), "rate_per_second", "above 0"},
		{1, math.Inf(1), "rate_per_second", "above 0"},
		{1, 1.000001e9, "rate_per_second", "above 0"},
		{1, math.SmallestNonzeroFloat64, "rate_per_second", "a number from 3.86e-07 to 1000000000"},
		{2_592_000, 0.9, "rate_per_second", "for an empty bucket of capacity 2592000 to be full within 30 days"},
	}
	for _, tt := range tests {
		field, allowed, ok := Limit{tt.capacity, tt.rate}.Check()
		if field != tt.field || ok != (tt.field == "") || !strings.Contains(allowed, tt.allowed) {
			t.Errorf("Limit{%d, %v}.Check() = %q, %q, %v; want %q, …%s…", tt.capacity, tt.rate, field, allowed, ok, tt.field, tt.allowed)
		}
	}
}

// The rate that a refusal suggests must be accepted.
func TestCheckSuggestsAnAcceptedRate(t *testing.T) {
	for _, capacity := range []int64{1, 7, 100, 2_592_000, 999_999_999, maxCapacity} {
		_, allowed, _ := Limit{capacity, 1e-12}.Check()
		var rate float64
		if _, err := fmt.Sscanf(allowed, "a number from %g to", &rate); err != nil {
			t.Fatalf("read the rate in %q: %v", allowed, err)
		}
		if _, _, ok := (Limit{capacity, rate}).Check(); !ok {
			t.Errorf("capacity %d: the suggested rate %v is refused", capacity, rate)
		}
	}
}

func TestConfigValidate(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Config)
		want   []string
	}{
		{"default", func(*Config) {}, nil},
		{"capacity", func(c *Config) { c.Default.Capacity = 0 }, []string{"default.capacity=0"}},
		{"rate", func(c *Config) { c.Default.RatePerSecond = -2 }, []string{"default.rate_per_second=-2"}},
		{"several", func(c *Config) { c.Default.Capacity, c.IPv6Prefix, c.MaxTracked = -1, 129, 0 },
			[]string{"default.capacity=-1", "ipv6_prefix=129", "max_tracked=0"}},
		{"headers", func(c *Config) { c.Headers = "Standard" }, []string{"headers=Standard"}},
		{"no headers", func(c *Config) { c.Headers = "" }, []string{"headers="}},
		{"other headers", func(c *Config) { c.Headers = "legacy" }, nil},
		{"both headers", func(c *Config) { c.Headers = "both" }, nil},
		{"headers off", func(c *Config) { c.Headers = "off" }, nil},
		{"no key header", func(c *Config) { c.APIKeyHeader = "" }, nil},
		{"key header", func(c *Config) { c.APIKeyHeader = "X-API-Key" }, nil},
		{"key header authorization", func(c *Config) { c.APIKeyHeader = "authorization" }, nil},
		{"key header with underscore", func(c *Config) { c.APIKeyHeader = "api_key" }, nil},
		{"longest key header", func(c *Config) { c.APIKeyHeader = strings.Repeat("k", 64) }, nil},
		{"too long key header", func(c *Config) { c.APIKeyHeader = strings.Repeat("k", 65) }, []string{"api_key_header=" + strings.Repeat("k", 65)}},
		{"lowest", func(c *Config) { c.IPv6Prefix, c.MaxTracked = 0, 100_000_001 }, []string{"ipv6_prefix=0", "max_tracked=100000001"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := DefaultConfig()
			tt.change(&cfg)
			var got []string
			cfg.Validate(func(path string, value any, allowed string) {
				if allowed == "" {
					t.Errorf("%s: nothing said of what is allowed", path)
				}
				got = append(got, fmt.Sprintf("%s=%v", path, value))
			})
			if !slices.Equal(got, tt.want) {
				t.Errorf("faults %q, want %q", got, tt.want)
			}
		})
	}
}

// A key cannot be in a field that means something else on its way, however its name is spelt.
func TestKeyHeadersThatAreTaken(t *testing.T) {
	names := append([]string{"X-Forwarded-For", "x-forwarded-", "X_Forwarded_Proto", "HOST", "Content_Length", "Idempotency_Key", "X-Real-IP", "x_real_ip"}, ownFields...)
	for _, name := range append(names, "X API Key", " ", "X-API-Key:", "X-API-Key ", "Schlüssel", "a\r\nb", "k\x00", "a,b", `"k"`) {
		cfg := DefaultConfig()
		cfg.APIKeyHeader = name
		faults := 0
		cfg.Validate(func(path string, value any, allowed string) {
			faults++
			if path != "api_key_header" || value != name || !strings.Contains(allowed, "X-API-Key") {
				t.Errorf("%q: fault at %s, value %q, allowed %q", name, path, value, allowed)
			}
		})
		if faults != 1 {
			t.Errorf("%q: %d faults, want 1", name, faults)
		}
	}
}

func TestKeyFieldIsInLowerCase(t *testing.T) {
	cfg := DefaultConfig()
	cfg.APIKeyHeader = "X-API-Key"
	if got := cfg.KeyField(); got != "x-api-key" {
		t.Errorf("got %q, want x-api-key", got)
	}
}
