package shared

import (
	"regexp"
	"strings"
	"time"
)

// The time that a request may wait for the central state. Below minWait no network answers in time;
// maxWait is what a request may take longer while the central state is slow.
const (
	minWait = time.Millisecond
	maxWait = time.Second
)

// Config is what the limiter section of the config file says of limits that hold over several
// instances.
type Config struct {
	// URL is that of the central state, in a form that CheckURL accepts; "": each instance enforces
	// the limits by itself.
	URL  string        `yaml:"share"`
	Wait time.Duration `yaml:"share_wait"` // longest wait of a request for the central state, from 1ms to 1s
}

// DefaultConfig returns the settings of an empty limiter section.
func DefaultConfig() Config { return Config{Wait: 5 * time.Millisecond} }

// IsOn reports whether there is a central state.
func (c Config) IsOn() bool { return c.URL != "" }

// Validate calls wrong once for each invalid key, with its path in the limiter section, its value,
// and a description of the values it may have. An invalid URL is redacted.
func (c Config) Validate(wrong func(path string, value any, allowed string)) {
	switch {
	case !c.IsOn():
	case strings.ContainsAny(c.URL, "\r\n"):
		wrong("share", redacted(c.URL), "one line; a value that was read from a file often ends with a line break")
	default:
		if err := CheckURL(c.URL); err != nil {
			wrong("share", redacted(c.URL), err.Error())
		}
	}
	if c.Wait < minWait || c.Wait > maxWait {
		wrong("share_wait", c.Wait, "a duration from 1ms to 1s")
	}
}

var scheme = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://`)

// redacted returns the part of a URL that cannot contain a password.
func redacted(url string) string {
	if s := scheme.FindString(url); s != "" {
		return s + "…"
	}
	return "(not shown: it may hold a password)"
}
