package shared

import (
	"context"
	"flag"
	"net/netip"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"loadbalancer/bench/balancer"
	"loadbalancer/limiter"
	"loadbalancer/limiter/shared/redistest"
)

// TestMain checks that no Run leaves anything behind. A client of sentinels may sleep for another
// second.
func TestMain(m *testing.M) {
	flag.Parse()
	// The parallel tests mostly wait.
	if err := flag.Set("test.parallel", strconv.Itoa(max(6, runtime.GOMAXPROCS(0)))); err != nil {
		panic("BUG: " + err.Error())
	}
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"))
}

// deadline bounds what a test waits for where the issue is not how long it takes.
const deadline = 20 * time.Second

// patient is the longest wait of a request where the server is not to count as away, on a machine that
// is busy with other tests.
const patient = 500 * time.Millisecond

// instance is a limiter with its teller.
type instance struct {
	t      testing.TB
	limits *limiter.Limiter
	share  *limiter.Share
	teller *Teller
	log    *balancer.Journal
	stop   func() // and wait for the end
}

// start starts an instance, which ends with the test.
func start(t testing.TB, url string) *instance {
	t.Helper()
	i := &instance{t: t, log: &balancer.Journal{}}
	i.limits = limiter.New(limiter.DefaultConfig())
	i.share = i.limits.Share(patient)
	var err error
	if i.teller, err = Open(url, i.share, func() {}, zerolog.New(i.log)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- i.teller.Run(ctx) }()
	i.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(deadline):
			t.Error("Run does not end")
		}
		if t.Failed() {
			t.Log(i.log.String())
		}
	})
	t.Cleanup(i.stop)
	return i
}

// startAll starts instances and waits until each knows of all.
func startAll(t testing.TB, url string, instances int) []*instance {
	t.Helper()
	all := make([]*instance, instances)
	for i := range all {
		all[i] = start(t, url)
	}
	for _, i := range all {
		i.waitFor("all know each other", func() bool { return !i.share.IsAway() && i.share.Instances() == int64(instances) })
	}
	return all
}

// set registers a client, by its address, that gets next to nothing beyond its capacity.
func set(all []*instance, address string, capacity int64) {
	for _, i := range all {
		i.limits.Set(limiter.Registration{
			ID:    limiter.ID{Prefix: netip.PrefixFrom(netip.MustParseAddr(address), 32)},
			Terms: limiter.Terms{Limit: limiter.Limit{Capacity: capacity, RatePerSecond: max(0.001, float64(capacity)/1e6)}},
		})
	}
}

// ask makes a request of a client.
func (i *instance) ask(address string) (allowed bool) {
	var d limiter.Decision
	lease := i.limits.Admit(i.limits.Identify(netip.MustParseAddr(address), nil), time.Now(), &d)
	if d.Allowed {
		lease.Release()
	}
	return d.Allowed
}

// spend has a client make requests at the instances in turn, and returns how many were admitted.
func spend(all []*instance, address string, requests int) (admitted int64) {
	for n := range requests {
		if all[n%len(all)].ask(address) {
			admitted++
		}
	}
	return admitted
}

func (i *instance) waitFor(what string, is func() bool) {
	i.t.Helper()
	for end := time.Now().Add(deadline); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			i.t.Fatalf("after %s: not %s\n%s", deadline, what, i.log.String())
		}
	}
}

// waitUntilAway has a client make requests until the instance counts the server as away, and returns
// the shortest wait in vain. Without a client it waits.
func (i *instance) waitUntilAway(address string) (shortest time.Duration) {
	i.t.Helper()
	i.waitFor("away", func() bool {
		if address != "" {
			before, began := i.share.Counters().TimedOut, time.Now()
			i.ask(address)
			if took := time.Since(began); i.share.Counters().TimedOut > before && (shortest == 0 || took < shortest) {
				shortest = took
			}
		}
		return i.share.IsAway()
	})
	return shortest
}

// waitUntilTold waits until the server knows what a client has spent at the instances, but for some
// tokens.
func waitUntilTold(all []*instance, server *redistest.Server, address string, but float64) {
	all[0].t.Helper()
	all[0].waitFor("told", func() bool {
		text := server.Do("GET", bucketKey+"client:"+address)
		return text != "" && parseBucket(all[0].t, text).Debt > float64(used(all, address))-1-but
	})
}

func (i *instance) waitUntilBack() {
	i.t.Helper()
	i.waitFor("back", func() bool { return !i.share.IsAway() })
}

// used returns how many requests of a client the instances have admitted.
func used(all []*instance, address string) (admitted int64) {
	for _, i := range all {
		u, _ := i.limits.Usage(limiter.ID{Prefix: netip.PrefixFrom(netip.MustParseAddr(address), 32)})
		admitted += u.Allowed
	}
	return admitted
}
