package limiter

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

// ipv4 returns the i-th address after 10.0.0.0.
func ipv4(i int) netip.Addr {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], 10<<24+uint32(i))
	return netip.AddrFrom4(a)
}

// BenchmarkFloor measures what no limiter can do without: an atomic write to memory in the cache,
// and one to memory that is not, among a million lines, each of which leads to the next.
func BenchmarkFloor(b *testing.B) {
	type line struct {
		next atomic.Int64
		_    [7]int64
	}
	for _, n := range []int{1, 1_000_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			lines := make([]line, n)
			for i := range lines {
				lines[i].next.Store(int64((i + 7_990_271) % n))
			}
			i := int64(0)
			for b.Loop() {
				next := lines[i].next.Load()
				lines[i].next.CompareAndSwap(next, next)
				i = next
			}
		})
	}
}

func BenchmarkTake(b *testing.B) {
	r := prepare(Limit{Capacity: 1_000_000_000, RatePerSecond: 1_000_000})
	var state atomic.Int64
	var now int64
	var d Decision
	b.ReportAllocs()
	for b.Loop() {
		now += 1000
		o, _ := takeFrom(&state, now, &r)
		if r.describe(o, &d); !d.Allowed {
			b.Fatal("rejected")
		}
	}
}

func BenchmarkTakeRejected(b *testing.B) {
	r := prepare(Limit{Capacity: 1, RatePerSecond: 0.1})
	var state atomic.Int64
	var now int64
	var d Decision
	b.ReportAllocs()
	for b.Loop() {
		now++
		o, _ := takeFrom(&state, now, &r)
		r.describe(o, &d)
	}
}

func BenchmarkRegistered(b *testing.B) {
	benchmarkClients(b, func(l *Limiter, addr netip.Addr) {
		l.registerNow(netip.PrefixFrom(addr, 32), Limit{Capacity: 1_000_000, RatePerSecond: 1000})
	})
}

// BenchmarkKeyed is BenchmarkRegistered for clients with API keys.
func BenchmarkKeyed(b *testing.B) {
	const clients = 1000
	l := New(DefaultConfig())
	keys := make([][]byte, clients)
	for i := range keys {
		keys[i] = []byte("0123456789abcdef0123456789abcdef" + strconv.Itoa(i))
		l.Set(Registration{ID{Name: "client" + strconv.Itoa(i)}, digests(string(keys[i])), Terms{Limit: Limit{1_000_000_000, 1000}}})
	}
	now := time.Now()
	b.ReportAllocs()
	var d Decision
	i := 0
	for b.Loop() {
		i = (i + 7_990_271) % clients
		l.Admit(l.Identify(ipv4(1), keys[i]), now, &d).Release()
	}
	if d.Capacity != 1_000_000_000 || !d.Allowed {
		b.Fatalf("%+v", d)
	}
}

func BenchmarkAnonymous(b *testing.B) {
	benchmarkClients(b, func(l *Limiter, addr netip.Addr) { l.ask(l.Identify(addr, nil), time.Now()) })
}

// benchmarkClients measures Identify, Admit and Release with few clients, which the processor's
// caches hold, and with a million, of which each request is another's.
func benchmarkClients(b *testing.B, add func(*Limiter, netip.Addr)) {
	for _, clients := range []int{1000, 1_000_000} {
		b.Run(strconv.Itoa(clients), func(b *testing.B) {
			cfg := DefaultConfig()
			cfg.Default.Limit = Limit{Capacity: 1_000_000, RatePerSecond: 1} // no bucket is full again
			l := New(cfg)
			for i := range clients {
				add(l, ipv4(i))
			}
			now := time.Now()
			b.ReportAllocs()
			var d Decision
			i := 0
			for b.Loop() {
				i = (i + 7_990_271) % clients // a stride that no cache foresees
				l.Admit(l.Identify(ipv4(i), nil), now, &d).Release()
			}
			if !d.Allowed {
				b.Fatal("rejected")
			}
		})
	}
}

func BenchmarkSet(b *testing.B) {
	l := New(DefaultConfig())
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		i++
		l.registerNow(netip.PrefixFrom(ipv4(i%1_000_000), 32), Limit{Capacity: 1000, RatePerSecond: 1000.5})
	}
}

func BenchmarkFields(b *testing.B) {
	d := Decision{Capacity: 100, Remaining: 57, Reset: 70 * time.Millisecond, RetryAfter: 70 * time.Millisecond, Window: 10 * time.Second}
	buf := make([]byte, 0, 256)
	for _, headers := range []string{"standard", "legacy", "both", "off"} {
		f, _ := fieldsOf(headers)
		b.Run(headers, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				buf = f.Append(buf[:0], d)
			}
		})
	}
}

// BenchmarkShared is BenchmarkRegistered for limits that three instances share.
func BenchmarkShared(b *testing.B) {
	for _, clients := range []int{1000, 100_000} {
		for _, shared := range []bool{false, true} {
			b.Run(fmt.Sprintf("%d/%v", clients, shared), func(b *testing.B) {
				l := New(DefaultConfig())
				if shared {
					l.Share(time.Millisecond).Return(Fleet{Instances: 3, From: time.Now(), Until: time.Now().Add(time.Hour)})
				}
				for i := range clients {
					l.registerNow(netip.PrefixFrom(ipv4(i), 32), Limit{Capacity: 1_000_000_000, RatePerSecond: 1000})
				}
				now := time.Now()
				b.ReportAllocs()
				var d Decision
				i := 0
				for b.Loop() {
					i = (i + 7_990_271) % clients
					l.Admit(l.Identify(ipv4(i), nil), now, &d).Release()
				}
				if !d.Allowed {
					b.Fatal("rejected")
				}
			})
		}
	}
}
