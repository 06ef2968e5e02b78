package top

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
)

var named = map[string]rune{
	"up": tea.KeyUp, "down": tea.KeyDown, "end": tea.KeyEnd, "home": tea.KeyHome, "tab": tea.KeyTab,
	"enter": tea.KeyEnter, "esc": tea.KeyEscape, "backspace": tea.KeyBackspace,
}

// press presses keys, by their names or as they are typed, and returns what the last one does.
func press(m model, keys ...string) (last tea.Cmd) {
	for _, name := range keys {
		key := tea.Key{Code: []rune(name)[0], Text: name}
		if code, ok := named[name]; ok {
			key = tea.Key{Code: code}
		}
		_, last = m.Update(tea.KeyPressMsg(key))
	}
	return last
}

func (s *screen) addresses() (all []string) {
	for _, b := range s.backends() {
		all = append(all, b.Address[:8])
	}
	return all
}

// What is chosen, shown and asked after keys.
func TestKeys(t *testing.T) {
	const one, two, three, slow = "10.0.0.1", "10.0.0.2", "10.0.0.3", "a-name-t"
	for _, tt := range []struct {
		name, keys string
		chosen     string // its beginning
		shown      []string
		said       string
	}{
		{"nothing", "", "main 10.0.0.1", []string{one, two, three, slow}, ""},
		{"down and up", "down down up", "main 10.0.0.2", []string{one, two, three, slow}, ""},
		{"past the ends", "up end down", "slow a-name", []string{one, two, three, slow}, ""},
		{"by name", "s", "main 10.0.0.1", []string{one, two, three, slow}, ""},
		{"by state, the worst first", "s s", "main 10.0.0.1", []string{two, slow, three, one}, ""},
		{"by state, reversed", "s s S", "main 10.0.0.1", []string{one, three, two, slow}, ""},
		{"by requests", "s s s", "main 10.0.0.1", []string{one, two, three, slow}, ""},
		{"by errors", "s s s s", "main 10.0.0.1", []string{two, one, three, slow}, ""},
		{"by share, and once more round", "s s s s s s s", "main 10.0.0.1", []string{one, two, three, slow}, ""},
		{"filter", "/ S L O", "slow a-name", []string{slow}, ""},
		{"filter by cause", "/ f a i l u enter", "main 10.0.0.2", []string{two}, ""},
		{"filter, corrected", "/ z backspace backspace . 2", "main 10.0.0.2", []string{two}, ""},
		{"filter, dropped", "/ z esc", "main 10.0.0.1", []string{one, two, three, slow}, ""},
		{"filter, dropped later", "/ . 3 enter esc", "main 10.0.0.3", []string{one, two, three, slow}, ""},
		{"filter without a match, dropped", "/ z enter esc", "main 10.0.0.1", []string{one, two, three, slow}, ""},
		{"filter of the other list", "tab / 2 0 3 enter", "main 10.0.0.1", []string{one, two, three, slow}, ""},
		{"filter without a match", "/ z enter d", "", nil, "Choose a backend first"},
		{"a drain in the other list", "tab d", "main 10.0.0.1", []string{one, two, three, slow}, "Choose a backend first"},
		{"the last backend", "d n", "main 10.0.0.1", []string{one, two, three, slow}, "Nothing was done"},
		{"drained already", "down down d", "main 10.0.0.3", []string{one, two, three, slow}, "is drained already"},
		{"not drained", "r", "main 10.0.0.1", []string{one, two, three, slow}, "10.0.0.1:8100 is not drained"},
		{"help takes a key", "? d", "main 10.0.0.1", []string{one, two, three, slow}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := toldModel(t, status)
			if cmd := press(m, strings.Fields(tt.keys)...); cmd != nil {
				t.Error("something is done")
			}
			s := m.screen
			if got := strings.Trim(s.lists[backends].chosen.pool+" "+s.lists[backends].chosen.address, " "); !strings.HasPrefix(got, tt.chosen) || tt.chosen == "" && got != "" {
				t.Errorf("chosen is %q, want %q", got, tt.chosen)
			}
			if got := s.addresses(); !reflect.DeepEqual(got, tt.shown) {
				t.Errorf("shown are %q, want %q", got, tt.shown)
			}
			if !strings.Contains(s.entry.said, tt.said) || tt.said == "" && s.entry.said != "" {
				t.Errorf("said %q, want %q", s.entry.said, tt.said)
			}
		})
	}
}

// A drain asks where it may hurt.
func TestHurts(t *testing.T) {
	for _, tt := range []struct{ name, old, new, address, want string }{
		{"the last", "", "", "10.0.0.1:8100", "Without it, requests of pool main get 503."},
		{"one of two", `"alone": true`, `"alone": false`, "10.0.0.1:8100", ""},
		{"one that is out", "", "", "10.0.0.2:8100", ""},
	} {
		m := toldModel(t, strings.Replace(status, tt.old, tt.new, 1))
		for _, b := range m.screen.backends() {
			if b.Address != tt.address {
				continue
			}
			if got := m.screen.hurts(b); got != tt.want {
				t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
			}
			m.screen.news.trouble = "gone"
			if got := m.screen.hurts(b); got != "What is shown is old." {
				t.Errorf("%s, stale: %q", tt.name, got)
			}
		}
	}
}

// When what was chosen is gone, nothing else is chosen in its place, so that the next key does not
// drain another backend.
func TestChosenIsGone(t *testing.T) {
	m := toldModel(t, status)
	press(m, "down")
	d := new(document)
	if err := json.Unmarshal([]byte(strings.ReplaceAll(status, "10.0.0.2:8100", "10.0.0.9:8100")), d); err != nil {
		t.Fatal(err)
	}
	m.hear(d, heard.Add(time.Second))
	if cmd := press(m, "d"); cmd != nil || m.screen.chosen() != nil {
		t.Errorf("chosen is %v", m.screen.chosen())
	}
}

