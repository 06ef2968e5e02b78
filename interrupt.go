package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/rs/zerolog"
)

// interrupt is the cause with which the first signal ends the context of a command.
type interrupt struct {
	name  string        // of the signal
	again chan struct{} // closed at a second signal, which ends the process at once
	noted chan struct{} // closed once the log has a line of that
}

// Error returns the name of the signal.
func (i *interrupt) Error() string { return i.name }

// heedSignals calls cancel at the first SIGINT or SIGTERM, and ends the process at the second.
func heedSignals(cancel context.CancelCauseFunc) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		i := &interrupt{signalName(<-signals), make(chan struct{}), make(chan struct{})}
		cancel(i)
		<-signals
		close(i.again)
		select {
		case <-i.noted:
		case <-time.After(hurry):
		}
		complain(hurry, "lb: "+secondSignal)
		os.Exit(exitFailed)
	}()
}

const secondSignal = "a second signal: exiting at once"

func signalName(s os.Signal) string {
	if s == syscall.SIGINT {
		return "SIGINT"
	}
	return "SIGTERM"
}

// logSecondSignal waits, until ended has ended, for a second signal after the one that ended ctx,
// and logs it. endLog returns once the log is written.
func logSecondSignal(ctx, ended context.Context, log zerolog.Logger, endLog func()) {
	select {
	case <-ctx.Done():
	case <-ended.Done():
		return
	}
	var i *interrupt
	if !errors.As(context.Cause(ctx), &i) {
		return
	}
	select {
	case <-i.again:
		log.Error().Msg(secondSignal)
		endLog()
		close(i.noted)
	case <-ended.Done():
	}
}
