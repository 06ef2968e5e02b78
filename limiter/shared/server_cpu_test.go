package shared

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"loadbalancer/limiter"
	"loadbalancer/limiter/shared/redistest"
)

// BenchmarkServer has three instances tell 15,000 buckets a second, of 100,000 clients, in batches of
// 15, and reports how much of a core the server takes. Run it for some seconds: -benchtime=150000x.
func BenchmarkServer(b *testing.B) {
	const perSecond, batch, instances = 15_000, 15, 3
	server := redistest.Start(b, redistest.Options{})
	ctx := context.Background()
	var running sync.WaitGroup
	before := cpu(b, server.PID())
	b.ResetTimer()
	for i := range instances {
		client := newClient(b, server.URL())
		running.Go(func() {
			tick := time.NewTicker(time.Second * batch * instances / perSecond)
			defer tick.Stop()
			some := make([]*limiter.Telling, batch)
			for n := 0; n < b.N/instances; n += batch {
				<-tick.C
				for j := range some {
					some[j] = &limiter.Telling{
						Client: fmt.Sprintf("default:10.%d.%d.%d", i, (n+j)*7%400, (n+j)%250), Capacity: 1000,
						Rate: 100, Spent: 20, Debt: 1234567 * time.Microsecond,
					}
				}
				values, err := client.Do(ctx, tell(client.B(), some, n == 0)).AsIntSlice()
				if _, err := answers(batch, values, err); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	running.Wait()
	b.StopTimer()
	took := (cpu(b, server.PID()) - before).Seconds()
	b.ReportMetric(100*took/b.Elapsed().Seconds(), "%core")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tellings/s")
	b.ReportMetric(1e6*took/float64(b.N), "µs/telling")
}

// cpu returns the time that a process has spent on cores.
func cpu(t testing.TB, pid int) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Skip(err)
	}
	_, behind, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(behind)
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * time.Second / 100
}
