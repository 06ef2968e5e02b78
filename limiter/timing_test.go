package limiter

import (
	"encoding/binary"
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

func BenchmarkTake(b *testing.B) {
	r := prepare(Limit{Capacity: 1_000_000_000, RatePerSecond: 1_000_000})
	var state atomic.Int64
	var now int64
	b.ReportAllocs()
	for b.Loop() {
		now += 1000
		o, _ := takeFrom(&state, now, &r)
		if d := r.decision(o); !d.Allowed {
			b.Fatal("rejected")
		}
	}
}

func BenchmarkTakeRejected(b *testing.B) {
	r := prepare(Limit{Capacity: 1, RatePerSecond: 0.1})
	var state atomic.Int64
	var now int64
	b.ReportAllocs()
	for b.Loop() {
		now++
		o, _ := takeFrom(&state, now, &r)
		r.decision(o)
	}
}

func BenchmarkRegistered(b *testing.B) {
	benchmarkClients(b, func(l *Limiter, addr netip.Addr) {
		l.registerNow(netip.PrefixFrom(addr, 32), Limit{Capacity: 1_000_000, RatePerSecond: 1000})
	})
}

func BenchmarkAnonymous(b *testing.B) {
	benchmarkClients(b, func(l *Limiter, addr netip.Addr) { l.ask(l.Identify(addr, nil), time.Now()) })
}

// benchmarkClients measures Identify and Take with few clients, which the processor's caches hold,
// and with a million, of which each request is another's.
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
			i := 0
			for b.Loop() {
				i = (i + 7_990_271) % clients // a stride that no cache foresees
				l.ask(l.Identify(ipv4(i), nil), now)
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
