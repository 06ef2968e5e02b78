//go:build !unix

package http1

import "math"

// descriptors returns how many file descriptors the process may have: the system sets no bound that
// matters here.
func descriptors() int { return math.MaxInt32 }
