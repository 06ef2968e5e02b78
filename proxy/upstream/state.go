package upstream

import "strings"

// State is the set of reasons why a backend takes no requests, as bits, each set and cleared by one
// party. A backend is in while the set is empty.
type State uint32

const (
	// Down is set by the health checks: the backend refuses them or does not answer.
	Down State = 1 << iota
	// Unfit is set by the health checks instead of Down: the backend answers, but not as it should.
	Unfit
	// Unproven is set from the moment a reload adds a backend until its first check ends, but no
	// longer than health.timeout, nor while no other backend takes requests.
	Unproven
	// Ejected is set because of what requests met at the backend.
	Ejected
	// Draining is set by an operator.
	Draining
)

// foundOut are the states of a backend that was found not to work.
const foundOut = Down | Unfit | Ejected

// String returns the state in words, with commas between them: up, or one or more of down, ejected
// and draining.
func (s State) String() string {
	var set []string
	for _, word := range []struct {
		bits State
		name string
	}{{Down | Unfit | Unproven, "down"}, {Ejected, "ejected"}, {Draining, "draining"}} {
		if s&word.bits != 0 {
			set = append(set, word.name)
		}
	}
	if set == nil {
		return "up"
	}
	return strings.Join(set, ",")
}
