package proxy

import "slices"

// maxAttempts is the most attempts of one request, and so the size of triedSet.
const maxAttempts = 16

// triedSet holds the backends that a request has tried.
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
