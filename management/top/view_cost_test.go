package top

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// crowd returns a model with so many backends, of which every seventh is down.
func crowd(n int) model {
	d := &document{Time: heard, Pools: []pool{{Pool: "main", TakesRequests: true}, {Pool: "other", TakesRequests: true}}}
	for i := range n {
		b := backend{Pool: "main", Address: fmt.Sprintf("10.0.%d.%d:8100", i/250, i%250), State: "up", TakesRequests: true, Weight: 1}
		if i%7 == 0 {
			b.State, b.TakesRequests, b.Since, b.Why = "down", false, heard.Add(-time.Minute), "health check: connection refused"
		}
		d.Pools[0].Backends = append(d.Pools[0].Backends, b)
	}
	m := model{screen: &screen{shown: "http://127.0.0.1:8081"}, rates: &rates{}, width: 80, height: 24}
	m.hear(d, heard)
	return m
}

// Only the rows that are seen are made: with 1,000 backends the view allocates no more than with 20,
// but for the list that is sorted.
func TestViewAllocations(t *testing.T) {
	allocations := func(n int) float64 {
		m := crowd(n)
		press(m, "s", "s", "down", "down", "down", "down", "down") // sorted by state, in the middle of the 20
		return testing.AllocsPerRun(20, func() { _ = m.View() })
	}
	if few, many := allocations(20), allocations(1000); many > few+15 {
		t.Errorf("%.0f allocations with 1,000 backends, %.0f with 20", many, few)
	}
}

func BenchmarkView(b *testing.B) {
	for _, n := range []int{20, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m := crowd(n)
			b.ReportAllocs()
			for b.Loop() {
				_ = m.View()
			}
		})
	}
}

// A window is the part of all rows that has the chosen one in the middle, or as near as the ends
// allow.
func TestWindow(t *testing.T) {
	for n := range 12 {
		for chosen := -1; chosen < n; chosen++ {
			for height := range 9 {
				r := rows{n, chosen, func(i int) []string {
					return []string{fmt.Sprint(i), "why"}[:1+i%2] // the odd ones on two lines
				}}
				var all []string
				at := 0
				for i := range n {
					if i == chosen {
						at = len(all)
					}
					all = append(all, r.lines(i, true, 10)...)
				}
				start := max(0, min(at-height/2, len(all)-height))
				want := append(all[start:], make([]string, height)...)[:height]
				if got := r.window(true, 10, height); !slices.Equal(got, want) {
					t.Errorf("%d rows, row %d, %d lines:\n%s\nwant\n%s", n, chosen, height, strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
			}
		}
	}
}
