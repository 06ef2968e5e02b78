package upstream

import "strings"

// State is the set of reasons why a backend takes no requests, as bits, each set and cleared by one
// party. A backend takes requests while the set is empty.
type State uint32

const (
	// Down is set by the health checks.
	Down State = 1 << iota
	// Ejected is set because of what requests met at the backend.
	Ejected
)

// stateNames are the names of the bits, from the lowest on.
var stateNames = [...]string{"down", "ejected"}

// String returns the names of the bits that are set, with commas between them, or "up".
func (s State) String() string {
	if s == 0 {
		return "up"
	}
	var set []string
	for i, name := range stateNames {
		if s&(1<<i) != 0 {
			set = append(set, name)
		}
	}
	return strings.Join(set, ",")
}
