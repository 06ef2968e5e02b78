package main

import (
	"context"
	"flag"
	"io"
	"strings"
)

// options are the flags that change what runs.
type options struct{ demo, watch bool }

// startCommand starts the load balancer. It runs until ctx has ended and everything is shut down,
// or until something has failed.
func startCommand(flags *flag.FlagSet) action {
	path := pathFlag(flags)
	var o options
	flags.BoolVar(&o.demo, "demo", false, "also start fake backends on the configured loopback addresses where nothing listens")
	flags.BoolVar(&o.watch, "watch", false, "reload the config file whenever it is saved")
	checks := flags.Bool("check", false, "the same as lb check")
	version := flags.Bool("version", false, "the same as lb version")
	return func(ctx context.Context, _ []string, stdout io.Writer) error {
		switch {
		case *version:
			return printVersion(stdout)
		case *checks:
			return check(*path, stdout)
		}
		return serve(ctx, *path, o, stdout)
	}
}

// serve runs the load balancer. An error is logged too, so that the log says why the process ended.
func serve(ctx context.Context, path string, o options, stdout io.Writer) error {
	c, text, err := loadConfig(path)
	if err != nil {
		return usageError{err}
	}
	log, lines, format := newLogger(c.Log, stdout)
	endLog := beside(lines.Run)
	defer endLog()
	defer beside(func(ended context.Context) { logSecondSignal(ctx, ended, log, endLog) })()
	r := newReloads(path, text, c, log)
	r.supervisor = findSupervisor(log)
	defer r.supervisor.close()
	err = start(ctx, c, r, o, log, lines, format)
	if err != nil {
		for line := range strings.Lines(err.Error()) { // several failures, a line each
			log.Error().Str("config", path).Msg(strings.TrimSpace(line))
		}
	}
	return err
}
