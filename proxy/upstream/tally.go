package upstream

import "loadbalancer/proxy/reason"

// Tally is what the counters of a backend, or of a pool, have come to.
type Tally struct {
	Backend  string // its URL; "": these are the requests of the pool
	Requests uint64 // of a backend, attempts that have ended
	Errors   uint64 // of these: see BackendState; of a pool's, those that got a 5xx status
}

// AppendTallies appends the tally of the pool's requests, and those of its backends.
func (p *Pool) AppendTallies(dst []Tally) []Tally {
	counts := p.requests.codes.Classes()
	dst = append(dst, Tally{"", counts.Total(), counts[4]})
	for _, b := range p.all() {
		requests, errors := b.tally()
		dst = append(dst, Tally{b.url.text, requests, errors})
	}
	return dst
}

// tally returns how many attempts have ended, and how many of them with a 5xx status, without an
// answer, or with one that was broken off.
func (b *Backend) tally() (requests, errors uint64) {
	counts := b.codes.Classes()
	return counts.Total(), counts[4] + b.errors[reason.BackendAborted].Load()
}

// Panics reports whether so few backends are in that some of those that are out take requests.
func (p *Pool) Panics() bool { return p.current.Load().panics }

// Waiting returns how many requests wait because every backend is full or out.
func (p *Pool) Waiting() int64 { return p.queue.waiting.Load() }
