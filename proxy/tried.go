package proxy

import "slices"

// maxAttempts bounds the tries of one request, and so what triedSet has to hold.
const maxAttempts = 16

// triedSet holds the backends that one request has tried.
type triedSet struct {
	backends [maxAttempts]*backend
	n        int
}

func (t *triedSet) add(b *backend) {
	t.backends[t.n] = b
	t.n++
}

func (t *triedSet) has(b *backend) bool {
	return slices.Contains(t.backends[:t.n], b)
}
