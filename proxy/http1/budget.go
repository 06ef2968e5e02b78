package http1

import "sync/atomic"

// budget bounds the memory that buffered bodies take, all together, in bytes. It is safe for
// concurrent use.
type budget struct{ most, used atomic.Int64 }

// take takes n bytes, if so many are left.
func (b *budget) take(n int64) (ok bool) {
	if b.used.Add(n) <= b.most.Load() {
		return true
	}
	b.used.Add(-n)
	return false
}

// give gives n bytes back.
func (b *budget) give(n int64) { b.used.Add(-n) }
