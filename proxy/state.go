package proxy

// state says why a backend takes no requests: a set of reasons, each of them set and cleared by one
// party. It takes requests while the set is empty.
type state uint32

const (
	// down is for the health checks.
	down state = 1 << iota
)
