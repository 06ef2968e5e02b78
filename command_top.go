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

	"loadbalancer/management/top"
)

// topCommand shows in the terminal how a running load balancer stands.
func topCommand(flags *flag.FlagSet) action {
	management := flags.String("management", "http://127.0.0.1:8081", "the `URL` of the management listener: http://host:port, https://host:port or unix:/path; the environment variable LB_TOKEN has the token for it")
	return func(ctx context.Context, _ []string, stdout io.Writer) error {
		// A terminal that closes sends SIGHUP. By default, either signal would end the process without
		// restoring the terminal.
		ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP, syscall.SIGQUIT)
		defer stop()
		err := top.Run(ctx, top.Options{Management: *management, Token: os.Getenv("LB_TOKEN"), Env: os.Getenv}, stdout)
		if invalid := (top.Invalid{}); errors.As(err, &invalid) {
			return usageError{fmt.Errorf("lb top: %w", err)}
		}
		return err
	}
}
