package upstream

import "sync/atomic"

// slots counts what is taken of a bounded number. The bound may change at any time; 0 means none. It
// is safe for concurrent use, and never gives out more than the bound.
type slots struct{ taken, most atomic.Int64 }

// limit sets the bound, and reports whether it is lower than before.
func (s *slots) limit(most int) (lower bool) {
	before := s.most.Swap(int64(most))
	return most > 0 && (before == 0 || int64(most) < before)
}

// take takes a slot, unless all are taken.
func (s *slots) take() (ok bool) {
	for {
		n := s.taken.Load()
		if most := s.most.Load(); most > 0 && n >= most {
			return false
		}
		if s.taken.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// free gives a slot back.
func (s *slots) free() { s.taken.Add(-1) }

// full reports whether all are taken.
func (s *slots) full() bool {
	most := s.most.Load()
	return most > 0 && s.taken.Load() >= most
}

// over reports whether more are taken than the bound, which was higher before.
func (s *slots) over() bool {
	most := s.most.Load()
	return most > 0 && s.taken.Load() > most
}
