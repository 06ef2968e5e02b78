package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"strconv"

	"golang.org/x/sync/errgroup"

	"loadbalancer/bench/backend"
)

const serversHelp = `Usage: bench servers [flags]

Serves fake backends that name themselves in every answer, until Ctrl-C.

  --servers=10             how many backends, 1 to 1000
  --start_port=8100        port of the first one; the others follow
  --listen_host=127.0.0.1  address to listen on
  --delay=0s               wait before each answer, such as 20ms
  --error_rate=0           fraction of requests answered 500, from 0 to 1
  --body_size=0            bytes of each answer, such as 64KiB; 0 means just the name

GET /healthz is answered 200. GET /stream?bytes=N is answered with N bytes.

Each backend can be told to fail while it serves, by PUT /control on its own port:

  curl -X PUT -d '{"fault":"fail","status":503,"fraction":0.5,"for":"10s"}' http://127.0.0.1:8100/control

  fault     none; fail: the status, at once; slow: the delay before each answer; hang: no answer
            until the fault ends; stall: the header alone until then; reset: a TCP reset; close: the
            connection ends without an answer; restart: nothing listens for a time
  status    of a backend that fails; 500 by default
  delay     of a slow one, such as 200ms
  fraction  of requests that the fault hits, above 0 and up to 1; 1 by default
  for       how long it lasts; until the next PUT by default, a restart for 1s
  checks    true: it hits /healthz, too

GET /control shows the fault, and how many requests have come but checks. Requests with
X-Forwarded-For, which a proxy forwards, do not control the backend.
`

const maxServers = 1000

// serversFlags holds the command line.
type serversFlags struct {
	options            backend.Options
	host               string
	startPort, servers int
}

// flagSet returns flags that set f. It sets f to their defaults.
func (f *serversFlags) flagSet() *flag.FlagSet {
	flags := flag.NewFlagSet("bench servers", flag.ContinueOnError)
	flags.IntVar(&f.servers, "servers", 10, "")
	flags.IntVar(&f.startPort, "start_port", 8100, "")
	flags.StringVar(&f.host, "listen_host", "127.0.0.1", "")
	flags.DurationVar(&f.options.Delay, "delay", 0, "")
	flags.Float64Var(&f.options.ErrorRate, "error_rate", 0, "")
	flags.Var((*size)(&f.options.BodySize), "body_size", "")
	return flags
}

// runServers serves fake backends until ctx ends.
func runServers(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var f serversFlags
	if err := parse(f.flagSet(), args, stderr, serversHelp); err != nil {
		return err
	}
	if f.servers < 1 || f.servers > maxServers {
		return &usageError{fmt.Errorf("--servers=%d: must be from 1 to %d", f.servers, maxServers)}
	}
	if last := 65536 - f.servers; f.startPort < 1 || f.startPort > last {
		return &usageError{fmt.Errorf("--start_port=%d: must be from 1 to %d with %d servers", f.startPort, last, f.servers)}
	}
	if err := f.options.Validate(); err != nil {
		return &usageError{fmt.Errorf("--%w", err)}
	}
	listeners, err := listenAll(ctx, f.host, f.startPort, f.servers)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "serving %d backends on %s to %s, until Ctrl-C\n",
		len(listeners), listeners[0].Addr(), listeners[len(listeners)-1].Addr())

	serving, ctx := errgroup.WithContext(ctx)
	for _, ln := range listeners {
		serving.Go(func() error { return backend.Serve(ctx, ln, f.options) })
	}
	return serving.Wait()
}

// listenAll listens on count consecutive ports from first on, or on none of them.
func listenAll(ctx context.Context, host string, first, count int) (listeners []net.Listener, err error) {
	defer func() {
		if err != nil {
			for _, ln := range listeners {
				_ = ln.Close()
			}
		}
	}()
	for port := first; port < first+count; port++ {
		address := net.JoinHostPort(host, strconv.Itoa(port))
		var config net.ListenConfig
		ln, err := config.Listen(ctx, "tcp", address)
		if err != nil {
			return listeners, fmt.Errorf("listen on %s: %w; choose other ports with --start_port, or stop the process that holds this one", address, err)
		}
		listeners = append(listeners, ln)
	}
	return listeners, nil
}
