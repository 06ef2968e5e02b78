// Command lb is an HTTP load balancer: it spreads requests over backends and
// gives every client the rate limit that was set for it.
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

// Exit codes.
const (
	exitFailed = 1 // something that the machine would not do
	exitUsage  = 2 // a flag or the config file is wrong: nothing was started
)

// usageError is an error that the caller of the program has to mend.
type usageError struct{ error }

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		<-signals
		fmt.Fprintln(os.Stderr, "lb: a second signal: ending at once")
		os.Exit(exitFailed)
	}()
	err := run(ctx, os.Args[1:], os.Stdout)
	var usage usageError
	switch {
	case err == nil:
	case errors.As(err, &usage):
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exitUsage)
	default:
		fmt.Fprintln(os.Stderr, "lb:", err)
		os.Exit(exitFailed)
	}
}

// run is the program: it returns when ctx has ended and everything is shut down,
// or when something has failed.
func run(ctx context.Context, args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("lb", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	path := flags.String("path", "config.yaml", "the config `file`")
	demo := flags.Bool("demo", false, "also start fake backends on the configured loopback addresses where nothing listens")
	check := flags.Bool("check", false, "read the config file, say what is wrong with it, and end")
	usage := func(w io.Writer) {
		flags.SetOutput(w)
		fmt.Fprintln(w, "lb: an HTTP load balancer with a rate limit for each client\n\nlb [--path=config.yaml] [--demo] [--check]")
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
		return usageError{fmt.Errorf("lb: %q is no flag; see lb --help", flags.Arg(0))}
	}
	c, err := loadConfig(*path)
	if err != nil {
		return usageError{err}
	}
	if *check {
		fmt.Fprintf(stdout, "%s is valid\n", *path)
		return nil
	}
	return start(ctx, c, *path, *demo, newLogger(c.Log, stdout))
}
