//go:build unix

package main

import (
	"fmt"
	"syscall"
)

// spareFiles are the files open in addition to the connections: standard streams, the chart, the
// runtime's own.
const spareFiles = 32

// checkFileLimit returns an error if this process may not open that many connections. The Go
// runtime has already raised the soft limit to the hard one.
func checkFileLimit(connections int) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return nil // if there is a limit, the connection that exceeds it will report it
	}
	return compareFileLimit(connections, uint64(limit.Cur))
}

func compareFileLimit(connections int, limit uint64) error {
	need := uint64(connections) + spareFiles
	if need <= limit {
		return nil
	}
	return fmt.Errorf("--connections=%d: needs %d open files, but this shell allows %d; raise the limit with `ulimit -n %d`, or use fewer connections",
		connections, need, limit, need)
}
