package shared

import (
	"context"
	"fmt"
	"net/netip"
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

// BenchmarkFleet has 100,000 clients, with the default limit of the config, make 30,000 requests a second
// at three instances, and reports how much of a core the server takes. Run it for half a minute, so that
// what is told by time is there: -benchtime=900000x.
func BenchmarkFleet(b *testing.B) {
	const perSecond, clients, instances = 30_000, 100_000, 3
	server := redistest.Start(b, redistest.Options{})
	all := startAll(b, server.URL(), instances)
	for _, i := range all {
		i.share.SetWait(time.Second) // those that apply the load take the core from those that tell
		for n := range clients {
			i.limits.Set(limiter.Registration{
				ID:    limiter.ID{Prefix: netip.PrefixFrom(numbered(n), 32)},
				Terms: limiter.Terms{Limit: limiter.DefaultConfig().Default.Limit},
			})
		}
	}
	time.Sleep(4 * time.Second) // until there is credit
	told := func() (n int64) {
		for _, i := range all {
			n += i.share.Counters().Tellings
		}
		return n
	}
	before, toldBefore := cpu(b, server.PID()), told()
	b.ResetTimer()
	const batch = 100
	tick := time.NewTicker(time.Second * batch / perSecond)
	defer tick.Stop()
	for n := 0; n < b.N; n += batch {
		<-tick.C
		for j := range batch {
			var d limiter.Decision
			l := all[j%instances].limits
			l.Admit(l.Identify(numbered((n+j)*7_990_271%clients), nil), time.Now(), &d).Release()
		}
	}
	b.StopTimer()
	took := (cpu(b, server.PID()) - before).Seconds()
	b.ReportMetric(100*took/b.Elapsed().Seconds(), "%core")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
	b.ReportMetric(float64(told()-toldBefore)/float64(b.N), "tellings/request")
}

func numbered(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
}
