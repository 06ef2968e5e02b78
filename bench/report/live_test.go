package report

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"loadbalancer/bench/load"
)

// samples returns the samples of a run that takes one each second, with so many responses 200,
// responses 429 and errors in the second before it.
func samples(perSecond ...[3]int64) []load.Progress {
	all := []load.Progress{{}}
	for i, n := range perSecond {
		before := all[i]
		all = append(all, load.Progress{
			Elapsed: time.Duration(i+1) * time.Second, Responses: before.Responses + n[0] + n[1], Failures: before.Failures + n[2],
			Statuses: map[int]int64{200: before.Statuses[200] + n[0], 429: before.Statuses[429] + n[1]},
		})
	}
	return all
}

func TestLiveChart(t *testing.T) {
	blank := strings.Repeat(" ", 29)
	row := func(label, dots string) string { return fmt.Sprintf("%19s│%s", label, dots) }
	axis := func(end string) string {
		return "                  0└0s " + strings.Repeat("─", 25-len(end)) + " " + end
	}
	for _, tt := range []struct {
		name    string
		samples []load.Progress
		want    []string
	}{
		{"nothing yet", nil, []string{
			row("2/s", blank), row("", blank), row("", blank), row("", blank), row("1", blank), row("", blank), row("", blank),
			row("", strings.Repeat("⣀", 29)), axis("0s"),
		}},
		{"a constant rate at the top", samples([3]int64{4000}, [3]int64{4000}), []string{
			row("4,000/s", strings.Repeat("⠉", 29)), row("", blank), row("", blank), row("", blank), row("2,000", blank), row("", blank), row("", blank),
			row("", blank), axis("2s"),
		}},
		{"a rise in the middle, then limited", samples([3]int64{0}, [3]int64{500, 1500}), []string{
			row("2,000/s", strings.Repeat(" ", 14)+"⢸"+strings.Repeat("⠉", 14)),
			row("", strings.Repeat(" ", 14)+"⢸"+strings.Repeat(" ", 14)), row("", strings.Repeat(" ", 14)+"⢸"+strings.Repeat(" ", 14)),
			row("", strings.Repeat(" ", 14)+"⢸"+strings.Repeat(" ", 14)), row("1,000", strings.Repeat(" ", 14)+"⢸"+strings.Repeat(" ", 14)),
			row("", strings.Repeat(" ", 14)+"⢸"+strings.Repeat(" ", 14)), row("", strings.Repeat(" ", 14)+"⢸"+strings.Repeat(" ", 14)),
			row("", strings.Repeat("⣀", 14)+"⡸"+strings.Repeat(" ", 14)), axis("2s"),
			row("4xx 1,500/s", strings.Repeat(" ", 14)+"▄"+strings.Repeat("█", 14)),
		}},
		{"errors alone, which end", samples([3]int64{0, 0, 7}, [3]int64{}), []string{
			row("2/s", blank), row("", blank), row("", blank), row("", blank), row("1", blank), row("", blank), row("", blank),
			row("", strings.Repeat("⣀", 29)), axis("2s"),
			row("errors 7/s", strings.Repeat("█", 14)+"▄"+strings.Repeat(" ", 14)),
		}},
		{"few errors after many", samples([3]int64{0, 0, 800}, [3]int64{0, 0, 1}), []string{
			row("2/s", blank), row("", blank), row("", blank), row("", blank), row("1", blank), row("", blank), row("", blank),
			row("", strings.Repeat("⣀", 29)), axis("2s"),
			row("errors 800/s", strings.Repeat("█", 14)+"▅"+strings.Repeat("▁", 14)),
		}},
	} {
		if got := LiveChart(tt.samples, 50, false); !slices.Equal(got, tt.want) {
			t.Errorf("%s:\n%s\nwant\n%s", tt.name, strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
		}
	}
}

// TestLiveChartFits checks that no line is too wide for the terminal, that there are as many lines
// as it has room for, and that colors change nothing else.
func TestLiveChartFits(t *testing.T) {
	all := samples([3]int64{5_000_000, 5_000_000, 10_000_000}, [3]int64{1, 1, 1}, [3]int64{})
	for i := range all {
		all[i].Statuses = map[int]int64{200: 1, 404: int64(i), 503: int64(i)}
	}
	for columns := MinLiveColumns; columns < 300; columns += 7 {
		plain := LiveChart(all, columns, false)
		if len(plain) != liveRows+1+3 || len(plain)+2 >= MinLiveRows+1 {
			t.Errorf("%d lines, want %d, for %d rows", len(plain), liveRows+1+3, MinLiveRows)
		}
		for _, line := range plain {
			if n := utf8.RuneCountInString(line); n >= columns {
				t.Errorf("a line of %d cells for %d columns: %q", n, columns, line)
			}
		}
		colored := strings.Join(LiveChart(all, columns, true), "\n")
		if !strings.Contains(colored, "\x1b[36m") {
			t.Errorf("no color in\n%s", colored)
		}
		uncolored := strings.NewReplacer("\x1b[36m", "", "\x1b[33m", "", "\x1b[31m", "", "\x1b[35m", "", "\x1b[39m", "").Replace(colored)
		if uncolored != strings.Join(plain, "\n") {
			t.Errorf("without its colors, the chart is\n%s\nwant\n%s", uncolored, strings.Join(plain, "\n"))
		}
	}
}

// TestHistoryKeepsTheWholeRun checks that a history of any length begins with the start and ends
// with the last sample, in bounded memory, at about even distances.
func TestHistoryKeepsTheWholeRun(t *testing.T) {
	var h History
	for i := int64(1); i <= 20_000; i++ {
		at := time.Duration(i) * 250 * time.Millisecond
		h.Add(load.Progress{Elapsed: at, Responses: 10 * i})
		if n := len(h.Samples); n > maxSamples {
			t.Fatalf("%d samples are kept, want at most %d", n, maxSamples)
		}
		if first, last := h.Samples[0], h.Samples[len(h.Samples)-1]; first.Elapsed != 0 || i%2 == 0 && last.Elapsed < at-h.gap {
			t.Fatalf("after %s, the samples are from %s to %s", at, first.Elapsed, last.Elapsed)
		}
	}
	if n := len(h.Samples); n < maxSamples/2 {
		t.Errorf("%d samples are kept, want at least %d", n, maxSamples/2)
	}
	for _, rate := range ratesOver(h.Samples, 100, func(p load.Progress) int64 { return p.Responses }) {
		if rate < 39.9 || rate > 40.1 {
			t.Errorf("a rate of %v, want 40", rate)
		}
	}
	last := h.Samples[len(h.Samples)-1]
	for i := 1; i < len(h.Samples)-1; i++ {
		if gap := h.Samples[i].Elapsed - h.Samples[i-1].Elapsed; gap != h.gap {
			t.Fatalf("samples %s apart, want %s", gap, h.gap)
		}
	}
	if last.Elapsed < 5000*time.Second-h.gap {
		t.Errorf("the last sample is of %s, want 5000s", last.Elapsed)
	}
}

func TestRoundAbove(t *testing.T) {
	for f, want := range map[float64]float64{0: 2, 1: 2, 2: 2, 2.1: 4, 4.1: 10, 10: 10, 11: 20, 99: 100, 3999: 4000, 65_000: 100_000} {
		if got := roundAbove(f); got != want {
			t.Errorf("%v: %v, want %v", f, got, want)
		}
	}
}
