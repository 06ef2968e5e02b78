package main

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkBucket measures a request that is let through, by a bucket that all goroutines share.
// With -cpu 1 there is one goroutine.
func BenchmarkBucket(b *testing.B) {
	for _, c := range contenders() {
		b.Run(c.name, func(b *testing.B) {
			benchmarkBucket(b, c.bucket(b, limit{tokens: 1_000_000_000, period: time.Hour}), true, c.givesUp)
		})
	}
}

// BenchmarkRejected measures a request that finds the bucket empty.
func BenchmarkRejected(b *testing.B) {
	for _, c := range contenders() {
		if c.blocks {
			continue
		}
		b.Run(c.name, func(b *testing.B) {
			take := c.bucket(b, limit{tokens: 1, period: 24 * time.Hour})
			take()
			benchmarkBucket(b, take, false, false)
		})
	}
}

func benchmarkBucket(b *testing.B, take func() bool, want, mayErr bool) {
	var wrong atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if take() != want {
				wrong.Add(1)
			}
		}
	})
	report(b, wrong.Load(), mayErr)
}

// report fails the benchmark for wrong answers, unless its limiter is known to give them.
func report(b *testing.B, wrong int64, known bool) {
	switch {
	case known:
		b.ReportMetric(100*float64(wrong)/float64(b.N), "%errors")
	case wrong > 0:
		b.Fatalf("%d of %d requests were answered wrongly", wrong, b.N)
	}
}

// BenchmarkKeyed measures a request of one of 100,000 clients, each time another's, and how much
// memory the limiter holds for each, apart from its key.
func BenchmarkKeyed(b *testing.B) {
	clients := make([]client, 100_000)
	for i := range clients {
		clients[i] = clientOf(i)
	}
	for _, c := range contenders() {
		if c.keyed == nil {
			continue
		}
		before := heap()
		take := c.keyed(b, limit{tokens: 1_000_000, period: time.Hour})
		for _, client := range clients {
			take(client)
		}
		perClient := float64(heap()-before) / float64(len(clients))

		b.Run(c.name, func(b *testing.B) {
			benchmarkKeyed(b, take, clients, c.givesUp)
			b.ReportMetric(perClient, "B/client")
		})
	}
}

func benchmarkKeyed(b *testing.B, take func(client) bool, clients []client, mayErr bool) {
	var wrong, goroutines atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		i := int(goroutines.Add(1)) * 12_347 % len(clients)
		for pb.Next() {
			i = (i + 79_903) % len(clients) // a stride that no cache foresees
			if !take(clients[i]) {
				wrong.Add(1)
			}
		}
	})
	report(b, wrong.Load(), mayErr)
}

// heap returns the bytes of the heap that are in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
