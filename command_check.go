package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"
)

// checkCommand checks a config file. Nothing is started, and no store is opened.
func checkCommand(flags *flag.FlagSet) action {
	path := pathFlag(flags)
	return func(_ context.Context, _ []string, stdout io.Writer) error { return check(*path, stdout) }
}

// pathFlag defines the flag that names the config file.
func pathFlag(flags *flag.FlagSet) *string {
	return flags.String("path", "config.yaml", "the config `file`")
}

// check says on stdout that a config file is valid, or returns all its faults.
func check(path string, stdout io.Writer) error {
	c, _, err := loadConfig(path)
	if err != nil {
		return usageError{err}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Pools)) {
		pool := c.Pools[name]
		pool.Warn(func(at, words string) { fmt.Fprintf(stdout, "%s: warning: pools.%s.%s: %s\n", path, name, at, words) })
	}
	fmt.Fprintf(stdout, "%s is valid\n", path)
	return nil
}
