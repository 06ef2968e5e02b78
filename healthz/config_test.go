package healthz

import (
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
)

func TestConfigNamesAndDefaults(t *testing.T) {
	tests := []struct {
		name, yaml string
		want       Config
	}{
		{"nothing set", "{}", Config{"", 2 * time.Second, time.Second, 2, 2, 16}},
		{"all set", "{path: /up, interval: 5s, timeout: 300ms, rise: 3, fall: 4, max_concurrent: 7}",
			Config{"/up", 5 * time.Second, 300 * time.Millisecond, 3, 4, 7}},
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

func TestConfigValidate(t *testing.T) {
	tests := []struct {
		name   string
		change func(c *Config)
		want   []string // the paths complained about
	}{
		{"lower bounds", func(c *Config) { *c = Config{"/", minInterval, minTimeout, 1, 1, 1} }, nil},
		{"upper bounds", func(c *Config) { *c = Config{"/", maxInterval, maxTimeout, maxStreak, maxStreak, maxMaxConcurrent} }, nil},
		{"below all bounds", func(c *Config) { *c = Config{} },
			[]string{"interval", "timeout", "rise", "fall", "max_concurrent"}},
		{"above all bounds", func(c *Config) {
			*c = Config{"", maxInterval + 1, maxTimeout + 1, maxStreak + 1, maxStreak + 1, maxMaxConcurrent + 1}
		}, []string{"interval", "timeout", "rise", "fall", "max_concurrent"}},
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
