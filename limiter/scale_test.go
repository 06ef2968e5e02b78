package limiter

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"strconv"
	"testing"
	"time"
)

// TestMillion registers a million clients of each kind, changes the terms of all, and reports the
// times and the heap, in which the names and the keys are counted. Only what the structures take is
// held to a bound: the times are those of one machine.
func TestMillion(t *testing.T) {
	if !*long {
		t.Skip("long")
	}
	const clients = 1_000_000
	for _, tt := range []struct {
		name string
		most int64 // MiB
		nth  func(i int) Registration
	}{
		{"addresses", 330, func(i int) Registration { return Registration{ID: ID{Prefix: netip.PrefixFrom(ipv4(i), 32)}} }},
		{"names", 330, func(i int) Registration {
			r := Registration{ID: ID{Name: "customer-" + strconv.Itoa(i)}}
			binary.BigEndian.PutUint64(r.Keys[0][:], permute(uint64(i+1)))
			return r
		}},
		{"names with four keys", 1024, func(i int) Registration {
			r := Registration{ID: ID{Name: "customer-" + strconv.Itoa(i)}}
			for j := range r.Keys {
				binary.BigEndian.PutUint64(r.Keys[j][:], permute(uint64(MaxKeys*i+j+1)))
			}
			return r
		}},
		{"ranges", 1024, func(i int) Registration { return Registration{ID: ID{Prefix: netip.PrefixFrom(ipv4(8*i), 29)}} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := heap()
			l := New(DefaultConfig())
			set := func(capacity int64) time.Duration {
				began := time.Now()
				for i := range clients {
					r := tt.nth(i)
					r.Terms.Limit = Limit{capacity, 1000}
					l.Set(r)
				}
				return time.Since(began)
			}
			registered := set(100)
			size := (heap() - before) >> 20
			changed := set(200)
			t.Logf("registered in %v, with new terms in %v; %d MiB, then %d MiB", registered, changed, size, (heap()-before)>>20)
			if n := l.Registered(); n != clients {
				t.Errorf("%d registered", n)
			}
			if size > tt.most {
				t.Errorf("%d MiB, want at most %d", size, tt.most)
			}
			runtime.KeepAlive(l)
		})
	}
}
