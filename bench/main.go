// Command bench loads an HTTP server and reports what came back, and serves fake backends.
//
// It parses flags, limits itself to what the machine allows, and prints; packages load, report and
// backend do the work. A wrong command line starts nothing. The command knows nothing of the load
// balancer: it speaks plain HTTP to any server.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
	}
	os.Exit(exitCode(err))
}

// run does what the arguments say until it is done or ctx ends. The report goes to stdout,
// everything else to stderr.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 && args[0] == "servers" {
		return runServers(ctx, args[1:], stdout, stderr)
	}
	return runLoad(ctx, args, stdout, stderr)
}

// usageError is a mistake in the command line, not in what it was about to do.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// exitCode returns 0 for success and help, 2 for a wrong command line, 1 for everything else.
func exitCode(err error) int {
	var usage *usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &usage):
		return 2
	}
	return 1
}

// parse parses args, all of which must be flags. If help is requested, it prints help and returns
// flag.ErrHelp.
func parse(flags *flag.FlagSet, args []string, stderr io.Writer, help string) error {
	flags.SetOutput(io.Discard) // the error says it all; package flag would print the help with it
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stderr, help)
		return err
	case err != nil:
		return &usageError{fmt.Errorf("%w (see --help)", err)}
	case flags.NArg() > 0:
		return &usageError{fmt.Errorf("unexpected argument %q: every argument must be a flag (see --help)", flags.Arg(0))}
	}
	return nil
}
