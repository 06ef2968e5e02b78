package report

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/net/html"

	"loadbalancer/bench/load"
)

// run returns a run of three seconds with 100 times 200 and 10 times 429 in each, and 5 errors in
// the second.
func run(url, example string) *load.Result {
	r := &load.Result{
		Options: load.Options{URL: url, Method: "GET", Connections: 2, KeepAlive: true},
		Started: time.Date(2026, 11, 28, 3, 4, 5, 0, time.UTC), Elapsed: 3 * time.Second, Responses: 330, Failed: 5,
		Latency: histogram(100, 1000, 10, 2000), Connect: histogram(2, 300),
		Statuses: []load.StatusCount{
			{Code: 200, Count: 300, Latency: histogram(300, 1000)},
			{Code: 429, Count: 30, Latency: histogram(30, 2000)},
		},
		Failures: []load.FailureCount{{Cause: load.BadResponse, Count: 5, Example: example}},
	}
	for i := range 3 {
		r.Intervals = append(r.Intervals, &load.Interval{
			Start: time.Duration(i) * time.Second, Length: time.Second,
			Statuses: map[int]int64{200: 100, 429: 10}, Latency: histogram(100, 1000, 10, 2000),
		})
	}
	r.Intervals[1].Failures = 5
	return r
}

// parsePage returns the elements of the page in their order, and those of each name.
func parsePage(t *testing.T, command string, r *load.Result) (all []*html.Node, named func(name string) []*html.Node) {
	t.Helper()
	var b strings.Builder
	if err := Page(&b, command, r); err != nil {
		t.Fatal(err)
	}
	root, err := html.Parse(strings.NewReader(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	for n := range root.Descendants() {
		if n.Type == html.ElementNode {
			all = append(all, n)
		}
	}
	return all, func(name string) (found []*html.Node) {
		for _, n := range all {
			if n.Data == name {
				found = append(found, n)
			}
		}
		return found
	}
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func content(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return b.String()
}

// rows returns the cells of the table of that name.
func rows(t *testing.T, tables []*html.Node, name string) (rows [][]string) {
	t.Helper()
	for _, table := range tables {
		if content(slices.Collect(table.Descendants())[1]) != name { // after the space, the caption
			continue
		}
		for n := range table.Descendants() {
			switch n.Data {
			case "tr":
				rows = append(rows, nil)
			case "th", "td":
				rows[len(rows)-1] = append(rows[len(rows)-1], content(n))
			}
		}
		return rows
	}
	t.Fatalf("there is no table %q", name)
	return nil
}

func TestPageFigures(t *testing.T) {
	_, named := parsePage(t, "bench", run("http://h/", "no HTTP"))
	tables := named("table")
	for name, want := range map[string][]string{
		"Requests per second by status class": {"from s 2xx 4xx", "0.000 100.0 10.0", "1.000 100.0 10.0", "2.000 100.0 10.0"},
		"Errors per second":                   {"from s errors", "0.000 0.0", "1.000 5.0", "2.000 0.0"},
		"Latency over time, in ms":            {"from s p50 p90 p99 max", "0.000 1.000 1.000 2.000 2.000", "1.000 1.000 1.000 2.000 2.000", "2.000 1.000 1.000 2.000 2.000"},
		"Latency by percentile, in ms":        {"percentile latency", "0 % 1.000", "50 % 1.000", "75 % 1.000", "90 % 1.000", "99 % 2.000", "100 % 2.000"},
		"Latency by status, in ms": {"status count share p50 p75 p90 p99 p99.9 max", "200 OK 300 89.6% 1.000 1.000 1.000 1.000 1.000 1.000",
			"429 Too Many Requests 30 9.0% 2.000 2.000 2.000 2.000 2.000 2.000", "all 330 98.5% 1.000 1.000 1.000 2.000 2.000 2.000"},
		"Errors by cause": {"error count share the first of them", "answer is not HTTP 5 1.5% no HTTP"},
		"The run": {"measure value", "requests/s 110", "responses 330", "errors 5", "elapsed 3s", "received 0 B", "received/s 0 B",
			"sent 0 B", "sent/s 0 B", "connect, p50 300µs", "connect, max 300µs"},
	} {
		var got []string
		for _, cells := range rows(t, tables, name) {
			got = append(got, strings.Join(cells, " "))
		}
		if !slices.Equal(got, want) {
			t.Errorf("table %q:\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// TestPageNamesItsCharts checks that a chart has a name and a description for screen readers, that
// a table with its figures follows it, and that figures are in cells of their class.
func TestPageNamesItsCharts(t *testing.T) {
	all, named := parsePage(t, "bench", run("http://h/", "no HTTP"))
	ids := map[string]string{}
	for _, n := range all {
		if id := attribute(n, "id"); id != "" {
			if _, twice := ids[id]; twice {
				t.Errorf("id %q stands twice", id)
			}
			ids[id] = content(n)
		}
	}
	var charts []string
	for _, n := range named("svg") {
		if attribute(n, "role") != "img" {
			continue
		}
		labels := strings.Fields(attribute(n, "aria-labelledby"))
		if len(labels) != 2 || ids[labels[0]] == "" || ids[labels[1]] == "" {
			t.Errorf("a chart is labelled by %q, of which the page has not both", labels)
			continue
		}
		charts = append(charts, ids[labels[0]])
		section := n.Parent.Parent
		if !slices.ContainsFunc(slices.Collect(section.Descendants()), func(d *html.Node) bool { return d.Data == "table" }) {
			t.Errorf("chart %q has no table", ids[labels[0]])
		}
	}
	if want := []string{"Requests per second by status class", "Latency over time", "Errors per second", "Latency by percentile"}; !slices.Equal(charts, want) {
		t.Errorf("the charts are %q, want %q", charts, want)
	}
	for _, n := range named("td") {
		if class := attribute(n, "class"); class != "figure" && class != "words" {
			t.Errorf("cell %q is of class %q", content(n), class)
		}
	}
}

// TestPageNeedsNothingElse checks that the page loads nothing, runs nothing and keeps to its own
// policy.
func TestPageNeedsNothingElse(t *testing.T) {
	all, named := parsePage(t, "bench", run("http://h/", "no HTTP"))
	for _, n := range all {
		switch n.Data {
		case "script", "link", "img", "iframe", "object", "a", "image", "use", "base", "form":
			t.Errorf("the page has <%s>", n.Data)
		}
		for _, a := range n.Attr {
			if a.Key == "style" || a.Key == "src" || a.Key == "href" || strings.HasPrefix(a.Key, "on") {
				t.Errorf("<%s> has %s=%q", n.Data, a.Key, a.Val)
			}
		}
	}
	style := named("style")
	if len(style) != 1 {
		t.Fatalf("the page has %d <style>, want 1", len(style))
	}
	hash := sha256.Sum256([]byte(content(style[0])))
	policy := attribute(named("meta")[1], "content")
	want := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "'; base-uri 'none'; form-action 'none'"
	if policy != want {
		t.Errorf("the policy is\n%s, want\n%s", policy, want)
	}
	for _, outside := range []string{"@import", "http:", "https:", "url(//", "@font-face"} {
		if strings.Contains(pageCSS, outside) {
			t.Errorf("the style has %q", outside)
		}
	}
}

// TestPageHostileText checks that what comes from outside adds no element, and is shown whole.
func TestPageHostileText(t *testing.T) {
	names := func(nodes []*html.Node) (names []string) {
		for _, n := range nodes {
			names = append(names, n.Data)
		}
		return names
	}
	plain, _ := parsePage(t, "bench", run("http://h/", "no HTTP"))
	for _, text := range []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `</title></style><b>`, `{{.Style}}`, `--><svg onload=alert(1)>`,
		`</table></section><h1>`, `&lt;b&gt;`, "'; style-src *",
	} {
		all, named := parsePage(t, "bench --body="+text, run("http://h/?q="+text, text))
		if got, want := names(all), names(plain); !slices.Equal(got, want) {
			t.Errorf("%q adds elements: %d, want %d", text, len(got), len(want))
			continue
		}
		shown := content(named("main")[0])
		for _, want := range []string{"bench --body=" + text, "http://h/?q=" + text} {
			if !strings.Contains(shown, want) {
				t.Errorf("the page does not show %q", want)
			}
		}
		if got := rows(t, named("table"), "Errors by cause")[1][3]; got != text {
			t.Errorf("the error is shown as %q, want %q", got, text)
		}
	}
	_, named := parsePage(t, "a\u202eb\x1bc\xff", run("http://h/\u202e", "a\u009b31m"))
	if shown := content(named("main")[0]); strings.ContainsAny(shown, "\u202e\u009b\x1b") || !strings.Contains(shown, "a b c") {
		t.Errorf("the page keeps characters that turn or control text:\n%q", shown)
	}
}

func TestPageOfRunsWithoutFigures(t *testing.T) {
	none := &load.Result{Options: load.Options{URL: "http://h/", Method: "GET", Connections: 1}, Latency: histogram(), Connect: histogram()}
	_, named := parsePage(t, "bench", none)
	if got := content(named("main")[0]); strings.Count(got, "No responses.") != 2 || strings.Count(got, "None.") != 2 {
		t.Errorf("an empty run is shown as\n%s", got)
	}
	_, named = parsePage(t, "bench", unanswered(t))
	if got := content(named("main")[0]); strings.Count(got, "No responses.") != 2 || !strings.Contains(got, "Errors by cause") {
		t.Errorf("a run without answers is shown as\n%s", got)
	}
	gap := run("http://h/", "")
	gap.Intervals[1].Latency = histogram()
	_, named = parsePage(t, "bench", gap)
	if got := rows(t, named("table"), "Latency over time, in ms")[2]; !slices.Equal(got, []string{"1.000", "–", "–", "–", "–"}) {
		t.Errorf("a second without responses is shown as %q", got)
	}
}

func TestPageFails(t *testing.T) {
	broken := errors.New("broken")
	if err := Page(failing{broken}, "bench", run("http://h/", "")); !errors.Is(err, broken) {
		t.Errorf("a writer that fails: %v, want its error", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

var _ io.Writer = failing{}

func TestTicks(t *testing.T) {
	var got []string
	for _, tick := range (scale{1, 10_000, true}).marksAcross(percentileTicks) {
		got = append(got, fmt.Sprint(tick.At, " ", tick.Label, " ", tick.Minor))
	}
	want := []string{"100 99.99 % false", "75 99.9 % false", "50 99 % false", "25 90 % false", "15.1 75 % true", "7.5 50 % true", "0 0 % false"}
	if !slices.Equal(got, want) {
		t.Errorf("across: %q, want %q", got, want)
	}
	got = nil
	for _, tick := range (scale{1e-5, 1, true}).marksDown(latencyTicks) {
		got = append(got, fmt.Sprint(tick.At, " ", tick.Label, " ", tick.Minor))
	}
	if want := []string{"100 10 µs false", "80 100 µs false", "60 1 ms false", "40 10 ms false", "20 100 ms false", "0 1 s false"}; !slices.Equal(got, want) {
		t.Errorf("down: %q, want %q", got, want)
	}
}

func TestPaths(t *testing.T) {
	x, y := scale{high: 4}, scale{high: 10}
	steps := []step{{begin: 0, end: 1, value: 5}, {begin: 1, end: 2, value: 10}, {begin: 2, end: 3, none: true}, {begin: 3, end: 4, value: 0}}
	base := []step{{begin: 0, end: 1}, {begin: 1, end: 2, value: 2}}
	for _, tt := range []struct{ name, got, want string }{
		{"line", linePath(x, y, steps), "M0 500H250V0H500M750 1000H1000"},
		{"no line", linePath(x, y, nil), ""},
		{"area", areaPath(x, y, steps[:2], base), "M0 500H250V0H500L500 800H250L250 1000H0Z"},
		{"no area", areaPath(x, y, nil, nil), ""},
		{"logarithm", across(scale{1, 100, true}, 10), "500"},
		{"below the axis", down(y, -1), "1000"},
		{"above the axis", down(y, 11), "0"},
		{"fixed", fixed(12345.6789, 3), "12,345.679"},
		{"rounded up", fixed(0.9999, 3), "1.000"},
		{"class", statusClass("204") + statusClass("999") + statusClass("99"), "2xxotherother"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, tt.got, tt.want)
		}
	}
}

// histogram holds pairs of a count and a time in microseconds.
func histogram(pairs ...int64) *hdrhistogram.Histogram {
	h := hdrhistogram.New(1, 3_600_000_000, 3)
	for pair := range slices.Chunk(pairs, 2) {
		_ = h.RecordValues(pair[1], pair[0])
	}
	return h
}
