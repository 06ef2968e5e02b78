package healthz

import (
	"fmt"
	"time"
)

// Ejection is the pools.NAME.ejection section of the configuration file: when a backend is taken
// out because of what requests meet there. Start from DefaultEjection: the zero value is not valid.
type Ejection struct {
	// Failures is the number of consecutive failures that eject a backend; 0 turns ejection off.
	Failures int `yaml:"failures"`
	// Base is how long the first ejection lasts. Each further one takes twice as long, up to Max;
	// 1ms to 24h.
	Base time.Duration `yaml:"base"`
	Max  time.Duration `yaml:"max"`
	// MaxEjected is the share of the pool's backends, in per cent and rounded down, that may be
	// ejected at once; 0 to 100. Where it is not 0, one of two or more may be. The last one never
	// is.
	MaxEjected int `yaml:"max_ejected"`
}

// DefaultEjection returns the values of keys that the configuration file leaves out.
func DefaultEjection() Ejection {
	return Ejection{Failures: 3, Base: 5 * time.Second, Max: 5 * time.Minute, MaxEjected: 50}
}

// Bounds of the section.
const (
	minEjection = time.Millisecond
	maxEjection = 24 * time.Hour
)

// Validate calls wrong once for each value out of range, with its key relative to the ejection
// section, the value, and what is allowed.
func (c Ejection) Validate(wrong func(path string, value any, allowed string)) {
	if c.Failures < 0 || c.Failures > maxStreak {
		wrong("failures", c.Failures, fmt.Sprintf("a whole number from 1 to %d, or 0 for no ejection", maxStreak))
	}
	if c.Base < minEjection || c.Base > maxEjection {
		wrong("base", c.Base, "a time from 1ms to 24h, such as 5s")
	} else if c.Max < c.Base || c.Max > maxEjection {
		wrong("max", c.Max, fmt.Sprintf("a time from base, which is %s, to 24h", c.Base))
	}
	if c.MaxEjected < 0 || c.MaxEjected > 100 {
		wrong("max_ejected", c.MaxEjected, "a whole number of per cent from 0 to 100")
	}
}

// Allows reports whether another backend may be ejected, where so many of the pool's backends are,
// and so many are in.
func (c Ejection) Allows(ejected, in, all int) bool {
	most := all * c.MaxEjected / 100
	if c.MaxEjected > 0 && all > 1 {
		most = max(1, most)
	}
	return ejected < most && in > 1
}
