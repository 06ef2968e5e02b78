package http1

import (
	"testing"
	"time"
)

// TestLongestIdle draws the connections in turn, beginning with the first.
func TestLongestIdle(t *testing.T) {
	many := make([]int64, 100)
	many[70] = 5
	for _, test := range []struct {
		name  string
		since []int64
		want  int
	}{
		{"no connection", nil, -1},
		{"all are busy", []int64{busy, busy, busy}, -1},
		{"all are busy or evicted", []int64{busy, evicted, busy}, -1},
		{"one is idle", []int64{busy, 7, busy}, 1},
		{"the longest", []int64{9, 7, 3, 8, evicted, busy}, 2},
		{"all at once", []int64{4, 4, 4}, 0},
		{"none of those drawn", many, 70},
	} {
		drawn := -1
		draw := func(n int) int { drawn++; return drawn % n }
		if got := longestIdle(len(test.since), func(at int) int64 { return test.since[at] }, draw); got != test.want {
			t.Errorf("%s: got %d, want %d", test.name, got, test.want)
		}
		if drawn > draws {
			t.Errorf("%s: %d were drawn", test.name, drawn+1)
		}
	}
}

func TestIdleness(t *testing.T) {
	var i idleness
	at := time.Unix(9, 0)
	if !i.end() || i.evict(at.UnixNano()) {
		t.Error("a busy connection was idle")
	}
	i.begin(at)
	i.begin(at.Add(time.Second))
	if got := i.since.Load(); got != at.UnixNano() {
		t.Errorf("idle since %d, want %d", got, at.UnixNano())
	}
	if !i.end() || i.evict(at.UnixNano()) {
		t.Error("it was idle when the next request had come")
	}
	i.begin(at)
	if !i.evict(at.UnixNano()) || i.end() {
		t.Error("it was not evicted")
	}
	if i.begin(at); i.since.Load() != evicted {
		t.Error("it lives on")
	}
}

// TestDropKeepsTheOthers removes connections in any order.
func TestDropKeepsTheOthers(t *testing.T) {
	var s connSet
	conns := make([]*clientConn, 5)
	for i := range conns {
		conns[i] = &clientConn{}
		s.add(conns[i], 0)
	}
	left := map[*clientConn]bool{}
	for _, c := range conns {
		left[c] = true
	}
	for _, at := range []int{1, 4, 1, 0, 3, 2} {
		s.remove(conns[at])
		delete(left, conns[at])
		if s.len() != len(left) {
			t.Fatalf("%d are left, want %d", s.len(), len(left))
		}
		for i, c := range s.conns {
			if !left[c] || c.index != i {
				t.Errorf("at %d is one that was removed, or that does not know its place", i)
			}
		}
	}
}
