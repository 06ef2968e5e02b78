package store

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// fileHolder names another process that has the file open, as far as this one may see it.
func fileHolder(path string) string {
	want, err := os.Stat(path)
	if err != nil {
		return "another process"
	}
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*") // the pattern is valid: no other error can come
	for _, link := range links {
		pid := filepath.Base(filepath.Dir(filepath.Dir(link)))
		if pid == strconv.Itoa(os.Getpid()) {
			continue
		}
		if file, err := os.Stat(link); err != nil || !os.SameFile(file, want) {
			continue
		}
		comm, err := os.ReadFile(filepath.Join("/proc", pid, "comm"))
		if err == nil {
			return fmt.Sprintf("%s (pid %s)", bytes.TrimSpace(comm), pid)
		}
	}
	return "another process"
}
