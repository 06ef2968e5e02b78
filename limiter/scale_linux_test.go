package limiter

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// TestMillion registers a million clients of each kind, changes the terms of all, restores and walks
// their usage, and reports the times and the heap, in which the names and the keys are counted. Only
// the heap is held to a bound: the times are those of one machine. The time of the processor includes
// that of the garbage collection, which runs on all processors.
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
			before := heapBytes()
			l := New(DefaultConfig())
			timed := func(what string, do func()) {
				began, used := time.Now(), processorTime(t)
				do()
				took, used := time.Since(began), processorTime(t)-used
				t.Logf("%-12s %6d ms, %6d ms of a processor; then %d MiB", what, took.Milliseconds(), used.Milliseconds(), (heapBytes()-before)>>20)
			}
			set := func(capacity int64) {
				for i := range clients {
					r := tt.nth(i)
					r.Terms.Limit = Limit{capacity, 1000}
					l.Set(r)
				}
			}
			timed("registered", func() { set(100) })
			size := (heapBytes() - before) >> 20
			timed("changed", func() { set(200) })
			timed("restored", func() {
				for i := range clients {
					l.Restore(tt.nth(i).ID, Usage{Allowed: int64(i)})
				}
			})
			n := 0
			timed("walked", func() {
				for range l.Used() {
					n++
				}
			})
			if l.Registered() != clients || n != clients-1 {
				t.Errorf("%d registered, %d with usage", l.Registered(), n)
			}
			if size > tt.most {
				t.Errorf("%d MiB, want at most %d", size, tt.most)
			}
			runtime.KeepAlive(l)
		})
	}
}

// processorTime returns what the process has used of the processors.
func processorTime(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
