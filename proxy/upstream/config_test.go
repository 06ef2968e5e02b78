package upstream

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
)

func TestPoolConfigValidate(t *testing.T) {
	for _, test := range []struct {
		name string
		set  func(*PoolConfig)
		want []string
	}{
		{"defaults", func(*PoolConfig) {}, nil},
		{"no backends", func(c *PoolConfig) { c.Backends = nil }, []string{"backends"}},
		{"no url", func(c *PoolConfig) { c.Backends[1].URL = URL{} }, []string{"backends[1].url"}},
		{"twice", func(c *PoolConfig) { c.Backends[1].URL = mustURL("http://a:80/") }, []string{"backends[1].url"}},
		{"weights", func(c *PoolConfig) { c.Backends[0].Weight, c.Backends[1].Weight = -1, maxWeight+1 }, []string{"backends[0].weight", "backends[1].weight"}},
		{"least and greatest weight", func(c *PoolConfig) { c.Backends[0].Weight, c.Backends[1].Weight = maxWeight, 0 }, nil},
		{"connections", func(c *PoolConfig) { c.Backends[0].MaxConnections = -1 }, []string{"backends[0].max_connections"}},
		{"pending", func(c *PoolConfig) { c.Backends[1].MaxPending = -1 }, []string{"backends[1].max_pending"}},
		{"timeouts", func(c *PoolConfig) { c.Timeouts = TimeoutConfig{} }, []string{"timeouts.connect", "timeouts.response_header", "timeouts.tunnel"}},
		{"resolve of no unit", func(c *PoolConfig) { c.Resolve = 10 }, []string{"resolve"}},
		{"slowest resolve", func(c *PoolConfig) { c.Resolve = 24 * time.Hour }, nil},
		{"too slow a resolve", func(c *PoolConfig) { c.Resolve = 25 * time.Hour }, []string{"resolve"}},
		{"a service twice", func(c *PoolConfig) { c.Backends[0].URL, c.Backends[1].URL = mustURL("srv://s"), mustURL("srv://S") }, []string{"backends[1].url"}},
		{"idle", func(c *PoolConfig) { c.Timeouts.Idle = -1 }, []string{"timeouts.idle"}},
		{"idle without a unit", func(c *PoolConfig) { c.Timeouts.Idle = 60 }, []string{"timeouts.idle"}},
		{"idle for more than a day", func(c *PoolConfig) { c.Timeouts.Idle = 25 * time.Hour }, []string{"timeouts.idle"}},
		{"nothing is kept", func(c *PoolConfig) { c.Timeouts.Idle = 0 }, nil},
		{"header too small", func(c *PoolConfig) { c.MaxResponseHeader = 1<<10 - 1 }, []string{"max_response_header"}},
		{"header too large", func(c *PoolConfig) { c.MaxResponseHeader = 1<<20 + 1 }, []string{"max_response_header"}},
		{"largest header", func(c *PoolConfig) { c.MaxResponseHeader = 1 << 20 }, nil},
		{"no attempts", func(c *PoolConfig) { c.Retry.Attempts = 0 }, []string{"retry.attempts"}},
		{"most attempts", func(c *PoolConfig) { c.Retry.Attempts = MaxTried }, nil},
		{"statuses", func(c *PoolConfig) { c.Retry.Statuses = []int{399, 400, 599, 600} }, []string{"retry.statuses[0]", "retry.statuses[3]"}},
		{"health", func(c *PoolConfig) { c.Health.Rise = 0 }, []string{"health.rise"}},
		{"too many attempts", func(c *PoolConfig) { c.Retry.Attempts = MaxTried + 1 }, []string{"retry.attempts"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := DefaultPoolConfig()
			c.Backends = []BackendConfig{{URL: mustURL("http://a"), Weight: 1}, {URL: mustURL("http://b"), Weight: 1}}
			test.set(&c)
			var got []string
			c.Validate(func(path string, value any, allowed string) {
				if got = append(got, path); allowed == "" {
					t.Errorf("%s is %v: nothing says what is allowed", path, value)
				}
			})
			if !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	var c PoolConfig
	if err := yaml.Unmarshal([]byte("backends: [{url: http://a}, {url: http://b, weight: 0, max_connections: 7, max_pending: 3}]"), &c); err != nil {
		t.Fatal(err)
	}
	want := DefaultPoolConfig()
	if want.Backends = c.Backends; !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v, want %+v", c, want)
	}
	if got := fmt.Sprint(c.Backends); got != "[{http://a http1 1 false 0 0} {http://b http1 0 false 7 3}]" {
		t.Errorf("got %s", got)
	}
}
