//go:build unix

package http1

import (
	"math"
	"syscall"
)

// descriptors returns how many file descriptors the process may have. Go has raised the soft limit
// to the hard one at the start.
func descriptors() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return math.MaxInt32
	}
	return int(min(uint64(limit.Cur), math.MaxInt32))
}
