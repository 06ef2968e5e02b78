package upstream

import "time"

// PickAgain is Pick for a request that has tried all backends that take requests: of those that are
// not full, it returns the one that the request has tried longest ago, or nil if there is none.
func (p *Pool) PickAgain(began time.Time, tried *Tried) *Backend {
	var again *Backend
	for _, b := range p.current.Load().backends {
		if !b.full() && (again == nil || tried.last(b) < tried.last(again)) {
			again = b
		}
	}
	if again != nil {
		p.note(again, began, tried)
	}
	return again
}
