package main

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// shareEvery is how often the requests at each backend are counted.
const shareEvery = 250 * time.Millisecond

// record is what docs/health draws: how many requests each backend got.
type record struct {
	Rate   int          `json:"rate"` // requests a second
	Events []event      `json:"events"`
	Counts []shareCount `json:"counts"`

	began     time.Time
	addresses []string
	before    []int     // requests at each backend at the last count
	due       time.Time // the next
}

// event is something that happened to the first backend.
type event struct {
	At   float64 `json:"at"` // seconds
	What string  `json:"what"`
}

// shareCount are the requests that came to each backend in the interval that ends then.
type shareCount struct {
	At       float64 `json:"at"`
	Requests []int   `json:"requests"`
}

// share returns the first backend's share of the requests from one time to another, and the largest
// in an interval.
func (r *record) share(from, to float64) (share, largest float64) {
	first, all := 0, 0
	for _, c := range r.Counts {
		if c.At <= from || c.At > to {
			continue
		}
		sum := 0
		for _, n := range c.Requests {
			sum += n
		}
		if sum > 0 {
			largest = max(largest, float64(c.Requests[0])/float64(sum))
		}
		first, all = first+c.Requests[0], all+sum
	}
	return float64(first) / float64(max(1, all)), largest
}

// startRecord starts a record of the backends.
func startRecord(t *testing.T, rate int, addresses []string) *record {
	began := time.Now()
	return &record{Rate: rate, began: began, addresses: addresses, before: requestsAtAll(t, addresses), due: began.Add(shareEvery)}
}

// countUntil counts in each interval, until something is so. Where a backend takes long to tell, the
// counts are not of one time: they count with the next.
func (r *record) countUntil(t *testing.T, what string, is func() bool) {
	t.Helper()
	const exact = 20 * time.Millisecond
	waitFor(t, what, func() bool {
		asked := time.Now()
		if asked.Before(r.due) {
			return is()
		}
		now := requestsAtAll(t, r.addresses)
		r.due = r.due.Add(shareEvery)
		if time.Since(asked) > exact {
			return is()
		}
		c := shareCount{At: asked.Sub(r.began).Seconds()}
		for i := range now {
			c.Requests = append(c.Requests, now[i]-r.before[i])
		}
		r.Counts, r.before = append(r.Counts, c), now
		return is()
	})
}

// countFor counts for a time.
func (r *record) countFor(t *testing.T, d time.Duration) {
	t.Helper()
	end := time.Now().Add(d)
	r.countUntil(t, "the end of "+d.String(), func() bool { return time.Now().After(end) })
}

// note notes an event, and returns its time.
func (r *record) note(at time.Time, what string) float64 {
	r.Events = append(r.Events, event{at.Sub(r.began).Seconds(), what})
	return r.Events[len(r.Events)-1].At
}

// testBackendReturns has one of three backends fail, be ejected and come back: its share grows to
// what it was, and is never above twice that.
func testBackendReturns(t *testing.T, built programs) {
	names := []string{"round_robin"} // the shares of which hardly vary
	if *long {
		names = slices.DeleteFunc(policies(t), func(p string) bool { return p == "latency" }) // shares go by response times there
	}
	for _, policy := range names {
		t.Run(policy, func(t *testing.T) { requireReturn(t, built, policy) })
	}
}

func requireReturn(t *testing.T, built programs, policy string) {
	keys, ramp, settled := balanceKeys(policy), 10*time.Second, 5*time.Second
	if !*long {
		keys, ramp, settled = keys+"    ejection: {base: 1s}\n    slow_start: 2s\n", 2*time.Second, 2*time.Second
	}
	addresses := freeAddresses(t, 3)
	startBackends(t, built, addresses)
	lb, url := startPool(t, built, addresses, keys)
	rate, clients := loadOf()
	load := startLoad(t, url, rate, clients)
	time.Sleep(500 * time.Millisecond) // until the connections are there
	r := startRecord(t, rate, addresses)
	r.countFor(t, settled)
	setFault(t, addresses[0], `{"fault":"fail"}`)
	failing := r.note(time.Now(), "fails")
	ejected, end := false, time.Now().Add(2*time.Second) // a policy that goes by failures may leave it no requests
	r.countUntil(t, "the ejection", func() bool {
		ejected = lb.stdout.find("backend is ejected") != nil
		return ejected || time.Now().After(end)
	})
	if ejected {
		r.note(lb.loggedAt(t, "backend is ejected"), "ejected")
	}
	r.countFor(t, 500*time.Millisecond)
	setFault(t, addresses[0], `{"fault":"none"}`)
	back := r.note(time.Now(), "works")
	if ejected {
		r.countUntil(t, "the return", func() bool { return lb.stdout.find("backend is no longer ejected") != nil })
		back = r.note(lb.loggedAt(t, "backend is no longer ejected"), "back")
	}
	r.countFor(t, ramp)
	whole := r.note(time.Now(), "whole") + shareEvery.Seconds()
	r.countFor(t, shareEvery+settled)
	load.end()
	r.require(t, strings.HasSuffix(policy, "hash"), failing, back, whole)
	if *recordTo != "" && policy == "round_robin" {
		r.write(t, *recordTo)
	}
}

// require checks the first backend's share after its return against that of a third or, where the
// policy goes by a key, what it was before.
func (r *record) require(t *testing.T, byKey bool, failing, back, whole float64) {
	t.Helper()
	last := r.Counts[len(r.Counts)-1].At
	before, _ := r.share(0, failing)
	after, _ := r.share(whole, last)
	_, most := r.share(back, last)
	t.Logf("share before %.1f %%, after the ramp %.1f %%, most in %s since it is back %.1f %%", 100*before, 100*after, shareEvery, 100*most)
	want := 1.0 / 3
	if byKey {
		want = before
	}
	if after < want*0.9 || after > want*1.1 || most > 2*want {
		t.Errorf("want after the ramp %.1f %%, within a tenth, and never above twice that", 100*want)
	}
}

// write writes the record, with a line for each count.
func (r *record) write(t *testing.T, path string) {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.NewReplacer(`,"events"`, ",\n\"events\"", `,"counts"`, ",\n\"counts\"", `{"at"`, "\n{\"at\"").Replace(string(text))
	if err := os.WriteFile(path, []byte(lines+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// testRollingRestart restarts ten backends one by one, each as soon as the one before serves again:
// no GET fails, neither where a backend may end its requests nor where it may not.
func testRollingRestart(t *testing.T, built programs) {
	const delay = "--delay=10ms" // so that requests are under way
	addresses := freeAddresses(t, 10)
	backends := startBackends(t, built, addresses, delay)
	lb, url := startPool(t, built, addresses, "")
	rate, clients := loadOf()
	load := startLoad(t, url, rate, clients)
	time.Sleep(time.Second)
	down := 50 * time.Millisecond
	if *long {
		down = time.Second
	}
	began := time.Now()
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		for i, address := range addresses {
			backends[i].signal(t, signal)
			<-backends[i].ended
			time.Sleep(down)
			backends[i] = startBackend(t, built, address, delay)
		}
	}
	took := time.Since(began)
	time.Sleep(time.Second)
	got := summarize(load.end())
	t.Logf("%d restarts in %s, %d ejections; %s", 2*len(addresses), took.Round(time.Millisecond),
		strings.Count(lb.stdout.String(), `"backend is ejected"`), got)
	if got.failed > 0 {
		t.Error("want no failure")
	}
}
