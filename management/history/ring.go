package history

// ring says where the latest values of a series are kept, of which it holds at most size.
type ring struct {
	size, next, held int
}

// push returns the place of another value, which may be that of the oldest.
func (r *ring) push() int {
	at := r.next
	r.next = (r.next + 1) % r.size
	r.held = min(r.held+1, r.size)
	return at
}

// latest calls f with the places of the latest n values, or of all if there are fewer, from the
// oldest.
func (r *ring) latest(n int, f func(at int)) {
	n = min(n, r.held)
	for i := range n {
		f((r.next - n + i + r.size) % r.size)
	}
}
