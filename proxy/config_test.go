package proxy

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
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

func TestSize(t *testing.T) {
	for text, want := range map[string]Size{
		"0": 0, "16384": 16384, "16KiB": 16 << 10, "16 KiB": 16 << 10, "8MiB": 8 << 20, "1GiB": 1 << 30, "2TiB": 2 << 40, `"16KiB"`: 16 << 10,
		"9223372036854775807": math.MaxInt64, "8388607TiB": 8388607 << 40,
	} {
		var s Size
		if err := yaml.Unmarshal([]byte(text), &s); err != nil || s != want {
			t.Errorf("%s: got %d, %v, want %d", text, s, err, want)
		}
		var again Size
		if err := yaml.Unmarshal([]byte(want.String()), &again); err != nil || again != want {
			t.Errorf("%s, written as %s, is read as %d, %v", text, want, again, err)
		}
	}
	for size, want := range map[Size]string{0: "0", 1023: "1023", 1025: "1025", 16 << 10: "16KiB", 1 << 30: "1GiB", 1 << 50: "1024TiB"} {
		if got := size.String(); got != want {
			t.Errorf("%d is written as %s, want %s", int64(size), got, want)
		}
	}
	for _, text := range []string{"-1", "-1KiB", "1KB", "1kib", "1.5MiB", "KiB", "1e3", "0x10", "9223372036854775808", "8388608TiB", "[1]", "{a: 1}", `""`, "true", "1KiBMiB", "0100", "010KiB", "00", "1_000", "0o10", "0b1", ".inf"} {
		var s Size
		if err := yaml.Unmarshal([]byte(text), &s); err == nil || !strings.Contains(err.Error(), "16KiB") {
			t.Errorf("%s: got %d, %v", text, s, err)
		}
	}
}
