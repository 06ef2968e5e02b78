package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"loadbalancer/bench/load"
	"loadbalancer/bench/report"
)

const loadHelp = `Usage: bench --url=http://localhost:8080/ [flags]
       bench servers [flags]       serve fake backends; see bench servers --help

Loads a URL and reports throughput, latency, status codes and errors. Ctrl-C ends it early and still reports.

How much (the first that is reached ends the run; 10s where neither is set):
  --requests=N             requests in all
  --duration=10s           how long requests are started
  --connections=50         connections held open, one request at a time on each
  --rate=R                 requests per second on a fixed schedule; latency then counts from when a request
                           was due, waiting for a free connection included. Without: as fast as answers come

What is sent, and where:
  --url=URL                http://host[:port][/path][?query]
  --method=GET             POST where a body is given
  --body=TEXT              body of each request
  --body_size=64KiB        or a made-up body of that size
  --header='Name: value'   may be repeated
  --keepalive=true         false: a new connection for each request
  --timeout=10s            for each connect and each request

What is told:
  --json                   the report as JSON, and nothing else, on stdout
  --chart=FILE.png         a picture too: throughput and latency over time, latency by percentile
  --report=FILE.html       a page too: throughput, latency and errors over time, with all figures as tables

Exit code: 0 when the run completed, whatever the statuses; 1 when nothing was answered; 2 for a wrong flag.
`

// defaultDuration applies if neither requests nor duration is given.
const defaultDuration = 10 * time.Second

// loadFlags holds the command line: load.Options and the output.
type loadFlags struct {
	options load.Options
	json    bool
	chart   string // file name; "" means none
	report  string // likewise
}

// runLoad puts load on a URL and reports. If ctx ends early, it reports what was measured until
// then.
func runLoad(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f, err := parseLoad(args, stderr)
	if err != nil {
		return err
	}
	if err := checkFileLimit(f.options.Connections); err != nil {
		return &usageError{err}
	}
	for _, p := range f.pictures() {
		if err := p.validate(); err != nil {
			return &usageError{err}
		}
	}
	progress := newProgressPrinter(stderr, os.Getenv)
	f.options.Progress, f.options.ProgressInterval = progress.print, progress.interval
	result, err := load.Run(ctx, f.options)
	progress.finish()
	if err != nil {
		if errors.Is(err, syscall.ECONNREFUSED) {
			err = fmt.Errorf("%w; nothing listens there, start the load balancer or bench servers first", err)
		}
		return err
	}
	write := report.Text
	if f.json {
		write = report.JSON
	}
	if err := write(stdout, result); err != nil {
		return err
	}
	for _, p := range f.pictures() {
		if err := p.save(commandLine(args), result); err != nil {
			return err
		}
		fmt.Fprintf(stderr, "%s written to %s\n", p.flag, p.name)
	}
	if result.Responses == 0 && result.Failed > 0 {
		return fmt.Errorf("none of %s requests to %s was answered", report.Count(result.Failed), f.options.URL)
	}
	return nil
}

// flagSet returns flags that set f. It sets f to their defaults.
func (f *loadFlags) flagSet() *flag.FlagSet {
	o := &f.options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.StringVar(&o.URL, "url", "", "")
	flags.StringVar(&o.Method, "method", "", "")
	flags.StringVar(&o.Body, "body", "", "")
	flags.Var((*size)(&o.BodySize), "body_size", "")
	flags.Var((*headers)(&o.Headers), "header", "")
	flags.IntVar(&o.Connections, "connections", 50, "")
	flags.Int64Var(&o.Requests, "requests", 0, "")
	flags.DurationVar(&o.Duration, "duration", 0, "")
	flags.Float64Var(&o.Rate, "rate", 0, "")
	flags.DurationVar(&o.Timeout, "timeout", 10*time.Second, "")
	flags.BoolVar(&o.KeepAlive, "keepalive", true, "")
	flags.BoolVar(&f.json, "json", false, "")
	flags.StringVar(&f.chart, "chart", "", "")
	flags.StringVar(&f.report, "report", "", "")
	return flags
}

// parseLoad returns valid flags, or a *usageError, or flag.ErrHelp.
func parseLoad(args []string, stderr io.Writer) (loadFlags, error) {
	var f loadFlags
	o := &f.options
	flags := f.flagSet()
	if err := parse(flags, args, stderr, loadHelp); err != nil {
		return f, err
	}
	var zero error // 0 has a meaning in load.Options, but on the command line it is a mistake
	flags.Visit(func(given *flag.Flag) {
		switch {
		case given.Name == "requests" && o.Requests == 0, given.Name == "duration" && o.Duration == 0, given.Name == "rate" && o.Rate == 0:
			zero = fmt.Errorf("--%s=%s: must be above 0; leave the flag out for no limit", given.Name, given.Value)
		case !strings.HasSuffix(given.Value.String(), pictureSuffix[given.Name]):
			zero = fmt.Errorf("--%s=%s: must be a file name that ends in %s", given.Name, given.Value, pictureSuffix[given.Name])
		}
	})
	if zero != nil {
		return f, &usageError{zero}
	}
	if o.URL == "" {
		return f, &usageError{errors.New("--url is missing, such as --url=http://localhost:8080/ (see --help)")}
	}
	if o.Requests == 0 && o.Duration == 0 {
		o.Duration = defaultDuration
	}
	if o.Method == "" {
		o.Method = "GET"
		if o.Body != "" || o.BodySize > 0 {
			o.Method = "POST"
		}
	}
	if err := o.Validate(); err != nil {
		return f, &usageError{fmt.Errorf("--%w", err)}
	}
	return f, nil
}

// headers is a flag that may be repeated.
type headers []string

// String implements flag.Value.
func (h *headers) String() string { return strings.Join(*h, ", ") }

// Set implements flag.Value.
func (h *headers) Set(line string) error {
	*h = append(*h, line)
	return nil
}
