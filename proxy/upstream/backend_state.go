package upstream

import (
	"errors"
	"net"
	"time"

	"loadbalancer/healthz"
	"loadbalancer/proxy/metrics"
)

// BackendState is how a backend stands now. Counts are those since the process knows the backend.
type BackendState struct {
	Pool          string    `json:"pool"`
	Backend       string    `json:"backend"`                 // its URL; of a name, that of an address
	From          string    `json:"resolved_from,omitempty"` // the URL with the name that leads there
	Address       string    `json:"address"`                 // which names it in metrics and in the log; there one that speaks TLS has its URL
	State         string    `json:"state"`                   // up, or why it takes no requests: down, ejected, draining, or several with commas; or Unresolved
	TakesRequests bool      `json:"takes_requests"`
	Alone         bool      `json:"alone,omitempty"`  // without it, the pool would take no new requests; false if it takes none
	Since         time.Time `json:"since,omitzero"`   // the state; zero: it is Unresolved
	Causes        []string  `json:"causes,omitempty"` // of the state, in words
	Cause         string    `json:"cause,omitempty"`  // how its checks fail, as healthz.Cause says it, or its look-ups; "": they do not
	EjectedUntil  time.Time `json:"ejected_until,omitzero"`
	StickyUntil   time.Time `json:"sticky_until,omitzero"` // of a drained backend: when the clients that are kept there move; zero: when it is resumed
	LastError     string    `json:"last_error"`            // of a request or check, in words; "": there was none
	LastErrorAt   time.Time `json:"last_error_at,omitzero"`
	Streak        int       `json:"streak"` // requests that failed in a row

	Weight           int     `json:"weight"`
	ConfiguredWeight int     `json:"configured_weight"` // another than Weight where that was set by hand
	EffectiveWeight  float64 `json:"effective_weight"`  // what the policy goes by: 0 while it gets no new requests, less than the weight on the ramp
	Rank             int     `json:"rank,omitempty"`    // it takes requests only while none of a lower rank does
	Backup           bool    `json:"backup,omitempty"`

	InFlight     int64     `json:"in_flight"`
	Requests     uint64    `json:"requests"`                    // attempts that have ended
	Errors       uint64    `json:"errors"`                      // of these: a 5xx status, no answer, or one that was broken off
	TimeToHeader *HeaderMS `json:"time_to_header_ms,omitempty"` // nil: no response has come
}

// Is reports whether a name, an address or a URL, is the backend's.
func (s *BackendState) Is(name string) bool { return s.Address == name || s.Backend == name }

// HeaderMS are times from the request, once it was sent, to the response's header, in milliseconds.
type HeaderMS struct {
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
}

// Unresolved is the state of a URL of the config whose name leads to no address.
const Unresolved = "unresolved"

// States returns how the pool's backends stand, in the order of the config, and then the names that
// lead to no address.
func (p *Pool) States() []BackendState {
	backends, states := p.marked()
	for i, b := range backends {
		b.report(&states[i])
	}
	return append(states, p.unresolved()...)
}

// unresolved returns the backends of the config whose names lead to no address.
func (p *Pool) unresolved() (all []BackendState) {
	for _, c := range p.config.Load().Backends {
		if c.URL.lookup == (question{}) {
			continue
		}
		targets, err := p.names.found(c.URL.lookup)
		if len(addresses(targets)) > 0 {
			continue
		}
		s := BackendState{Pool: p.name, Backend: c.URL.text, Address: c.URL.address, State: Unresolved, Weight: c.Weight, ConfiguredWeight: c.Weight, Backup: c.Backup}
		if err != nil {
			s.Cause, s.Causes = lookupCause(err), []string{"look-up: " + err.Error()}
		}
		all = append(all, s)
	}
	return all
}

// lookupCause returns how a look-up has failed.
func lookupCause(err error) string {
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return "no_such_name"
	}
	return healthz.NoAnswer.String()
}

// marked returns the backends, and of their states what is guarded by marking.
func (p *Pool) marked() ([]*Backend, []BackendState) {
	p.marking.Lock()
	defer p.marking.Unlock()
	effective := map[*Backend]float64{}
	s := p.current.Load()
	for i, b := range s.backends {
		effective[b] = float64(s.members[i].Weight) / rampSteps
	}
	states := make([]BackendState, len(p.backends))
	for i, b := range p.backends {
		states[i] = BackendState{
			Pool: p.name, Backend: b.url.text, From: b.url.from, Address: b.url.address,
			State: State(b.state.Load()).String(), TakesRequests: b.TakesRequests(), Since: b.since, Causes: b.causes(), StickyUntil: b.hand.Until,
			Weight: b.weight, ConfiguredWeight: b.ofConfig, EffectiveWeight: effective[b], Rank: b.rank % backupRank, Backup: b.rank >= backupRank,
		}
		if State(b.state.Load())&Ejected != 0 {
			states[i].EjectedUntil = b.outlier.until()
		}
	}
	markAlone(states)
	return p.backends, states
}

// markAlone marks the backend without which a pool that takes new requests would take none, if there
// is one: the only one of these or, since a panic needs one that is up, the only one that is.
func markAlone(states []BackendState) {
	var up, taking *BackendState
	var ups, takings int
	for i := range states {
		s := &states[i]
		if s.State == State(0).String() {
			up, ups = s, ups+1
		}
		if s.TakesRequests && s.Weight > 0 {
			taking, takings = s, takings+1
		}
	}
	switch {
	case takings > 0 && ups == 1:
		up.Alone = true
	case takings == 1:
		taking.Alone = true
	}
}

// causes returns in words why the backend takes no requests, a text for each bit of its state. It
// is called while marking.
func (b *Backend) causes() (all []string) {
	s := State(b.state.Load())
	if s&(Down|Unfit) != 0 {
		all = append(all, b.checkFailure())
	}
	if s&Unproven != 0 {
		all = append(all, "waits for its first health check")
	}
	if s&Ejected != 0 {
		all = append(all, "ejected: "+b.ejectedBy)
	}
	if s&Draining != 0 {
		all = append(all, "drained by an operator")
	}
	return all
}

// checkFailure returns how the checks of a backend fail that is down for them.
func (b *Backend) checkFailure() string {
	v := b.verdict.Load()
	switch {
	case v == nil:
		return "health check"
	case v.Err == nil:
		return "health check: " + v.Cause.String() + "; it has passed since, but not yet rise times in a row"
	}
	return v.Err.Error()
}

// report adds to a state what changes with requests and checks.
func (b *Backend) report(s *BackendState) {
	if v := b.verdict.Load(); v != nil && v.Down {
		s.Cause = v.Cause.String()
	}
	s.InFlight = b.load.InFlight.Load()
	s.Requests, s.Errors = b.tally()
	s.TimeToHeader = headerMS(&b.duration)
	last, streak := b.outlier.failures()
	s.LastError, s.LastErrorAt, s.Streak = last.String(), last.at, streak
}

// headerMS returns the times of a histogram, or nil if it has counted none.
func headerMS(h *metrics.Histogram) *HeaderMS {
	mean := h.Mean()
	if mean == 0 {
		return nil
	}
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return &HeaderMS{Mean: ms(mean), P50: ms(h.Quantile(0.5)), P99: ms(h.Quantile(0.99))}
}
