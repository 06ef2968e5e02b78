// Command fleet has limiters hold one limit over three instances, and prints two tables in Markdown:
// how much too much each grants, and what each costs a request. It starts a redis-server of its own.
//
//	go run ./fleet
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"
)

func main() {
	lasts := flag.Duration("overload", 12*time.Second, "how long clients ask for more than their rates; by default so long that they get all of a second window, of 10 s")
	costs := flag.Duration("cost", 5*time.Second, "how long the cost of each kind of request is measured; twice, once over a slow wire")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	if err := run(ctx, os.Stdout, *lasts, *costs); err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, lasts, costs time.Duration) (err error) {
	s, err := startServer(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := printOverload(ctx, out, s, lasts); err != nil {
		return err
	}
	for _, k := range kinds() {
		if err := printCost(ctx, out, s, k, costs); err != nil {
			return err
		}
	}
	return nil
}

// overloadLimits are those of three clients, who ask at the same time.
func overloadLimits() []limit {
	return []limit{{10, time.Second}, {100, 10 * time.Second}, {1000, 10 * time.Second}}
}

func printOverload(ctx context.Context, out io.Writer, s *server, lasts time.Duration) error {
	limits := overloadLimits()
	header, rule := "| limiter |", "| --- |"
	for _, l := range limits {
		header += fmt.Sprintf(" %d, %g/s: burst | any span | of the limit |", l.tokens, l.perSecond())
		rule += " ---: | ---: | ---: |"
	}
	fmt.Fprintf(out, "%s errors |\n%s ---: |\n", header, rule)
	for _, c := range overloadable() {
		results, err := runOverload(ctx, c, s, limits, lasts)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		row, failed := "| "+c.name+" |", 0
		for i, r := range results {
			failed += r.failed
			row += fmt.Sprintf(" %d | %d | %.1f %% |", excess(r.ofBurst(), limits[i]), excess(r.grants, limits[i]), 100*r.ofLimit(limits[i]))
		}
		fmt.Fprintf(out, "%s %d |\n", row, failed)
	}
	fmt.Fprintln(out)
	for _, c := range simulated() {
		fmt.Fprintf(out, "%s: simulated by the rules in %s\n", c.name, c.rules)
	}
	return nil
}

func runOverload(ctx context.Context, c contender, s *server, limits []limit, lasts time.Duration) (_ []overloaded, err error) {
	if err := s.empty(ctx); err != nil {
		return nil, err
	}
	f, err := c.open(s.address, limits)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	return overload(f, limits, lasts), nil
}

func printCost(ctx context.Context, out io.Writer, s *server, k kind, lasts time.Duration) error {
	fmt.Fprintf(out, "\n| a request %s | commands | round trips | p50 | p99 | CPU | CPU of Redis | errors |\n", k.name)
	fmt.Fprintln(out, "| --- |"+strings.Repeat(" ---: |", 7))
	for _, c := range measurable() {
		m, err := measureCost(ctx, c, k, s, lasts)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		fmt.Fprintf(out, "| %s | %s | %d | %s | %s | %s | %s | %d |\n", c.name, few(m.commands), int(m.roundTrips),
			micros(m.p50), micros(m.p99), micros(m.cpu), micros(m.serverCPU), m.failed)
	}
	return nil
}

// few prints how many there are of what there may be few of.
func few(n float64) string {
	if n > 0 && n < 0.01 {
		return "< 0.01"
	}
	return fmt.Sprintf("%.2f", n)
}

func micros(d time.Duration) string {
	return fmt.Sprintf("%.1f µs", float64(d)/float64(time.Microsecond))
}
