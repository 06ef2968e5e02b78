package balance

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// When one of ten members goes, its clients move, to all of the others, and no other client does.
func TestIPHashMovesFew(t *testing.T) {
	const clients = 20000
	for _, weights := range [][]int{slices.Repeat([]int{1}, 10), {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}} {
		all := newTestSet(weights...)
		const gone = 6
		fewer := NewSet(IPHash, slices.Delete(slices.Clone(all.members), gone, gone+1), all.turn)
		lost, heirs := 0, map[uint64]int{}
		for i := range clients {
			before, after := all.members[pickFrom(all, IPHash, clientKey(i), 0)].Hash, fewer.members[pickFrom(fewer, IPHash, clientKey(i), 0)].Hash
			switch {
			case before == all.members[gone].Hash:
				lost++
				heirs[after]++
			case before != after:
				t.Fatalf("client %d moved from %x to %x, which both live", i, before, after)
			}
		}
		if lost == 0 || len(heirs) != 9 {
			t.Errorf("%v: %d clients moved to %d members", weights, lost, len(heirs))
		}
	}
}

// The result is the same in every instance, in whatever order the config lists the members.
func TestIPHashIsStable(t *testing.T) {
	for _, weights := range [][]int{{1, 1, 1, 1}, {1, 2, 3, 4}} {
		a, b := newTestSet(weights...), newTestSet(weights...)
		slices.Reverse(b.members)
		b = NewSet(IPHash, b.members, b.turn)
		for i := range 1000 {
			x, y := a.members[pickFrom(a, IPHash, clientKey(i), 0)].Hash, b.members[pickFrom(b, IPHash, clientKey(i), 0)].Hash
			if x != y {
				t.Fatalf("%v: client %d goes to %x here and to %x there", weights, i, x, y)
			}
		}
	}
	// These are fixed: changing the hash moves every client at a rolling update.
	if got := AddrKey(netip.MustParseAddr("192.0.2.1")); got != goldenAddrKey {
		t.Errorf("AddrKey = %#x, want %#x", got, uint64(goldenAddrKey))
	}
	if got := StringKey("http://10.0.0.1:80"); got != goldenStringKey {
		t.Errorf("StringKey = %#x, want %#x", got, uint64(goldenStringKey))
	}
}

const (
	goldenAddrKey   = 0x1ad9f79f750af5b2
	goldenStringKey = 0x7cb0be5bda1f1aa0
)

// A member that gains weight takes slots of the others, which exchange none, and so does a new one.
func TestWeightMovesFew(t *testing.T) {
	before := newTestSet(5, 3, 2)
	heavier := slices.Clone(before.members)
	heavier[1].Weight = 6
	for name, members := range map[string][]Member{"gains": heavier, "is new": append(slices.Clone(before.members), Member{4, StringKey("new"), new(Load)})} {
		grown := 1
		if name == "is new" {
			grown = 3
		}
		moved := 0
		for slot, owner := range assignSlots(members) {
			if was := before.owners[slot]; owner != was {
				if int(owner) != grown {
					t.Fatalf("one %s: slot %d moved from member %d to %d", name, slot, was, owner)
				}
				moved++
			}
		}
		if share := float64(moved) / slots; share < 0.1 || share > 0.35 {
			t.Errorf("one %s: %.2f of the slots moved", name, share)
		}
	}
}

// Slots are owned by weight, also where there are many members.
func TestSlotsAreShared(t *testing.T) {
	members := make([]Member, 1000)
	total := 0
	for i := range members {
		members[i] = Member{1 + 4*(i%2), StringKey(fmt.Sprintf("http://10.0.%d.%d:80", i/250, i%250)), new(Load)}
		total += members[i].Weight
	}
	var light, heavy int
	for _, owner := range assignSlots(members) {
		if owner%2 == 0 {
			light++
		} else {
			heavy++
		}
	}
	if ratio := float64(heavy) / float64(light); math.Abs(ratio-5) > 0.15 {
		t.Errorf("members of weight 5 own %.2f times as many slots as those of weight 1", ratio)
	}
}

// From 10 requests in flight for each member on, no member gets more than 1.25 of its share, rounded
// up; below that and at other members each key stays.
func TestHashBoundsLoads(t *testing.T) {
	for _, weights := range [][]int{{1, 1, 1}, {1, 2, 5}, slices.Repeat([]int{1}, 40)} {
		s := newTestSet(weights...)
		hot, other := clientKey(1), uint64(0) // most requests have the same key
		owner := s.owner(hot)
		for i := 2; other == 0 || s.owner(other) == owner; i++ {
			other = clientKey(i)
		}
		share := func(at, total int) float64 { return float64(total*weights[at]) / float64(s.weight) }
		for total := 1; total <= 100*len(weights); total++ {
			key := hot
			if total%50 == 0 {
				key = other
			}
			at := pickFrom(s, Hash, key, time.Duration(total)<<unitBits)
			if total <= boundedFrom*len(weights) && at != s.owner(key) {
				t.Fatalf("%v: with %d in flight a request moved", weights, total)
			}
			if n := s.members[at].Load.InFlight.Add(1); total > boundedFrom*len(weights)+1 && float64(n) >= 1.25*share(at, total)+1 {
				t.Fatalf("%v: member %d of weight %d got request %d of %d", weights, at, weights[at], n, total)
			}
			if key == other && at != s.owner(other) && float64(s.members[s.owner(other)].Load.InFlight.Load()) < share(s.owner(other), total)/2 {
				t.Fatalf("%v: a request moved from a member with half of its share", weights)
			}
		}
	}
}

// What does not fit at its own member goes to one that is always the same.
func TestHashMovesAlike(t *testing.T) {
	s := newTestSet(1, 1, 1, 1, 1)
	key := clientKey(7)
	own := s.owner(key)
	s.members[own].Load.InFlight.Store(1000)
	next := pickFrom(s, Hash, key, 0)
	if next == own {
		t.Fatal("it stays at a member that has all requests")
	}
	for range 20 {
		if got := pickFrom(s, Hash, key, 0); got != next {
			t.Errorf("it goes to %d, and then to %d", next, got)
		}
	}
	if got := pickFrom(s, IPHash, key, 0); got != own {
		t.Errorf("ip_hash moves it, from %d to %d", own, got)
	}
}

// With many members the sum of their loads is made anew every 4 ms, and with few each time.
func TestInFlightIsAddedUp(t *testing.T) {
	const unit = 1 << unitBits
	for _, test := range []struct {
		members int
		at      time.Duration
		want    int64 // then
	}{
		{16, 5, 11}, {17, 5, 10}, {17, unit - 1, 10}, {17, unit, 11}, {17, 0, 10},
	} {
		s := newTestSet(slices.Repeat([]int{1}, test.members)...)
		s.members[3].Load.InFlight.Store(10)
		if got := s.inFlight(0); got != 10 {
			t.Fatalf("%d in flight, want 10", got)
		}
		s.members[4].Load.InFlight.Store(1)
		if got := s.inFlight(test.at); got != test.want {
			t.Errorf("%d members, %d ns later: %d in flight, want %d", test.members, test.at, got, test.want)
		}
	}
}
