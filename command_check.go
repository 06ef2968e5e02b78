package main

import (
	"context"
	"flag"
	"fmt"
	"io"
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
	if _, _, err := loadConfig(path); err != nil {
		return usageError{err}
	}
	fmt.Fprintf(stdout, "%s is valid\n", path)
	return nil
}
