// Package metrics counts without locks, and writes the Prometheus text format.
//
// Counting allocates nothing, and a scrape never blocks a request.
//
// The package has counters by status code, histograms of durations, and the metrics of the Go
// runtime. It knows nothing of what is counted: callers keep other values in atomics and write them
// with Family and AppendSample.
package metrics

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Family writes the lines before a metric's samples: its help, and its type, which is counter,
// gauge or histogram.
func Family(w io.Writer, name, kind, help string) {
	fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

// Single writes a metric with one sample and no labels.
func Single[N int | int64 | uint64](w io.Writer, name, kind, help string, value N) {
	Family(w, name, kind, help)
	fmt.Fprintf(w, "%s %d\n", name, value)
}

// AppendSample appends the line of a sample. A process may have tens of thousands, so they are not
// written with fmt.
func AppendSample(dst []byte, name, labels string, value uint64) []byte {
	dst = appendSeries(dst, name, "", labels)
	dst = append(dst, "} "...)
	dst = strconv.AppendUint(dst, value, 10)
	return append(dst, '\n')
}

// appendSeries appends the series of a sample, up to where its labels end.
func appendSeries(dst []byte, name, suffix, labels string) []byte {
	dst = append(dst, name...)
	dst = append(dst, suffix...)
	dst = append(dst, '{')
	return append(dst, labels...)
}

// Label returns a label of the text format. The value may be any string.
func Label(name, value string) string {
	return name + `="` + labelEscapes.Replace(value) + `"`
}

// labelEscapes has all the escapes of the format.
var labelEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
