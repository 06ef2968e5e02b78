// Command lb is an HTTP load balancer: it spreads requests over backends and enforces a rate limit
// for each client.
//
// This package holds the commands, a file each. The one that starts the balancer reads the config
// file, makes the parts in one order, and runs them until a signal or a failure. A faulty config
// starts nothing, and every fault is reported with its line. When run returns, everything it
// started has ended, but for a write to stdout that is stuck. The package also holds the queue of
// the log's lines; it knows nothing of how requests are forwarded, limited or checked.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
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
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	// Unless SIGPIPE is ignored, a write to stdout or stderr ends the process once the reader has
	// gone.
	signal.Ignore(syscall.SIGPIPE)
	// SIGHUP must not end the process either. It reloads the config; this covers the time before
	// and after.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	heedSignals(cancel)
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

// run is the program: the command that the first argument names, or the start of the load balancer.
// It returns when that is done, or when ctx has ended and everything is shut down.
func run(ctx context.Context, args []string, stdout io.Writer) error {
	c, _ := findCommand("")
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		named, known := findCommand(args[0])
		if !known || named.name == "" {
			return unknownCommand(args[0])
		}
		c, args = named, args[1:]
	}
	return c.run(ctx, args, stdout)
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
