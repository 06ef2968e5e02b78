package upstream

import "sync/atomic"

// places counts what is taken of a bounded number. The bound may change at any time; 0 means none.
// It is safe for concurrent use, and never gives out more than the bound.
type places struct{ taken, most atomic.Int64 }

// limit sets the bound, and reports whether it is lower than before.
func (p *places) limit(most int) (lower bool) {
	before := p.most.Swap(int64(most))
	return most > 0 && (before == 0 || int64(most) < before)
}

// take takes a place, unless all are taken.
func (p *places) take() (ok bool) {
	for {
		n := p.taken.Load()
		if most := p.most.Load(); most > 0 && n >= most {
			return false
		}
		if p.taken.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// free gives a place back.
func (p *places) free() { p.taken.Add(-1) }

// full reports whether all are taken.
func (p *places) full() bool {
	most := p.most.Load()
	return most > 0 && p.taken.Load() >= most
}

// over reports whether more are taken than the bound, which was higher before.
func (p *places) over() bool {
	most := p.most.Load()
	return most > 0 && p.taken.Load() > most
}
