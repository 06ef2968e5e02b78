package upstream

// State is the set of reasons why a backend takes no requests, as bits, each set and cleared by one
// party. A backend takes requests while the set is empty.
type State uint32

const (
	// Down is set by the health checks.
	Down State = 1 << iota
	// Unproven is set from the moment a reload adds a backend until its first check ends, but no
	// longer than health.timeout, nor while no other backend takes requests.
	Unproven
)
