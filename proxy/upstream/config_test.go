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
		{"timeouts", func(c *PoolConfig) { c.Timeouts = TimeoutConfig{} }, []string{"timeouts.connect", "timeouts.response_header", "timeouts.tunnel"}},
		{"resolve of no unit", func(c *PoolConfig) { c.Resolve = 10 }, []string{"resolve"}},
		{"slowest resolve", func(c *PoolConfig) { c.Resolve = 24 * time.Hour }, nil},
		{"too slow a resolve", func(c *PoolConfig) { c.Resolve = 25 * time.Hour }, []string{"resolve"}},
		{"a service twice", func(c *PoolConfig) { c.Backends[0].URL, c.Backends[1].URL = mustURL("srv://s"), mustURL("srv://S") }, []string{"backends[1].url"}},
		{"no attempts", func(c *PoolConfig) { c.Retry.Attempts = 0 }, []string{"retry.attempts"}},
		{"most attempts", func(c *PoolConfig) { c.Retry.Attempts = maxAttempts }, nil},
		{"health", func(c *PoolConfig) { c.Health.Rise = 0 }, []string{"health.rise"}},
		{"too many attempts", func(c *PoolConfig) { c.Retry.Attempts = maxAttempts + 1 }, []string{"retry.attempts"}},
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
	if err := yaml.Unmarshal([]byte("backends: [{url: http://a}, {url: http://b, weight: 0, max_connections: 7}]"), &c); err != nil {
		t.Fatal(err)
	}
	want := DefaultPoolConfig()
	if want.Backends = c.Backends; !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v, want %+v", c, want)
	}
	if got := fmt.Sprint(c.Backends); got != "[{http://a 1 false 0} {http://b 0 false 7}]" {
		t.Errorf("got %s", got)
	}
}
