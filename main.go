// Command lb is an HTTP load balancer: it spreads requests over backends and enforces a rate limit
// for each client.
//
// This package reads the flags and the config file, makes the parts in one order, and runs them
// until a signal or a failure. A faulty config starts nothing, and every fault is reported with its
// line. When run returns, everything it started has ended, but for a write to stdout that is stuck.
// The package also holds the queue of the log's lines; it knows nothing of how requests are
// forwarded, limited or checked.
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
	"time"
)

// Exit codes.
const (
	exitFailed = 1 // the system refused something, or a part failed while running
	exitUsage  = 2 // a flag or the config file is wrong, and nothing was started
)

// usageError is an error that the caller of the program must fix.
type usageError struct{ error }

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	// Unless SIGPIPE is ignored, a write to stdout or stderr ends the process once the reader has
	// gone.
	signal.Ignore(syscall.SIGPIPE)
	// SIGHUP must not end the process either. It reloads the config; this covers the time before
	// and after.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		<-signals
		complain(hurry, "lb: a second signal: exiting at once")
		os.Exit(exitFailed)
	}()
	err := run(ctx, os.Args[1:], os.Stdout)
	var usage usageError
	switch {
	case err == nil:
	case errors.As(err, &usage):
		complain(patience, err)
		os.Exit(exitUsage)
	default:
		complain(patience, "lb:", err)
		os.Exit(exitFailed)
	}
}

// The time that the process waits, before it exits, for a stalled reader of stderr.
const (
	patience = time.Second
	hurry    = 100 * time.Millisecond // after a second signal
)

// complain prints a line to stderr. It abandons a write that takes longer than wait, because the
// process is about to exit.
func complain(wait time.Duration, words ...any) {
	printed := make(chan struct{})
	go func() {
		defer close(printed)
		fmt.Fprintln(os.Stderr, words...)
	}()
	select {
	case <-printed:
	case <-time.After(wait):
	}
}

// options are the flags that change what runs.
type options struct{ demo, watch bool }

// run is the program. It returns when ctx has ended and everything is shut down, or when something
// has failed.
func run(ctx context.Context, args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("lb", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	path := flags.String("path", "config.yaml", "the config `file`")
	var o options
	flags.BoolVar(&o.demo, "demo", false, "also start fake backends on the configured loopback addresses where nothing listens")
	flags.BoolVar(&o.watch, "watch", false, "reload the config file whenever it is saved")
	check := flags.Bool("check", false, "check the config file, report every fault, and exit")
	usage := func(w io.Writer) {
		flags.SetOutput(w)
		fmt.Fprintln(w, "lb: an HTTP load balancer with a rate limit for each client\n\nlb [--path=config.yaml] [--demo] [--watch] [--check]")
		flags.PrintDefaults()
	}
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		usage(stdout)
		return nil
	}
	if err != nil {
		return usageError{fmt.Errorf("lb: %w; see lb --help", err)}
	}
	if flags.NArg() > 0 {
		return usageError{fmt.Errorf("lb: unexpected argument %q; see lb --help", flags.Arg(0))}
	}
	c, text, err := loadConfig(*path)
	if err != nil {
		return usageError{err}
	}
	if *check {
		fmt.Fprintf(stdout, "%s is valid\n", *path)
		return nil
	}
	log, lines, format := newLogger(c.Log, stdout)
	defer beside(lines.Run)()
	return start(ctx, c, newReloads(*path, text, c, log), o, log, lines, format)
}

// beside starts f in a goroutine. end cancels f's context and waits until f has returned.
func beside(f func(context.Context)) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f(ctx)
	}()
	return func() {
		cancel()
		<-ended
	}
}
