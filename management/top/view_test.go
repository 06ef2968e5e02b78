package top

import (
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
)

var update = flag.Bool("update", false, "write the golden files")

// status is what a load balancer tells: a backend is up, one ejected, one drained, and in another
// pool none is left.
const status = `{
"time": "2026-11-01T12:00:05Z",
"balancer": {"version": "v1.9.0", "started": "2026-11-01T09:00:00Z", "ready": true, "last_reload": null, "warnings": []},
"traffic": {"in_flight": 34, "connections": 1200, "tunnels": 2},
"history": {
  "time": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
  "requests": [0, 100, 400, 800, 1200, 1100, 900, 1234, 1234, 1234], "rejected": [0, 0, 0, 0, 0, 0, 0, 12, 12, 15],
  "statuses": {"1xx": [], "2xx": [0, 0, 0, 0, 0, 0, 0, 1200, 1210, 1220], "3xx": [], "4xx": [0, 0, 0, 0, 0, 0, 0, 12, 12, 15], "5xx": [0, 0, 0, 0, 0, 0, 0, 4, 4, 4]},
  "errors": {"limited": [0, 0, 0, 0, 0, 0, 0, 12, 12, 15], "too_many_in_flight": [0, 0, 0, 0, 0, 0, 0, 1, 1, 1], "connect_failed": [0, 0, 0, 0, 0, 0, 0, 1, 1, 1], "response_timeout": [0, 0, 0, 0, 0, 0, 0, 3, 3, 3]},
  "p50_ms": [null, 1, 1, 1, 1, 1, 1, 1, 1.234, null], "p90_ms": [null, 1, 1, 1, 1, 1, 1, 1, 3.4, null], "p99_ms": [null, 1, 1, 1, 1, 1, 1, 1, 12.3, null]
},
"pools": [
  {"pool": "main", "takes_requests": true, "panic": false, "waiting": 0, "backends": [
    {"pool": "main", "backend": "http://10.0.0.1:8100", "address": "10.0.0.1:8100", "state": "up", "takes_requests": true, "alone": true, "weight": 1, "effective_weight": 1,
     "in_flight": 34, "requests": 1234567, "errors": 3, "time_to_header_ms": {"p50": 1.1, "p99": 11}, "share": 0.6704, "due_share": 1, "recent": {"requests": [0, 12300], "errors": [0, 2]}},
    {"pool": "main", "backend": "http://10.0.0.2:8100", "address": "10.0.0.2:8100", "state": "ejected", "since": "2026-11-01T12:00:01Z", "weight": 1, "effective_weight": 0,
     "why": "ejected for 10 s: 3 failures in a row, the last: response_timeout", "last_error": "response_timeout", "last_error_at": "2026-11-01T12:00:01Z",
     "in_flight": 0, "requests": 2600, "errors": 3, "share": 0.3296, "due_share": 0, "recent": {"requests": [0, 40], "errors": [0, 3]}},
    {"pool": "main", "backend": "http://10.0.0.3:8100", "address": "10.0.0.3:8100", "state": "draining", "since": "2026-11-01T11:30:00Z", "weight": 1, "effective_weight": 0,
     "why": "drained by an operator", "in_flight": 2, "requests": 12, "errors": 0, "due_share": 0}
  ]},
  {"pool": "slow", "takes_requests": false, "panic": false, "waiting": 4, "backends": [
    {"pool": "slow", "backend": "http://a-name-that-is-much-too-long-for-it.example:8100", "address": "a-name-that-is-much-too-long-for-it.example:8100", "state": "down,ejected", "since": "2026-10-25T12:00:00Z", "weight": 1,
     "why": "health check of http://a-name-that-is-much-too-long-for-it.example:8100: dial tcp: connect: connection refused", "in_flight": 0, "requests": 0, "errors": 0, "due_share": 0}
  ]}
],
"limited": [
  {"client": "203.0.113.9", "registered": false, "shadow": false, "rejections": 1218, "capacity": 100, "rate_per_second": 50},
  {"client": "importer", "registered": true, "shadow": true, "rejections": 17, "capacity": 1000000, "rate_per_second": 2500.5}
]}`

// heard is when the tests' documents come.
var heard = time.Date(2026, 11, 1, 12, 0, 5, 0, time.UTC)

// told returns a model that has got a document.
func toldModel(t *testing.T, text string) model {
	t.Helper()
	d := new(document)
	if err := json.Unmarshal([]byte(text), d); err != nil {
		t.Fatal(err)
	}
	m := model{screen: &screen{shown: "http://127.0.0.1:8081"}, rates: &rates{}, ctx: t.Context(), width: 80, height: 24}
	m.hear(d, heard)
	return m
}

