package healthz

import (
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
)

// with returns the default config with a change.
func with(change func(c *Config)) Config {
	c := DefaultConfig()
	change(&c)
	return c
}

// statuses returns the set that a valid text describes.
func statuses(text string) (s Statuses) {
	if err := s.UnmarshalText([]byte(text)); err != nil {
		panic(err)
	}
	return s
}

func TestConfigNamesAndDefaults(t *testing.T) {
	tests := []struct {
		name, yaml string
		want       Config
	}{
		{"nothing set", "{}", Config{"", "GET", "", anySuccess(), "", "", 2 * time.Second, time.Second, 2, 2, 16}},
		{"all set", "{path: /up, method: POST, host: 'shop.example:81', status: '301-302,204', body: all well, interval: 5s, timeout: 300ms, rise: 3, fall: 4, max_concurrent: 7}",
			Config{"/up", "POST", "shop.example:81", statuses("204,301-302"), "all well", "", 5 * time.Second, 300 * time.Millisecond, 3, 4, 7}},
		{"one status", "{path: /up, status: 200}", with(func(c *Config) { c.Path, c.Status = "/up", statuses("200") })},
		{"defaults without a path", "{method: GET, host: '', status: 200-399, body: ''}", DefaultConfig()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := DefaultConfig()
			dec := yaml.NewDecoder(strings.NewReader(tt.yaml))
			dec.KnownFields(true)
			if err := dec.Decode(&cfg); err != nil {
				t.Fatal(err)
			}
			if cfg != tt.want {
				t.Errorf("got %+v, want %+v", cfg, tt.want)
			}
			cfg.Validate(func(path string, value any, allowed string) {
				t.Errorf("%s: %v refused, allowed is %s", path, value, allowed)
			})
		})
	}
}

func TestConfigMethodAndHost(t *testing.T) {
	tests := []struct {
		key   func(c *Config) *string
		name  string
		valid []string
		not   []string
	}{
		{func(c *Config) *string { return &c.Method }, "method", []string{"GET", "HEAD", "POST", "OPTIONS", "M-SEARCH"},
			[]string{"", "get", "CONNECT", "GET /", "GET\r\nX: y", "GÉT", strings.Repeat("A", maxMethod+1)}},
		{func(c *Config) *string { return &c.Host }, "host",
			[]string{"", "shop.example", "shop.example:8080", "a_b", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:80"},
			[]string{" ", "a b", "http://shop.example", "shop.example/", "shop.example:", "shop.example:0", "shop.example:65536", "shop.example:http", "a@b", "::1", "[::g]", "[1]",
				"a\r\nX: y", "bücher.example", "a,b"}},
	}
	for _, tt := range tests {
		check := func(value string, valid bool) {
			cfg := DefaultConfig()
			cfg.Path = "/"
			*tt.key(&cfg) = value
			var got []string
			cfg.Validate(func(path string, _ any, _ string) { got = append(got, path) })
			if valid && got != nil || !valid && !slices.Equal(got, []string{tt.name}) {
				t.Errorf("%s %q: complained about %q, valid is %v", tt.name, value, got, valid)
			}
		}
		for _, value := range tt.valid {
			check(value, true)
		}
		for _, value := range tt.not {
			check(value, false)
		}
	}
}

func TestConfigValidate(t *testing.T) {
	tests := []struct {
		name   string
		change func(c *Config)
		want   []string // the paths complained about
	}{
		{"lower bounds", func(c *Config) { *c = Config{"/", "A", "", statuses("200"), "", "", minInterval, minTimeout, 1, 1, 1} }, nil},
		{"upper bounds", func(c *Config) {
			*c = Config{"/", "POST", strings.Repeat("a", maxHost), statuses("999"), strings.Repeat("a", maxText), "", maxInterval, maxTimeout, maxStreak, maxStreak, maxMaxConcurrent}
		}, nil},
		{"below all bounds", func(c *Config) { *c = Config{} },
			[]string{"method", "status", "interval", "timeout", "rise", "fall", "max_concurrent"}},
		{"above all bounds", func(c *Config) {
			*c = Config{"/", "GET", strings.Repeat("a", maxHost+1), statuses("200"), strings.Repeat("a", maxText+1), "", maxInterval + 1, maxTimeout + 1, maxStreak + 1, maxStreak + 1, maxMaxConcurrent + 1}
		}, []string{"host", "body", "interval", "timeout", "rise", "fall", "max_concurrent"}},
		{"gRPC with a host", func(c *Config) { c.GRPC, c.Host = "shop.v1.Cart", "shop.example" }, nil},
		{"gRPC of the whole server", func(c *Config) { c.GRPC = "*" }, nil},
		{"gRPC with a path", func(c *Config) { c.GRPC, c.Path = "a", "/" }, []string{"grpc"}},
		{"no service", func(c *Config) { c.GRPC = "a b" }, []string{"grpc"}},
		{"without a path", func(c *Config) { c.Method, c.Host, c.Status, c.Body = "HEAD", "a", statuses("200"), "ok" },
			[]string{"method", "host", "status", "body"}},
		{"HEAD", func(c *Config) { c.Path, c.Method = "/", "HEAD" }, nil},
		{"HEAD with a body", func(c *Config) { c.Path, c.Method, c.Body = "/", "HEAD", "ok" }, []string{"body"}},
		{"POST with a body", func(c *Config) { c.Path, c.Method, c.Body = "/", "POST", "all\nwell" }, nil},
		{"path with a query", func(c *Config) { c.Path = "/up?deep=1" }, nil},
		{"path without a slash", func(c *Config) { c.Path = "up" }, []string{"path"}},
		{"path with a space", func(c *Config) { c.Path = "/a b" }, []string{"path"}},
		{"path that splits the request", func(c *Config) { c.Path = "/\r\nX: y" }, []string{"path"}},
		{"path with a fragment", func(c *Config) { c.Path = "/a#b" }, []string{"path"}},
		{"path beyond ASCII", func(c *Config) { c.Path = "/ü" }, []string{"path"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := DefaultConfig()
			tt.change(&cfg)
			var got []string
			cfg.Validate(func(path string, _ any, allowed string) {
				if allowed == "" {
					t.Errorf("%s: does not say what is allowed", path)
				}
				got = append(got, path)
			})
			if !slices.Equal(got, tt.want) {
				t.Errorf("complained about %q, want %q", got, tt.want)
			}
		})
	}
}
