package report

import (
	"bytes"
	"encoding/json"
	"image/color"
	"image/png"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"loadbalancer/bench/load"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// mixed is a real run with 60 answers 200, 30 times 429, and 10 connections closed.
func mixed(t *testing.T) *load.Result {
	t.Helper()
	var n atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		switch i := n.Add(1) % 10; {
		case i == 0:
			panic(http.ErrAbortHandler) // the connection is closed
		case i < 4:
			w.WriteHeader(http.StatusTooManyRequests)
		default:
			_, _ = io.WriteString(w, "hello")
		}
	}))
	defer server.Close()
	result, err := load.Run(t.Context(), load.Options{
		URL: server.URL + "/", Method: "GET", Connections: 3, Requests: 100, Timeout: 5 * time.Second, KeepAlive: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// unanswered is a real run in which every request failed.
func unanswered(t *testing.T) *load.Result {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	defer func() { ln.Close(); <-done }()
	result, err := load.Run(t.Context(), load.Options{
		URL: "http://" + ln.Addr().String(), Method: "GET", Connections: 2, Requests: 10, Timeout: 5 * time.Second, KeepAlive: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func TestText(t *testing.T) {
	var b strings.Builder
	if err := Text(&b, mixed(t)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"GET http://127.0.0.1:", "over 3 connections", "requests/s", "90 responses in ",
		"p50     p75", "p99.9", "200 OK", "60.0%", "429 Too Many Requests", "30.0%", "all ", "90.0%", "the first of them", "EOF",
	} {
		if !strings.Contains(strings.Join(strings.Fields(b.String()), " "), strings.Join(strings.Fields(want), " ")) {
			t.Errorf("the report does not say %q:\n%s", want, b.String())
		}
	}

	b.Reset()
	if err := Text(&b, unanswered(t)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "the first of them") || strings.Contains(b.String(), "p99") {
		t.Errorf("the report of a run without answers:\n%s", b.String())
	}
}

func TestJSONSchema(t *testing.T) {
	var b bytes.Buffer
	if err := JSON(&b, mixed(t)); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	latency := "max mean min p50 p75 p90 p99 p99_9"
	first := func(list string) any { return got[list].([]any)[0] }
	tests := []struct {
		name   string
		object any
		want   string
	}{
		{"report", got, "bytes_received bytes_sent connect_ms connections elapsed_seconds errors errors_by_cause intervals " +
			"keepalive latency_ms method requests_per_second responses started_at statuses target_rate unfinished unsent url"},
		{"latency_ms", got["latency_ms"], latency},
		{"connect_ms", got["connect_ms"], latency},
		{"statuses", first("statuses"), "code count latency_ms share"},
		{"statuses.latency_ms", first("statuses").(map[string]any)["latency_ms"], latency},
		{"errors_by_cause", first("errors_by_cause"), "cause count example share"},
		{"intervals", first("intervals"), "errors latency_ms length_seconds start_seconds statuses"},
	}
	for _, tt := range tests {
		names := strings.Join(slices.Sorted(maps.Keys(tt.object.(map[string]any))), " ")
		if names != tt.want {
			t.Errorf("%s has the fields\n%s, want\n%s", tt.name, names, tt.want)
		}
	}
	if got["responses"] != 90.0 || got["errors"] != 10.0 {
		t.Errorf("responses %v, errors %v; want 90, 10", got["responses"], got["errors"])
	}
	if s := first("statuses").(map[string]any); s["code"] != 200.0 || s["count"] != 60.0 || s["share"] != 0.6 {
		t.Errorf("first status %v, want 60 times 200", s)
	}
}

func TestJSONWithoutAnswers(t *testing.T) {
	var b bytes.Buffer
	if err := JSON(&b, unanswered(t)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"latency_ms": null`, `"statuses": []`, `"errors": 10`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the report does not hold %s:\n%s", want, b.String())
		}
	}
}

func TestChart(t *testing.T) {
	for name, result := range map[string]*load.Result{"mixed": mixed(t), "unanswered": unanswered(t)} {
		var b bytes.Buffer
		if err := Chart(&b, "bench --url=http://127.0.0.1/", result); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		picture, err := png.Decode(&b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		size := picture.Bounds().Size()
		if size.X != 1500 || size.Y != 1680 {
			t.Errorf("%s: the picture is %v, want 1500 by 1680", name, size)
		}
		pixels := map[color.Color]int{}
		for y := 0; y < size.Y; y += 2 { // every second row is plenty
			for x := range size.X {
				pixels[picture.At(x, y)]++
			}
		}
		wanted := []color.Color{ink, errorColor} // errorColor: both runs have errors
		if name == "mixed" {
			wanted = append(wanted, statusColor(200, 0), statusColor(429, 0), lineColors[0])
		}
		for _, c := range wanted {
			if pixels[c] < 50 {
				t.Errorf("%s: %d pixels are of color %v, want 50 or more", name, pixels[c], c)
			}
		}
	}
}

func TestProgressLine(t *testing.T) {
	before := load.Progress{Elapsed: 2 * time.Second, Responses: 40_000}
	now := load.Progress{Elapsed: 3 * time.Second, Responses: 61_234, Failures: 2, Statuses: map[int]int64{429: 1234, 200: 60_000}}
	want := "   3.0s  61,234 responses  21,234/s   200: 60,000  429: 1,234  errors: 2"
	if got := ProgressLine(now, before); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestUnits(t *testing.T) {
	tests := []struct{ got, want string }{
		{Count(0), "0"}, {Count(999), "999"}, {Count(1000), "1,000"}, {Count(1234567), "1,234,567"}, {Count(-1000), "-1,000"}, {Count(-100), "-100"},
		{number(0.5), "0.5"}, {number(12.346), "12.35"}, {number(12345.6), "12,346"},
		{milliseconds(0.0421), "42µs"}, {milliseconds(1.234), "1.23ms"}, {milliseconds(12.34), "12.3ms"}, {milliseconds(123.4), "123ms"}, {milliseconds(1234), "1.23s"},
		{byteCount(500), "500 B"}, {byteCount(1536), "1.5 KiB"}, {byteCount(5 << 30), "5.0 GiB"},
		{percent(0), "0.0%"}, {percent(0.0001), "<0.1%"}, {percent(0.5), "50.0%"}, {percent(0.9999), ">99.9%"}, {percent(1), "100.0%"},
		{oneLine("a\r\nb\x1b[31m"), "a  b [31m"}, {latencyLabel(0.0002), "200 µs"}, {latencyLabel(0.05), "50 ms"}, {latencyLabel(2), "2 s"},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}
