package upstream

import "time"

// Setting is what an operator has set of one backend by hand, beside the config. The zero value is
// nothing. It is written to a file as it is.
type Setting struct {
	Drained time.Time `json:"drained_at,omitzero"` // zero: the backend is not drained
	// Until is when the clients that are kept at the drained backend move, too; zero: they stay.
	Until  time.Time `json:"sticky_until,omitzero"`
	Weight *Weight   `json:"weight,omitempty"` // nil: that of the config counts
	// From is the URL of the config whose name has led to the backend, or "".
	From string `json:"resolved_from,omitempty"`
}

// Weight is a weight that stands in for the one of the config, until the config has another.
type Weight struct {
	Now     int `json:"now"`
	Instead int `json:"instead_of"`
}

// isZero reports whether nothing is set.
func (s Setting) isZero() bool { return s.Drained.IsZero() && s.Weight == nil }

// keepsClients reports whether the clients that are kept at the drained backend stay there.
func (s Setting) keepsClients(now time.Time) bool { return s.Until.IsZero() || now.Before(s.Until) }

// isOvertaken reports whether the config has got another weight than the one that was set by hand
// stands in for.
func (s Setting) isOvertaken(configured int) bool {
	return s.Weight != nil && s.Weight.Instead != configured
}

// weight returns the weight that counts.
func (s Setting) weight(configured int) int {
	if s.Weight == nil || s.isOvertaken(configured) {
		return configured
	}
	return s.Weight.Now
}

// drain returns the setting of a backend that is drained now, with clients that stay until a time.
// A drain that has begun goes on.
func (s Setting) drain(now, until time.Time) Setting {
	if s.Drained.IsZero() {
		s.Drained = now
	}
	s.Until = until
	return s
}

// resume returns the setting without the drain.
func (s Setting) resume() Setting {
	s.Drained, s.Until = time.Time{}, time.Time{}
	return s
}

// weigh returns the setting with a weight. That of the config is none that is set by hand.
func (s Setting) weigh(weight, configured int) Setting {
	if s.Weight = nil; weight != configured {
		s.Weight = &Weight{weight, configured}
	}
	return s
}