// What is shown is old once nothing has come for 3 s or the stream has broken, and no longer when
// it is back. A stream that the load balancer ends, as at a reload, is no trouble by itself.
func TestStale(t *testing.T) {
	m := toldModel(t, status)
	is := func(when string, want bool) {
		t.Helper()
		if got := m.screen.news.isStale(); got != want {
			t.Errorf("%s: stale is %t", when, got)
		}
	}
	is("at first", false)
	m.Update(second(heard.Add(3 * time.Second)))
	is("after 3 s", false)
	m.Update(second(heard.Add(4 * time.Second)))
	is("after 4 s", true)
	m.hear(m.screen.news.doc, heard.Add(5*time.Second))
	is("when something comes", false)
	m.Update(lost{})
	is("when the stream has ended", false)
	m.Update(lost{why: "nothing listens"})
	is("when it cannot be opened", true)
	m.hear(m.screen.news.doc, heard.Add(6*time.Second))
	is("when it is back", false)
}

// Samples that come twice count once, and the rates of a backend are of about 3 s.
func TestHistory(t *testing.T) {
	m := toldModel(t, status)
	if got := m.screen.news.doc.Pools[0].Backends[0].rate; got != (rate{1230, 0.2}) {
		t.Errorf("by the history the rate is %v", got)
	}
	for i := range int64(6) {
		d := *m.screen.news.doc
		d.Time = d.Time.Add(time.Second)
		d.History = history{Time: []float64{float64(10 + i)}, Requests: []int64{i}}
		d.Pools = []pool{{Pool: "main", Backends: []backend{d.Pools[0].Backends[0]}}}
		d.Pools[0].Backends[0].Requests += 100 * i // 0, 100, 200, …
		m.hear(&d, heard)
	}
	if got := m.screen.news.doc.Pools[0].Backends[0].rate; got != (rate{400, 0}) { // 300, 400 and 500
		t.Errorf("the rate is %v", got)
	}
	if n := len(m.rates.counts); n != 1 {
		t.Errorf("%d backends are counted, want the one that there is", n)
	}
	samples := m.screen.news.samples
	if n := len(samples); n != 15 || samples[n-1].requests != 5 {
		t.Errorf("%d samples: %v", n, samples)
	}
	var long history
	for i := range 2 * maxSamples {
		long.Time = append(long.Time, float64(100+i))
	}
	if n := len(withHistory(samples, &long)); n != maxSamples {
		t.Errorf("%d samples are kept", n)
	}
}

// A drain and a resume call the API, and the last line says what has become of them.
func TestActions(t *testing.T) {
	var called string
	answer, code := `{"state": "draining", "in_flight": 1, "warnings": ["no backend is left"]}`, 200
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		called = r.Method + " " + r.RequestURI
		w.WriteHeader(code)
		_, _ = w.Write([]byte(answer))
	}))
	defer server.Close()
	m := toldModel(t, status)
	m.client = mustClient(t, server.URL, "")
	do := func(cmd tea.Cmd, call, said string, failed bool) {
		t.Helper()
		if cmd == nil {
			t.Fatal("nothing is done")
		}
		m.Update(cmd())
		if e := m.screen.entry; called != call || !strings.Contains(e.said, said) || e.failed != failed {
			t.Errorf("called %s, said %q, %t", called, e.said, e.failed)
		}
	}
	do(press(m, "d", "y"), "POST /v1/api/backends/main/10.0.0.1:8100/drain", "10.0.0.1:8100 is drained: 1 request under way there; no backend is left", false)
	answer = `{"state": "up"}`
	do(press(m, "down", "down", "r"), "POST /v1/api/backends/main/10.0.0.3:8100/resume", "10.0.0.3:8100 is resumed: its state is up", false)
	answer, code = `{"detail": "the token has the role read"}`, 403
	do(press(m, "r"), "POST /v1/api/backends/main/10.0.0.3:8100/resume", "Cannot resume 10.0.0.3:8100: the token has the role read", true)
	answer, code = `<html>`, 200
	do(press(m, "r"), "POST /v1/api/backends/main/10.0.0.3:8100/resume", "Cannot resume 10.0.0.3:8100: "+server.URL+" tells what lb top cannot read: invalid character", true)
	answer, code = `<html>`, 502
	do(press(m, "r"), "POST /v1/api/backends/main/10.0.0.3:8100/resume", " it answered 502 Bad Gateway", true)
}

// What became of an action is told on two lines where it is long.
func TestSaidAtLength(t *testing.T) {
	m := toldModel(t, status)
	m.Update(done{"Cannot drain 10.0.0.1:8100: " + strings.Repeat("the token has the role read ", 9), true})
	lines := strings.Split(ansi.Strip(m.screen.view(80, 24)), "\n")
	if len(lines) != 24 || !strings.HasPrefix(lines[22], "Cannot drain 10.0.0.1:8100: the token") || !strings.HasPrefix(lines[23], "read the token has") || !strings.HasSuffix(lines[23], "…") {
		t.Errorf("%d lines, the last %q", len(lines), lines[22:])
	}
}

// Keys do nothing while nothing is seen, but to quit.
func TestTooSmall(t *testing.T) {
	m := toldModel(t, status)
	m.height = minHeight - 1
	if cmd := press(m, "d", "y", "down", "s"); cmd != nil || m.screen.entry.question != nil || m.screen.lists[backends].order != 0 {
		t.Error("a key does something")
	}
	if press(m, "q") == nil {
		t.Error("q does not quit")
	}
}
