package proxy

// state is the set of reasons why a backend takes no requests, as bits, each set and cleared by one
// party. A backend takes requests while the set is empty.
type state uint32

const (
	// down is set by the health checks.
	down state = 1 << iota
)
