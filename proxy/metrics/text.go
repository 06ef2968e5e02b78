// Package metrics counts without locks, and writes the Prometheus text format.
//
// Counting allocates nothing, and a scrape never blocks a request.
//
// The package has counters by status code, histograms of durations, and the metrics of the Go
// runtime. It knows nothing of what is counted: callers keep other values in atomics and write them
// with Family.
package metrics

import (
	"fmt"
	"io"
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

// Label returns a label of the text format. The value may be any string.
func Label(name, value string) string {
	return name + `="` + labelEscapes.Replace(value) + `"`
}

// labelEscapes has all the escapes of the format.
var labelEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
