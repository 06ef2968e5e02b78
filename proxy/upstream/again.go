package upstream

import "time"

// PickAgain is Pick for a request that has tried all backends that take requests: it returns the
// one of them that the request has tried longest ago, or nil if none takes requests.
func (p *Pool) PickAgain(began time.Time, tried *Tried) *Backend {
	var again *Backend
	for _, b := range p.current.Load().backends {
		if again == nil || tried.last(b) < tried.last(again) {
			again = b
		}
	}
	if again != nil {
		p.note(again, began, tried)
	}
	return again
}
