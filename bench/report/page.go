package report

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"loadbalancer/bench/load"
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

// page is what page.html shows. Its strings are text: the template escapes them.
type page struct {
	Style     template.CSS
	StyleHash string // by which the page's Content-Security-Policy knows Style
	Title     string
	URL       string
	Method    string
	Over      string // connections and schedule
	Command   string
	Started   time.Time
	Tables    []table
	Charts    []chart
}

// table has names in its first column and figures in the others, but for the last Words columns.
type table struct {
	Name  string
	Head  []string
	Rows  [][]string
	Words int
}

// Page writes the run as one HTML page that needs nothing else: its charts are SVG with their
// figures as tables, and it has no script. What comes from outside is text in it, never markup.
// command is shown as it is.
func Page(w io.Writer, command string, r *load.Result) error {
	s := Summarize(r)
	hash := sha256.Sum256([]byte(pageCSS))
	p := page{
		Style: template.CSS(pageCSS), StyleHash: "sha256-" + base64.StdEncoding.EncodeToString(hash[:]),
		Title: headline(r), URL: printable(s.URL), Method: s.Method, Over: connections(s),
		Command: printable(command), Started: s.StartedAt,
		Tables: []table{totalsTable(s)},
		Charts: charts(s, r.Latency),
	}
	if len(s.Statuses) > 0 {
		p.Tables = append(p.Tables, statusTable(s))
	}
	if s.Errors > 0 {
		p.Tables = append(p.Tables, causeTable(s))
	}
	if err := pageTemplate.Execute(w, p); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}

// IsWords reports whether column i holds words, which are aligned to the left.
func (t table) IsWords(i int) bool { return i == 0 || i >= len(t.Head)-t.Words }

func totalsTable(s Summary) table {
	elapsed := time.Duration(s.ElapsedSeconds * float64(time.Second))
	t := table{Name: "The run", Head: []string{"measure", "value"}, Rows: [][]string{
		{"requests/s", number(s.RequestsPerSecond)},
		{"responses", Count(s.Responses)},
		{"errors", Count(s.Errors)},
		{"elapsed", seconds(elapsed)},
		{"received", byteCount(s.BytesReceived)},
		{"received/s", perSecond(s.BytesReceived, elapsed)},
		{"sent", byteCount(s.BytesSent)},
		{"sent/s", perSecond(s.BytesSent, elapsed)},
	}}
	if c := s.ConnectMS; c != nil {
		t.Rows = append(t.Rows, []string{"connect, p50", milliseconds(c.P50)}, []string{"connect, max", milliseconds(c.Max)})
	}
	if s.Unfinished > 0 {
		t.Rows = append(t.Rows, []string{"unfinished: cut off by the end of the run", Count(s.Unfinished)})
	}
	if s.Unsent > 0 {
		t.Rows = append(t.Rows, []string{"unsent: due, but every connection was busy to the end", Count(s.Unsent)})
	}
	return t
}

func statusTable(s Summary) table {
	t := table{Name: "Latency by status, in ms", Head: []string{"status", "count", "share", "p50", "p75", "p90", "p99", "p99.9", "max"}}
	row := func(name string, count int64, share float64, l Latency) {
		cells := []string{name, Count(count), percent(share)}
		for _, ms := range []float64{l.P50, l.P75, l.P90, l.P99, l.P999, l.Max} {
			cells = append(cells, fixed(ms, 3))
		}
		t.Rows = append(t.Rows, cells)
	}
	for _, status := range s.Statuses {
		name := strings.TrimSpace(strconv.Itoa(status.Code) + " " + http.StatusText(status.Code))
		row(name, status.Count, status.Share, status.LatencyMS)
	}
	if len(s.Statuses) > 1 {
		row("all", s.Responses, share(s.Responses, s.Responses+s.Errors), *s.LatencyMS)
	}
	return t
}

func causeTable(s Summary) table {
	t := table{Name: "Errors by cause", Head: []string{"error", "count", "share", "the first of them"}, Words: 1}
	for _, f := range s.ErrorsByCause {
		t.Rows = append(t.Rows, []string{wording(f.Cause), Count(f.Count), percent(f.Share), oneLine(f.Example)})
	}
	return t
}
