// Command peers reads the output of this module's benchmarks from its standard input and prints it
// as a table in Markdown.
//
//	go test -run '^$' -bench . -cpu 1,2,4,8 -count 5 . | go run .
package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/perf/benchfmt"
)

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

// column is what a figure of a benchmark is shown under. A name is that of the benchmark up to the
// limiter's, and procs is GOMAXPROCS.
type column struct {
	title, benchmark, procs, unit string
}

func columns() []column {
	return []column{
		{"1", "Bucket", "1", "sec/op"},
		{"2", "Bucket", "2", "sec/op"},
		{"4", "Bucket", "4", "sec/op"},
		{"8", "Bucket", "8", "sec/op"},
		{"rejected", "Rejected", "1", "sec/op"},
		{"allocs", "Bucket", "1", "allocs/op"},
		{"100,000 clients", "Keyed", "1", "sec/op"},
		{"allocs", "Keyed", "1", "allocs/op"},
		{"bytes a client", "Keyed", "1", "B/client"},
		{"errors at 2", "Bucket", "2", "%errors"},
	}
}

// run writes the table with a row for each limiter, in the order in which they come.
func run(benchmarks io.Reader, table io.Writer) error {
	limiters, figures, err := read(benchmarks)
	if err != nil {
		return err
	}
	if len(limiters) == 0 {
		return fmt.Errorf("no benchmark of this module in the input: pipe the output of `go test -bench .` into it")
	}
	var out strings.Builder
	header, rule := "| limiter |", "| --- |"
	for _, c := range columns() {
		header += " " + c.title + " |"
		rule += " ---: |"
	}
	fmt.Fprintln(&out, header)
	fmt.Fprintln(&out, rule)
	for _, limiter := range limiters {
		out.WriteString("| " + limiter + " |")
		for _, c := range columns() {
			c.title = ""
			out.WriteString(" " + show(c.unit, figures[figure{limiter, c}]) + " |")
		}
		out.WriteByte('\n')
	}
	_, err = io.WriteString(table, out.String())
	return err
}

// figure is one of a limiter; its column has no title.
type figure struct {
	limiter string
	column
}

// read returns the limiters in order, and every measurement of each figure.
func read(benchmarks io.Reader) (limiters []string, figures map[figure][]float64, err error) {
	figures = map[figure][]float64{}
	reader := benchfmt.NewReader(benchmarks, "standard input")
	for reader.Scan() {
		switch record := reader.Result().(type) {
		case *benchfmt.SyntaxError:
			return nil, nil, record
		case *benchfmt.Result:
			benchmark, limiter, procs := split(record.Name)
			if !slices.Contains(limiters, limiter) {
				limiters = append(limiters, limiter)
			}
			for _, v := range record.Values {
				f := figure{limiter, column{"", benchmark, procs, v.Unit}}
				figures[f] = append(figures[f], v.Value)
			}
		}
	}
	return limiters, figures, reader.Err()
}

// split takes a name such as Bucket/x/time/rate,_time_known-2 apart. Without a number GOMAXPROCS is
// 1.
func split(name benchfmt.Name) (benchmark, limiter, procs string) {
	benchmark, limiter, _ = strings.Cut(name.String(), "/")
	procs = "1"
	if i := strings.LastIndexByte(limiter, '-'); i >= 0 && strings.Trim(limiter[i+1:], "0123456789") == "" {
		limiter, procs = limiter[:i], limiter[i+1:]
	}
	return benchmark, strings.ReplaceAll(limiter, "_", " "), procs
}

// show prints the median of the measurements, and nothing if there are none.
func show(unit string, measured []float64) string {
	if len(measured) == 0 {
		return ""
	}
	slices.Sort(measured)
	median := measured[len(measured)/2]
	switch unit {
	case "sec/op":
		return fmt.Sprintf("%.0f ns", median*1e9)
	case "%errors":
		return fmt.Sprintf("%.1f %%", median)
	default:
		return fmt.Sprintf("%.0f", median)
	}
}
