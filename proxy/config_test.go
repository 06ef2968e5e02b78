package proxy

import (
	"math"
	"slices"
	"testing"
	"time"
)

// faults collects the paths that a Validate calls wrong.
func faults(validate func(wrong func(path string, value any, allowed string))) (paths []string) {
	validate(func(path string, _ any, allowed string) {
		if allowed == "" {
			path += " (does not say what is allowed)"
		}
		paths = append(paths, path)
	})
	return paths
}

func TestServerConfigValidate(t *testing.T) {
	for _, test := range []struct {
		name string
		set  func(*ServerConfig)
		want []string
	}{
		{"defaults", func(*ServerConfig) {}, nil},
		{"least", func(c *ServerConfig) {
			c.ReadHeaderTimeout, c.MaxHeaderSize, c.MaxBodySize = time.Millisecond, 1<<10, 1
		}, nil},
		{"most", func(c *ServerConfig) {
			c.BodyTimeout, c.MaxHeaderSize, c.MaxConnections = 24*time.Hour, 1<<20, math.MaxInt32
		}, nil},
		{"timeouts of 0", func(c *ServerConfig) {
			c.ReadHeaderTimeout, c.BodyTimeout, c.IdleTimeout, c.ShutdownTimeout = 0, 0, 0, 0
		},
			[]string{"read_header_timeout", "body_timeout", "idle_timeout", "shutdown_timeout"}},
		{"a bare number of seconds", func(c *ServerConfig) { c.BodyTimeout = 30 }, []string{"body_timeout"}},
		{"too long", func(c *ServerConfig) { c.IdleTimeout = 24*time.Hour + 1 }, []string{"idle_timeout"}},
		{"negative", func(c *ServerConfig) { c.ShutdownTimeout, c.MaxBodySize, c.MaxConnections = -1, -1, -1 }, []string{"shutdown_timeout", "max_body_size", "max_connections"}},
		{"header too small", func(c *ServerConfig) { c.MaxHeaderSize = 1<<10 - 1 }, []string{"max_header_size"}},
		{"header too large", func(c *ServerConfig) { c.MaxHeaderSize = 1<<20 + 1 }, []string{"max_header_size"}},
		{"too many connections", func(c *ServerConfig) { c.MaxConnections = math.MaxInt32 + 1 }, []string{"max_connections"}},
		{"trusted proxies", func(c *ServerConfig) { c.TrustedProxies = prefixes("10.0.0.1", "10.0.0.0/8", "::1", "2001:db8::/32") }, nil},
		{"empty trusted proxy", func(c *ServerConfig) { c.TrustedProxies = make([]Prefix, 1) }, []string{"trusted_proxies[0]"}},
		{"PROXY protocol", func(c *ServerConfig) { c.ProxyProtocol, c.TrustedProxies = true, prefixes("10.0.0.1") }, nil},
		{"PROXY protocol without trusted proxies", func(c *ServerConfig) { c.ProxyProtocol = true }, []string{"proxy_protocol"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := DefaultServerConfig()
			test.set(&c)
			if got := faults(c.Validate); !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
