package limiter

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestFieldsAppend(t *testing.T) {
	tests := []struct {
		name             string
		d                Decision
		standard, legacy string
		retry            string // in every mode
	}{
		{
			"allowed",
			Decision{Allowed: true, Capacity: 100, Remaining: 99, Reset: 100 * time.Millisecond, Window: 10 * time.Second},
			"RateLimit-Policy: \"default\";q=100;w=10\r\nRateLimit: \"default\";r=99;t=1\r\n",
			"X-RateLimit-Limit: 100\r\nX-RateLimit-Remaining: 99\r\nX-RateLimit-Reset: 1\r\n",
			"",
		},
		{
			"rejected",
			Decision{Capacity: 5, RetryAfter: 10 * time.Second, Reset: 10 * time.Second, Window: 50 * time.Second},
			"RateLimit-Policy: \"default\";q=5;w=50\r\nRateLimit: \"default\";r=0;t=10\r\n",
			"X-RateLimit-Limit: 5\r\nX-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: 10\r\n",
			"Retry-After: 10\r\n",
		},
		{
			"rounded up",
			Decision{Capacity: 3, RetryAfter: 2*time.Second + 1, Reset: 2*time.Second + 1, Window: 9*time.Second + 1},
			"RateLimit-Policy: \"default\";q=3;w=10\r\nRateLimit: \"default\";r=0;t=3\r\n",
			"X-RateLimit-Limit: 3\r\nX-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: 3\r\n",
			"Retry-After: 3\r\n",
		},
		{
			"at least a second",
			Decision{Capacity: 1, RetryAfter: 1, Reset: 1, Window: 1},
			"RateLimit-Policy: \"default\";q=1;w=1\r\nRateLimit: \"default\";r=0;t=1\r\n",
			"X-RateLimit-Limit: 1\r\nX-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: 1\r\n",
			"Retry-After: 1\r\n",
		},
		{
			"largest",
			Decision{Allowed: true, Capacity: maxCapacity, Remaining: maxCapacity - 1, Reset: 1, Window: maxRefill * time.Second},
			"RateLimit-Policy: \"default\";q=999999999999999;w=2592000\r\nRateLimit: \"default\";r=999999999999998;t=1\r\n",
			"X-RateLimit-Limit: 999999999999999\r\nX-RateLimit-Remaining: 999999999999998\r\nX-RateLimit-Reset: 1\r\n",
			"",
		},
	}
	for _, tt := range tests {
		for headers, want := range map[string]string{
			"standard": tt.standard, "legacy": tt.legacy, "both": tt.standard + tt.legacy, "off": "",
		} {
			t.Run(tt.name+" "+headers, func(t *testing.T) {
				want := "HTTP/1.1\r\n" + want + tt.retry
				if got := string(newFields(t, headers).Append([]byte("HTTP/1.1\r\n"), tt.d)); got != want {
					t.Errorf("got %q\nwant %q", got, want)
				}
			})
		}
	}
}

// newFields returns the fields for this value of limiter.headers.
func newFields(t *testing.T, headers string) Fields {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Headers = headers
	cfg.Validate(func(path string, value any, allowed string) { t.Fatalf("%s: %v is refused", path, value) })
	return cfg.Fields()
}

// A client that returns a millisecond before the instant of RetryAfter is rejected, whatever the
// limit and the time; one that returns at it, or after the whole seconds of the field, is admitted.
func TestRetryAfterIsKept(t *testing.T) {
	const client = "192.0.2.1"
	rapid.Check(t, func(t *rapid.T) {
		cfg := DefaultConfig()
		cfg.Default.Limit = limits().Draw(t, "limit")
		cfg.Default.Capacity = min(cfg.Default.Capacity, 100) // requests to empty the bucket
		cfg.Headers = rapid.SampledFrom([]string{"standard", "legacy", "both", "off"}).Draw(t, "headers")
		now := rapid.Int64Range(1, years).Draw(t, "now")

		l := New(cfg)
		take := func(at int64) bool { return l.take(l.Identify(netip.MustParseAddr(client), nil), at).Allowed }
		_, d := l.takeAll(client, now)
		instant := now + int64(d.RetryAfter)
		if take(max(now, instant-1e6)) || take(instant-1) {
			t.Fatalf("%+v: admitted before RetryAfter", d)
		}
		if !take(instant) {
			t.Fatalf("%+v: rejected at RetryAfter", d)
		}

		l = New(cfg)
		_, d = l.takeAll(client, now)
		var seconds int64
		_, field, _ := strings.Cut(string(cfg.Fields().Append(nil, d)), "Retry-After: ")
		if _, err := fmt.Sscanf(field, "%d\r\n", &seconds); err != nil {
			t.Fatalf("read the seconds in %q: %v", field, err)
		}
		if wait := seconds * 1e9; wait-int64(d.RetryAfter) >= 1e9 || !take(now+wait) {
			t.Fatalf("%+v: not admitted after %d s, or these are too many", d, seconds)
		}
	})
}
