// Package healthz watches backends with active health checks, and reports those that go down or
// come back.
//
// Each check has its own connection, and no check outlasts its timeout. The number of concurrent
// checks is bounded, and backends that hang cannot keep the others from being checked. A shortage
// on this machine, such as of file descriptors, is not held against a backend. When Run returns,
// nothing is left running.
//
// The package knows nothing of pools, traffic, or what a report leads to: the caller passes targets
// and a function for each.
package healthz

import (
	"fmt"
	"strings"
	"time"
)

// Bounds of the configuration. The shortest interval keeps a typing error ("2ms" for "2s") from
// flooding the backends.
const (
	minInterval      = 10 * time.Millisecond
	maxInterval      = time.Hour
	minTimeout       = time.Millisecond
	maxTimeout       = time.Minute
	maxStreak        = 1000
	maxMaxConcurrent = 10000
)

// Config is the pools.NAME.health section of the configuration file. Start from DefaultConfig: the
// zero value is not valid.
type Config struct {
	// Path is what a check GETs; the backend must answer 2xx or 3xx. If it is empty, a connection
	// that opens is enough.
	Path string `yaml:"path"`
	// Interval is the pause between two checks of one backend, give or take 10 %; 10ms to 1h.
	Interval time.Duration `yaml:"interval"`
	// Timeout bounds one check from the start of the connect to the end of the response header; 1ms
	// to 1m.
	Timeout time.Duration `yaml:"timeout"`
	// Rise is the number of consecutive successes that bring a backend back; 1 to 1000.
	Rise int `yaml:"rise"`
	// Fall is the number of consecutive failures that take a backend out; 1 to 1000. If the very
	// first check fails, that is enough.
	Fall int `yaml:"fall"`
	// MaxConcurrent is the most concurrent checks of this pool; 1 to 10000. Backends that are down
	// get at most half of them. Time spent waiting for a slot does not count towards Timeout.
	MaxConcurrent int `yaml:"max_concurrent"`
}

// DefaultConfig returns the values of keys that the configuration file leaves out.
func DefaultConfig() Config {
	return Config{
		Interval:      2 * time.Second,
		Timeout:       time.Second,
		Rise:          2,
		Fall:          2,
		MaxConcurrent: 16,
	}
}

// Validate calls wrong once for each value out of range, with its key relative to the health
// section, the value, and what is allowed.
func (c Config) Validate(wrong func(path string, value any, allowed string)) {
	if c.Path != "" && !validPath(c.Path) {
		wrong("path", c.Path, `"" or a path that begins with "/", in printable ASCII without spaces and "#"`)
	}
	if c.Interval < minInterval || c.Interval > maxInterval {
		wrong("interval", c.Interval, "a time from 10ms to 1h")
	}
	if c.Timeout < minTimeout || c.Timeout > maxTimeout {
		wrong("timeout", c.Timeout, "a time from 1ms to 1m")
	}
	counts := []struct {
		path       string
		value, max int
	}{
		{"rise", c.Rise, maxStreak},
		{"fall", c.Fall, maxStreak},
		{"max_concurrent", c.MaxConcurrent, maxMaxConcurrent},
	}
	for _, n := range counts {
		if n.value < 1 || n.value > n.max {
			wrong(n.path, n.value, fmt.Sprintf("a whole number from 1 to %d", n.max))
		}
	}
}

// validPath reports whether path can stand in a request line unchanged: a space or a line end would
// split the request.
func validPath(path string) bool {
	notInTarget := func(r rune) bool { return r <= ' ' || r > '~' || r == '#' }
	return strings.HasPrefix(path, "/") && !strings.ContainsFunc(path, notInTarget)
}
