package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const limitsDoc = "docs/limits.md"

// block is a fenced block of a page.
type block struct {
	language string
	lines    []string
}

func blocksOf(t *testing.T, page string) (blocks []block) {
	t.Helper()
	inside := false
	for line := range strings.Lines(readFile(t, page)) {
		line = strings.TrimSuffix(line, "\n")
		fence, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && !inside:
			blocks, inside = append(blocks, block{language: fence}), true
		case isFence:
			inside = false
		case inside:
			last := &blocks[len(blocks)-1]
			last.lines = append(last.lines, line)
		}
	}
	return blocks
}

// The page's commands do what it says, one after the other and from its first to its last: what it
// shows of an answer is compared with the one that comes.
func TestLimitsPage(t *testing.T) {
	requirePage(t, limitsDoc, 15, 9)
}

// requirePage runs the commands of a page, of which there are as many at least, as are answers.
func requirePage(t *testing.T, page string, commands, answers int) {
	in := startInstance(t, testConfig(t, freeAddresses(t, 1), "limiter:\n  api_key_header: X-API-Key\n"), "--demo")
	in.files, in.tags = map[string]string{}, map[string]string{}
	var last answer
	ran, shown := 0, 0
	for _, b := range blocksOf(t, page) {
		text := strings.Join(b.lines, "\n")
		switch b.language {
		case "sh":
			for _, line := range b.lines {
				line, _, _ = strings.Cut(line, " #")
				switch {
				case strings.HasPrefix(line, "curl "):
					last = in.curl(t, line)
					ran++
				case strings.HasPrefix(line, "go run ./bench --"):
					call(t, "GET", in.proxy+"/", "") // in place of the load
					fallthrough
				case strings.HasPrefix(line, "go run ./bench "), strings.HasPrefix(line, "go run . "):
					requireCommand(t, page, strings.Fields(line))
				}
			}
		case "csv":
			in.files["customers.csv"] = text + "\n"
		case "http":
			requireHTTP(t, last, text)
			if tag := tagLine.FindStringSubmatch(text); tag != nil {
				in.tags[tag[1]] = last.header.Get("Etag")
			}
			shown++
		case "json":
			requireJSON(t, last.body, text)
			shown++
		}
	}
	if ran < commands || shown < answers {
		t.Errorf("%s has lost commands or answers: %d and %d are left", page, ran, shown)
	}
}

var word = regexp.MustCompile(`'([^']*)'|(\S+)`)

// curl does what a curl line of a page says, and checks the status of calls that are not asked to
// show it. With --limit-rate the answer stays under way until the test ends.
func (in *instance) curl(t *testing.T, line string) answer {
	t.Helper()
	method, url, body, file, slow, shown, fields := "GET", "", "", "", false, false, []string(nil)
	words := word.FindAllStringSubmatch(line, -1)
	for i := 1; i < len(words); i++ {
		value := func() string { i++; return words[i][1] + words[i][2] }
		switch flag := words[i][1] + words[i][2]; flag {
		case "-X":
			method = value()
		case "-d":
			body = value()
		case "--data-binary":
			body = in.files[strings.TrimPrefix(value(), "@")]
		case "-H":
			fields = append(fields, in.withTag(value()))
		case "-o":
			file = value()
		case "--limit-rate":
			slow = value() != ""
		case "-i":
			shown = true
		default:
			url = flag
		}
	}
	url = strings.Replace(url, "http://localhost:8080", in.proxy, 1)
	url = strings.Replace(url, "http://localhost:8081", in.management, 1)
	if slow {
		in.readSlowly(t, url, fields)
		return answer{}
	}
	a := call(t, method, url, body, fields...)
	if isAPI := strings.Contains(url, "/v1/api/"); isAPI && !shown && a.status/100 != 2 {
		t.Fatalf("%s: got %d %s", line, a.status, a.body)
	}
	if file != "" {
		in.files[file] = a.body
	}
	return a
}

// tagLine is the line of an answer with its entity tag, which is another one each time.
var tagLine = regexp.MustCompile(`(?m)^Etag: (.*)$`)

// withTag returns a header line with the entity tag of the instance in place of the one on the page.
func (in *instance) withTag(line string) string {
	name, value, _ := strings.Cut(line, ": ")
	if tag, shown := in.tags[value]; shown {
		return name + ": " + tag
	}
	return line
}

// readSlowly reads nothing but the header of an answer.
func (in *instance) readSlowly(t *testing.T, url string, fields []string) {
	t.Helper()
	r, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		r.Header.Set(name, value)
	}
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	if res.StatusCode != 200 {
		t.Fatalf("GET %s: got %d", url, res.StatusCode)
	}
}

// passing are the figures in header fields that depend on when a request came.
var passing = regexp.MustCompile(`;[rt]=\d+`)

// notShown are the fields that no page shows: Connection, since the test keeps no connections, and
// those of every answer of the API, which docs/operations.md tells of.
var notShown = []string{
	"Connection", "Cache-Control", "Content-Security-Policy", "Cross-Origin-Resource-Policy", "Referrer-Policy", "X-Content-Type-Options", "X-Frame-Options",
}

// requireHTTP checks the status, the names of the fields, what they say of limits, and JSON bodies.
func requireHTTP(t *testing.T, got answer, shown string) {
	t.Helper()
	head, body, _ := strings.Cut(shown, "\n\n")
	lines := strings.Split(head, "\n")
	if status := fmt.Sprintf("HTTP/1.1 %d %s", got.status, http.StatusText(got.status)); lines[0] != status {
		t.Errorf("got %s, shown is %s", status, lines[0])
	}
	var names []string
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		name = http.CanonicalHeaderKey(name)
		names = append(names, name)
		had := got.header.Get(name)
		if strings.HasPrefix(name, "Ratelimit") && passing.ReplaceAllString(had, "") != passing.ReplaceAllString(value, "") {
			t.Errorf("%s is %q, shown is %q", name, had, value)
		}
	}
	for name := range got.header {
		if !slices.Contains(names, name) && !slices.Contains(notShown, name) {
			t.Errorf("the answer has %s: %s, which is not shown", name, got.header.Get(name))
		}
	}
	for _, name := range names {
		if got.header.Get(name) == "" {
			t.Errorf("the answer has no %s", name)
		}
	}
	if strings.HasPrefix(body, "{") {
		requireJSON(t, got.body, body)
	}
}

// measured are the fields in JSON whose values depend on when calls are made, after what load, or on chance.
var measured = []string{"id", "at", "created_at", "updated_at", "last_seen", "tokens", "allowed", "limited", "shadow_limited", "trial_limited"}

// requireJSON checks that the answer is what is shown, but for values that are measured.
func requireJSON(t *testing.T, got, shown string) {
	t.Helper()
	var answers [2]any
	for i, text := range []string{got, shown} {
		if err := json.Unmarshal([]byte(text), &answers[i]); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		answers[i] = blur(answers[i])
	}
	if !reflect.DeepEqual(answers[0], answers[1]) {
		t.Errorf("got %s, shown is %s", got, shown)
	}
}

// blur leaves of each measured value its kind.
func blur(value any) any {
	switch v := value.(type) {
	case []any:
		for i := range v {
			v[i] = blur(v[i])
		}
	case map[string]any:
		for name := range v {
			if v[name] = blur(v[name]); slices.Contains(measured, name) {
				v[name] = fmt.Sprintf("%T", v[name])
			}
		}
	}
	return value
}
