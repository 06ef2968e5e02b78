// Package metrics counts without locks, and writes the Prometheus text format. It knows counters by
// status code, durations, and what the Go runtime tells of itself; what else there is to count, its
// callers keep in atomics and write with Family.
package metrics

import (
	"fmt"
	"io"
	"strings"
)

// Family writes the lines that come before the samples of a metric: its help and its type, which is
// counter, gauge or histogram.
func Family(w io.Writer, name, kind, help string) {
	fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

// Single writes a metric that has one sample without labels.
func Single[N int | int64 | uint64](w io.Writer, name, kind, help string, value N) {
	Family(w, name, kind, help)
	fmt.Fprintf(w, "%s %d\n", name, value)
}

// Label returns a pair of the text format, in which the value may be any text.
func Label(name, value string) string {
	return name + `="` + labelEscapes.Replace(value) + `"`
}

// labelEscapes are the only ones that the format knows.
var labelEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
