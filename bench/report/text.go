package report

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"loadbalancer/bench/load"
)

// Text writes the report of a run for people.
func Text(w io.Writer, r *load.Result) error {
	s := Summarize(r)
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s over %s\n\n", s.Method, s.URL, connections(s))
	writeTotals(&b, s)
	if s.LatencyMS != nil {
		b.WriteByte('\n')
		writeLatencies(&b, s)
	}
	if s.Errors > 0 {
		b.WriteByte('\n')
		writeFailures(&b, s)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

func connections(s Summary) string {
	text := Count(int64(s.Connections)) + " connections"
	if s.Connections == 1 {
		text = "1 connection"
	}
	if !s.KeepAlive {
		text += ", a new one for each request"
	}
	if s.TargetRate > 0 {
		text += fmt.Sprintf(", on a schedule of %s requests/s", number(s.TargetRate))
	}
	return text
}

func writeTotals(b *strings.Builder, s Summary) {
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	elapsed := time.Duration(s.ElapsedSeconds * float64(time.Second))
	fmt.Fprintf(t, "  requests/s\t%s\t%s responses in %s\n", number(s.RequestsPerSecond), Count(s.Responses), seconds(elapsed))
	fmt.Fprintf(t, "  received\t%s/s\t%s\n", perSecond(s.BytesReceived, elapsed), byteCount(s.BytesReceived))
	fmt.Fprintf(t, "  sent\t%s/s\t%s\n", perSecond(s.BytesSent, elapsed), byteCount(s.BytesSent))
	if c := s.ConnectMS; c != nil {
		fmt.Fprintf(t, "  connect\t%s\tp50, at most %s\n", milliseconds(c.P50), milliseconds(c.Max))
	}
	if s.Unfinished > 0 {
		fmt.Fprintf(t, "  unfinished\t%s\tcut off by the end of the run\n", Count(s.Unfinished))
	}
	if s.Unsent > 0 {
		fmt.Fprintf(t, "  unsent\t%s\tdue by the schedule, but every connection was busy to the end\n", Count(s.Unsent))
	}
	_ = t.Flush() // a strings.Builder does not fail
}

func writeLatencies(b *strings.Builder, s Summary) {
	names, width := make([]string, len(s.Statuses)), len("status")
	for i, status := range s.Statuses {
		names[i] = strings.TrimSpace(fmt.Sprintf("%d %s", status.Code, http.StatusText(status.Code)))
		width = max(width, len(names[i]))
	}
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(name string, cells ...string) { // numbers to the right, names to the left
		fmt.Fprintf(t, "%-*s\t%s\t\n", width, name, strings.Join(cells, "\t"))
	}
	row("status", "count", "share", "p50", "p75", "p90", "p99", "p99.9", "max")
	for i, status := range s.Statuses {
		row(names[i], latencyCells(status.Count, status.Share, status.LatencyMS)...)
	}
	if len(s.Statuses) > 1 {
		row("all", latencyCells(s.Responses, share(s.Responses, s.Responses+s.Errors), *s.LatencyMS)...)
	}
	_ = t.Flush()
}

func latencyCells(count int64, share float64, l Latency) []string {
	cells := []string{Count(count), percent(share)}
	for _, ms := range []float64{l.P50, l.P75, l.P90, l.P99, l.P999, l.Max} {
		cells = append(cells, milliseconds(ms))
	}
	return cells
}

// wording describes a cause for people.
func wording(c load.Cause) string {
	switch c {
	case load.EOF:
		return "closed without an answer"
	case load.StaleConnection:
		return "kept connection was closed"
	case load.Truncated:
		return "answer was cut short"
	case load.BadResponse:
		return "answer is not HTTP"
	case load.Reset:
		return "connection was reset"
	}
	return strings.ReplaceAll(string(c), "_", " ")
}

func writeFailures(b *strings.Builder, s Summary) {
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "  error\tcount\tshare\tthe first of them")
	for _, f := range s.ErrorsByCause {
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\n", wording(f.Cause), Count(f.Count), percent(f.Share), oneLine(f.Example))
	}
	_ = t.Flush()
}

// printable replaces with a space what a terminal or a browser would obey in place of showing it:
// control characters, and those that turn the direction of text.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}

// oneLine keeps a server's bytes, which an error may quote, from breaking the table.
func oneLine(s string) string {
	s = printable(s)
	if runes := []rune(s); len(runes) > 100 {
		return string(runes[:100]) + "…"
	}
	return s
}

// ProgressLine returns the state of a run in one line. before is the previous state.
func ProgressLine(p, before load.Progress) string {
	var b strings.Builder
	perSecond := 0.0
	if d := p.Elapsed - before.Elapsed; d > 0 {
		perSecond = float64(p.Responses-before.Responses) / d.Seconds()
	}
	fmt.Fprintf(&b, "%6.1fs  %s responses  %s/s ", p.Elapsed.Seconds(), Count(p.Responses), number(perSecond))
	for _, code := range sortedKeys(p.Statuses) {
		fmt.Fprintf(&b, "  %d: %s", code, Count(p.Statuses[code]))
	}
	if p.Failures > 0 {
		fmt.Fprintf(&b, "  errors: %s", Count(p.Failures))
	}
	return b.String()
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
