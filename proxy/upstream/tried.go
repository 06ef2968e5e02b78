package upstream

import "slices"

// maxAttempts is the most attempts of one request, and so the most backends in a Tried.
const maxAttempts = 16

// Tried holds the backends that a request has tried. The zero value is empty. It is not safe for
// concurrent use.
type Tried struct {
	backends [maxAttempts]*Backend
	n        int
}

// Len returns the number of backends, which is that of the attempts.
func (t *Tried) Len() int { return t.n }

func (t *Tried) add(b *Backend) {
	t.backends[t.n] = b
	t.n++
}

func (t *Tried) has(b *Backend) bool {
	return slices.Contains(t.backends[:t.n], b)
}
