package clients

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"loadbalancer/clients/store"
	"loadbalancer/limiter"
)

func TestNextExpiry(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	in := func(minutes int) time.Time {
		if minutes == 0 {
			return time.Time{}
		}
		return now.Add(time.Duration(minutes) * time.Minute)
	}
	for _, c := range []struct {
		client int
		keys   []int
		want   int // 0: never
	}{
		{0, nil, 0},
		{5, nil, 5},
		{-5, nil, 0},
		{0, []int{0, 7, 3}, 3},
		{2, []int{7, 3}, 2},
		{-1, []int{-7, 9}, 9},
		{9, []int{-7, 0}, 9},
	} {
		one := store.Client{ExpiresAt: in(c.client)}
		for _, k := range c.keys {
			one.Keys = append(one.Keys, store.Key{ExpiresAt: in(k)})
		}
		if got := nextExpiry(&one, now); !got.Equal(in(c.want)) {
			t.Errorf("%+v: %s, want %s", c, got, in(c.want))
		}
	}
	if at := now; !nextExpiry(&store.Client{ExpiresAt: at}, at).IsZero() {
		t.Error("what expires now has still to expire")
	}
}

func TestExpiries(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	x := newExpiries()
	add := func(name string, minutes int) {
		x.add(&store.Client{ID: limiter.ID{Name: name}, ExpiresAt: now.Add(time.Duration(minutes) * time.Minute)}, now)
	}
	expect := func(minutes int, want []string, wait time.Duration) {
		t.Helper()
		ids, next := x.due(now.Add(time.Duration(minutes) * time.Minute))
		var got []string
		for _, id := range ids {
			got = append(got, id.Name)
		}
		if !slices.Equal(got, want) || next != wait {
			t.Errorf("after %d minutes %v are due, and then after %s; want %v and %s", minutes, got, next, want, wait)
		}
	}
	expect(0, nil, time.Hour)
	add("b", 20)
	add("a", 10)
	add("never", -1)
	if len(x.wake) != 1 {
		t.Error("nothing is woken for the first to expire")
	}
	expect(9, nil, time.Minute)
	add("b", 5)  // earlier: it counts
	add("a", 30) // later: it is looked at when it would have been due
	expect(5, []string{"b"}, 5*time.Minute)
	expect(10, []string{"a"}, 10*time.Minute)
	expect(20, nil, time.Hour)
	if len(x.queue) != 0 || len(x.next) != 0 {
		t.Errorf("%d entries and %d clients are left", len(x.queue), len(x.next))
	}
	for i := range 1000 {
		add("again", 60)
		add(fmt.Sprint(i%10), 90)
	}
	if len(x.queue) != 11 {
		t.Errorf("11 clients have %d entries", len(x.queue))
	}
	for i := range 10_000 {
		add(fmt.Sprint("gone ", i), 60)
		x.remove(limiter.ID{Name: fmt.Sprint("gone ", i)})
	}
	if len(x.queue) > 2000 || len(x.next) != 11 {
		t.Errorf("%d entries and %d clients are left", len(x.queue), len(x.next))
	}
	if ids, _ := x.due(now.Add(2 * time.Hour)); len(ids) != 11 {
		t.Errorf("%d clients are due", len(ids))
	}
}