// The screens at 80 × 24, and the smallest, are as the files in testdata have them. No line is
// wider than the terminal, and there is one for each of its lines.
func TestView(t *testing.T) {
	for _, tt := range []struct {
		name          string
		width, height int
		change        func(*screen)
	}{
		{"first", 80, 24, func(*screen) {}},
		{"smallest", minWidth, minHeight, func(*screen) {}},
		{"narrow", 60, 20, func(*screen) {}},
		{"wide", 132, 43, func(*screen) {}},
		{"why", 80, 24, func(s *screen) {
			s.lists[backends].chosen = place{"slow", "a-name-that-is-much-too-long-for-it.example:8100"}
		}},
		{"clients", 80, 24, func(s *screen) { s.focus = clients }},
		{"stale", 80, 24, func(s *screen) {
			s.news.now, s.news.trouble = heard.Add(9*time.Second), "nothing listens at http://127.0.0.1:8081"
		}},
		{"refused", 80, 24, func(s *screen) {
			s.news.now, s.news.trouble, s.news.pause = heard.Add(9*time.Second), "LB_TOKEN is none of the tokens configured at http://127.0.0.1:8081", refusedPause
		}},
		{"question", 80, 24, func(s *screen) {
			s.entry.question = &question{place{"main", "10.0.0.1:8100"}, "Without it, requests of pool main get 503."}
		}},
		{"low", 80, 12, func(s *screen) { s.focus = clients }},
		{"nothing", 80, 24, func(s *screen) { s.lists[backends].filter = "nothing"; s.chooseVisible() }},
		{"filter", 80, 24, func(s *screen) { s.entry.isTyping, s.lists[backends].filter = true, "10.0.0.3"; s.chooseVisible() }},
		{"page", 80, 24, func(s *screen) { s.news.doc.Pools = s.news.doc.Pools[:1] }},
		{"help", 80, 24, func(s *screen) { s.entry.help = true }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := toldModel(t, status)
			tt.change(m.screen)
			lines := strings.Split(ansi.Strip(m.screen.view(tt.width, tt.height)), "\n")
			for i, line := range lines {
				if ansi.StringWidth(line) > tt.width {
					t.Errorf("line %d has %d columns: %q", i+1, ansi.StringWidth(line), line)
				}
				lines[i] = strings.TrimRight(line, " ")
			}
			if len(lines) != tt.height {
				t.Errorf("%d lines, want %d", len(lines), tt.height)
			}
			requireGolden(t, "testdata/"+tt.name+".txt", strings.Join(lines, "\n")+"\n")
		})
	}
}

func requireGolden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; -update writes it. Got:\n%s", path, got)
	}
}

// The page of the commands shows the screen as it is.
func TestPageShowsScreen(t *testing.T) {
	screen, err := os.ReadFile("testdata/page.txt")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), "```\n"+string(screen)+"```\n") {
		t.Errorf("docs/commands.md lacks\n%s", screen)
	}
}

// No size makes the view panic or too large.
func TestViewAtAnySize(t *testing.T) {
	m := toldModel(t, status)
	empty := toldModel(t, `{"time": "2026-11-01T12:00:05Z", "pools": [], "limited": []}`)
	for width := range 140 {
		for height := range 50 {
			for _, s := range []*screen{m.screen, empty.screen} {
				lines := strings.Split(s.view(width, height), "\n")
				if len(lines) > max(1, height) {
					t.Fatalf("%d × %d: %d lines", width, height, len(lines))
				}
				for _, line := range lines {
					if ansi.StringWidth(line) > width {
						t.Fatalf("%d × %d: %q", width, height, line)
					}
				}
			}
		}
	}
}

// The second line says what is wrong.
func TestStateLine(t *testing.T) {
	for _, tt := range []struct{ balancer, want string }{
		{`{"ready": true}`, "Ready"},
		{`{"ready": false, "not_ready": "pool main has no backend"}`, "Not ready: pool main has no backend"},
		{`{"ready": true, "last_reload": {"ok": false, "at": "2026-11-01T11:59:05Z"}}`, "Ready, but the reload 60 s ago failed"},
		{`{"ready": true, "last_reload": {"ok": true, "at": "2026-11-01T11:59:05Z"}, "warnings": ["a", "b"]}`, "Ready, but a; b"},
	} {
		m := toldModel(t, `{"time": "2026-11-01T12:00:05Z", "balancer": `+tt.balancer+`}`)
		if got := strings.TrimRight(ansi.Strip(m.screen.state(80)[0]), " "); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.balancer, got, tt.want)
		}
	}
}

// Names and errors from outside stay text on their line.
func TestViewOfHostileText(t *testing.T) {
	const hostile = "\\u001b[2J\\u001b]0;x\\u0007\\nup\\r\\u202e\\u0085"
	text := strings.NewReplacer("importer", hostile, "response_timeout", hostile, "10.0.0.1:8100", hostile, "v1.9.0", hostile, "main", hostile).Replace(status)
	m := toldModel(t, text)
	m.screen.news.trouble, m.screen.lists[backends].filter = "", "" // what the client says of errors is clean already
	shown := ansi.Strip(m.screen.view(200, 40))
	if n := strings.Count(shown, "\n"); n != 39 {
		t.Errorf("%d line breaks, want 39", n)
	}
	if strings.ContainsAny(shown, "\x1b\x07\r\u202e\u0085") || strings.Contains(m.screen.view(200, 40), "\x1b[2J") {
		t.Errorf("%q", shown)
	}
}
