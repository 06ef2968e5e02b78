package management

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
)

// openDescriptors returns the file descriptors of the process, or nil if the system does not tell.
func openDescriptors() *Descriptors {
	const folder = "/proc/self/fd"
	var limit syscall.Rlimit
	info, err := os.Stat(folder)
	if err != nil || syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return nil
	}
	open := uint64(info.Size()) // since Linux 6.2
	if open == 0 {
		entries, err := os.ReadDir(folder)
		if err != nil {
			return nil
		}
		open = uint64(len(entries))
	}
	return &Descriptors{Open: open, Limit: limit.Cur}
}

// residentMemory returns the resident memory of the process in bytes, or nil if the system does not
// tell.
func residentMemory() *uint64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return nil
	}
	fields := bytes.Fields(text)
	if len(fields) < 2 {
		return nil
	}
	pages, err := strconv.ParseUint(string(fields[1]), 10, 64)
	if err != nil {
		return nil
	}
	resident := pages * uint64(os.Getpagesize())
	return &resident
}
