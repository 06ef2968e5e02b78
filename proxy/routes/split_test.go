package routes

import (
	"fmt"
	"net/netip"
	"testing"

	"loadbalancer/proxy/balance"
)

// clientKey is what a split knows the nth client by.
func clientKey(n int) uint64 {
	return balance.AddrKey(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}))
}

// splitRoute returns the route of a table with one split.
func splitRoute(t *testing.T, split ...SplitConfig) *Route {
	t.Helper()
	return tableOf(t, Config{Pool: "main", Split: split}).any[0].Route
}

func TestSplit(t *testing.T) {
	const clients = 100_000
	for _, test := range []struct {
		split []SplitConfig
		want  map[string]float64 // per cent
	}{
		{nil, map[string]float64{"main": 100}},
		{[]SplitConfig{{"canary", 0}}, map[string]float64{"main": 100}},
		{[]SplitConfig{{"canary", 5}}, map[string]float64{"main": 95, "canary": 5}},
		{[]SplitConfig{{"canary", 0.5}}, map[string]float64{"main": 99.5, "canary": 0.5}},
		{[]SplitConfig{{"a", 30}, {"b", 20}}, map[string]float64{"main": 50, "a": 30, "b": 20}},
		{[]SplitConfig{{"a", 33.3}, {"b", 33.3}, {"c", 33.4}}, map[string]float64{"a": 33.3, "b": 33.3, "c": 33.4}},
		{[]SplitConfig{{"canary", 100}}, map[string]float64{"canary": 100}},
	} {
		r, got := splitRoute(t, test.split...), map[string]int{}
		for n := range clients {
			got[r.Pool(clientKey(n)).Name()]++
		}
		if len(got) != len(test.want) {
			t.Errorf("%v: got %v", test.split, got)
		}
		for pool, percent := range test.want {
			// Five standard deviations are under 0.8 of 100,000 clients.
			if off := float64(got[pool])/clients*100 - percent; off > 0.8 || off < -0.8 {
				t.Errorf("%v: %s has %d of %d clients, want %v %%", test.split, pool, got[pool], clients, percent)
			}
		}
	}
}

// A share that grows keeps its clients, and takes others from those of the route's pool alone.
func TestSplitGrows(t *testing.T) {
	before := splitRoute(t, SplitConfig{"a", 5})
	for _, percent := range []float64{5, 10, 50, 100} {
		after := splitRoute(t, SplitConfig{"a", percent})
		for n := range 10_000 {
			if key := clientKey(n); before.Pool(key).Name() == "a" && after.Pool(key).Name() != "a" {
				t.Fatalf("a client leaves the share as it grows to %v %%", percent)
			}
		}
		before = after
	}
}

// The clients of a share are spread over its pool's backends as all clients are: ip_hash goes by the
// same key.
func TestSplitIsIndependentOfIPHash(t *testing.T) {
	var names []balance.Member
	for i := range 4 {
		names = append(names, balance.Member{Weight: 1, Hash: balance.StringKey(fmt.Sprintf("http://192.0.2.%d:80", i))})
	}
	set := balance.NewSet(balance.IPHash, names, nil)
	r := splitRoute(t, SplitConfig{"canary", 10})
	counts, all := make([]int, len(names)), 0
	for n := range 40_000 {
		if key := clientKey(n); r.Pool(key).Name() == "canary" {
			counts[set.Pick(balance.Request{Key: key})]++
			all++
		}
	}
	for i, n := range counts {
		if share := float64(n) / float64(all); share < 0.20 || share > 0.30 {
			t.Errorf("member %d has %.3f of the share's clients, want 0.25", i, share)
		}
	}
}
