package limiter

import (
	"testing"
	"time"
)

func TestAppendFields(t *testing.T) {
	tests := []struct {
		name string
		d    Decision
		want string
	}{
		{
			"allowed",
			Decision{Allowed: true, Capacity: 100, Remaining: 99, Reset: 100 * time.Millisecond, Window: 10 * time.Second},
			"RateLimit-Policy: \"default\";q=100;w=10\r\nRateLimit: \"default\";r=99;t=1\r\n",
		},
		{
			"rejected",
			Decision{Capacity: 5, RetryAfter: 10 * time.Second, Reset: 10 * time.Second, Window: 50 * time.Second},
			"RateLimit-Policy: \"default\";q=5;w=50\r\nRateLimit: \"default\";r=0;t=10\r\nRetry-After: 10\r\n",
		},
		{
			"rounded up",
			Decision{Capacity: 3, RetryAfter: 2*time.Second + 1, Reset: 2*time.Second + 1, Window: 9*time.Second + 1},
			"RateLimit-Policy: \"default\";q=3;w=10\r\nRateLimit: \"default\";r=0;t=3\r\nRetry-After: 3\r\n",
		},
		{
			"at least a second",
			Decision{Capacity: 1, RetryAfter: 1, Reset: 1, Window: 1},
			"RateLimit-Policy: \"default\";q=1;w=1\r\nRateLimit: \"default\";r=0;t=1\r\nRetry-After: 1\r\n",
		},
		{
			"largest",
			Decision{Allowed: true, Capacity: maxCapacity, Remaining: maxCapacity - 1, Reset: 1, Window: maxRefill * time.Second},
			"RateLimit-Policy: \"default\";q=999999999999999;w=2592000\r\nRateLimit: \"default\";r=999999999999998;t=1\r\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(tt.d.AppendFields([]byte("HTTP/1.1\r\n"))); got != "HTTP/1.1\r\n"+tt.want {
				t.Errorf("got %q\nwant %q", got, tt.want)
			}
		})
	}
}
