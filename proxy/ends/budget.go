package ends

import "sync/atomic"

// Budget bounds the memory that buffered bodies take, all together, in bytes. It is safe for
// concurrent use.
type Budget struct{ most, used atomic.Int64 }

// Set sets the bound.
func (b *Budget) Set(most int64) { b.most.Store(most) }

// Take takes n bytes, if so many are left.
func (b *Budget) Take(n int64) (ok bool) {
	if b.used.Add(n) <= b.most.Load() {
		return true
	}
	b.used.Add(-n)
	return false
}

// Give gives n bytes back.
func (b *Budget) Give(n int64) { b.used.Add(-n) }
