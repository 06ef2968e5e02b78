package shared

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"loadbalancer/limiter"
	"loadbalancer/limiter/shared/redistest"
)

// BenchmarkExact has 8 clients without credit make 800 requests a second each at most, and reports how
// long these take, beside a round trip over a connection that does nothing else.
func BenchmarkExact(b *testing.B) {
	server := redistest.Start(b, redistest.Options{})
	i := start(b, server.URL())
	i.waitUntilBack()
	addresses := []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.6", "192.0.2.7", "192.0.2.8"}
	for _, address := range addresses {
		i.limits.Set(limiter.Registration{
			ID:    limiter.ID{Prefix: netip.MustParsePrefix(address + "/32")},
			Terms: limiter.Terms{Limit: limiter.Limit{Capacity: 7, RatePerSecond: 1e6}},
		})
	}
	client := newClient(b, server.URL())
	trips := times(b.N/8, func() { _ = client.Do(context.Background(), client.B().Ping().Build()).Error() })
	var running sync.WaitGroup
	var all [8][]time.Duration
	b.ResetTimer()
	for n, address := range addresses {
		running.Go(func() { all[n] = times(b.N/8, func() { i.ask(address) }) })
	}
	running.Wait()
	b.StopTimer()
	took := slices.Concat(all[:]...)
	slices.Sort(took)
	slices.Sort(trips)
	if len(took) == 0 {
		return
	}
	b.ReportMetric(took[len(took)/2].Seconds()*1e6, "p50-µs")
	b.ReportMetric(took[len(took)*99/100].Seconds()*1e6, "p99-µs")
	b.ReportMetric(trips[len(trips)/2].Seconds()*1e6, "ping-p50-µs")
	b.ReportMetric(trips[len(trips)*99/100].Seconds()*1e6, "ping-p99-µs")
	b.ReportMetric(float64(i.share.Counters().Waits)/float64(len(took)), "waits/request")
}

// times returns how long calls take, a millisecond after each other.
func times(calls int, call func()) (took []time.Duration) {
	for range calls {
		began := time.Now()
		call()
		took = append(took, time.Since(began))
		time.Sleep(time.Millisecond)
	}
	return took
}
