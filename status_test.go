package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"loadbalancer/management"
)

// statusOf returns the status.
func statusOf(t *testing.T, base, query string, fields ...string) (s management.Status) {
	t.Helper()
	a := call(t, "GET", base+"/v1/api/status"+query, "", fields...)
	if err := json.Unmarshal([]byte(a.body), &s); err != nil || a.status != 200 {
		t.Fatalf("the status is %+v", a)
	}
	return s
}

// follower reads a stream of the status.
type follower struct {
	response *http.Response
	lines    *bufio.Scanner
}

// follow opens a stream of the status, which ends with the test.
func follow(t *testing.T, base string, fields ...string) *follower {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", base+"/v1/api/status/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		r.Header.Set(name, value)
	}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	if response.StatusCode != 200 || response.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("got %d %v", response.StatusCode, response.Header)
	}
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 4<<20)
	return &follower{response, lines}
}

// next returns the status of the next event, or false at the end of the stream.
func (f *follower) next(t *testing.T) (s management.Status, ok bool) {
	t.Helper()
	for f.lines.Scan() {
		if data, isData := strings.CutPrefix(f.lines.Text(), "data: "); isData {
			if err := json.Unmarshal([]byte(data), &s); err != nil {
				t.Fatalf("the event %s: %v", data, err)
			}
			return s, true
		}
	}
	return s, false
}

// TestStatus has a balancer with a backend that is away, one that is drained, and a client over its
// limit.
func TestStatus(t *testing.T) {
	backends := freeAddresses(t, 3)
	config := strings.Replace(testConfig(t, backends, "limiter: {default: {capacity: 5, rate_per_second: 0.01}}\n"+apiOnBoth+"  tokens: [{name: w, role: write, token: write-write-write-write}, {name: r, role: read, token: read-read-read-read}]\n"),
		"path: /healthz", `path: "/healthz?secret=hidden"`, 1)
	in := startInstance(t, config)
	for _, b := range backends[:2] {
		serveBackend(t, b)
	}
	const read, write = "Authorization: Bearer read-read-read-read", "Authorization: Bearer write-write-write-write"
	waitFor(t, "one backend to be out, and two to be in", func() bool {
		all := backendsOf(t, in.management, read)
		return all[backends[0]].TakesRequests && all[backends[1]].TakesRequests && !all[backends[2]].TakesRequests
	})
	for range 8 {
		call(t, "GET", in.proxy+"/?key=hidden", "", "X-API-Key: hidden")
	}
	setBackend(t, in.management, "POST", backends[1], "drain", `{"timeout":"1h"}`, write)
	for _, base := range in.listeners() {
		s := statusOf(t, base, "", read)
		if len(s.Pools) != 1 || len(s.Pools[0].Backends) != 3 || !s.Balancer.Ready || s.Balancer.Config != in.path || s.Balancer.Reload != nil {
			t.Fatalf("got %+v", s)
		}
		up, drained, down := s.Pools[0].Backends[0], s.Pools[0].Backends[1], s.Pools[0].Backends[2]
		if up.State != "up" || up.Why != "" || up.DueShare != 1 || up.Share == nil || up.Requests+drained.Requests != 5 {
			t.Errorf("the first is %+v", up)
		}
		if drained.State != "draining" || drained.Why != "drained by an operator" || drained.DueShare != 0 || time.Until(drained.StickyUntil) < 50*time.Minute {
			t.Errorf("the drained one is %+v", drained)
		}
		if down.State != "down" || !strings.Contains(down.Why, "connection refused") || down.DueShare != 0 {
			t.Errorf("the one that is away is %+v", down)
		}
		if s.Traffic.Statuses["2xx"] != 5 || s.Traffic.Statuses["4xx"] != 3 || s.Traffic.Requests != 8 || s.Traffic.Rejected != 3 || s.Traffic.Errors["limited"] != 3 {
			t.Errorf("the traffic is %+v", s.Traffic)
		}
		if len(s.Limited) != 1 || s.Limited[0].Client != "127.0.0.1" || s.Limited[0].Rejections != 3 || s.Limited[0].Capacity != 5 || s.Limited[0].RatePerSecond != 0.01 {
			t.Errorf("limited are %+v", s.Limited)
		}
		if b := s.Balancer; b.Store == nil || !b.Store.Up || b.Share != nil || b.Memory.Heap == 0 || time.Since(b.Started) > time.Minute {
			t.Errorf("the balancer is %+v", b)
		}
		if s := statusOf(t, base, "?history=0", read); s.History != nil || s.Pools[0].Recent != nil || s.Pools[0].Backends[0].Recent != nil {
			t.Errorf("without a history, got %+v", s)
		}
		if a := call(t, "GET", base+"/v1/api/status?history=2", "", read); a.status != 422 || !strings.Contains(a.body, `"field":"history"`) {
			t.Errorf("history=2 got %+v", a)
		}
		if a := call(t, "GET", base+"/v1/api/status/", "", read); a.status != 200 || strings.Contains(a.body, "hidden") || strings.Contains(a.body, "write-write") {
			t.Errorf("got %+v", a)
		}
	}
	waitFor(t, "the requests in the history", func() bool {
		h := statusOf(t, in.management, "?history=1", read).History
		passed, rejected := uint32(0), uint32(0)
		for i := range h.Time {
			passed, rejected = passed+h.Statuses["2xx"][i], rejected+h.Rejected[i]
		}
		return passed == 5 && rejected == 3 && len(h.Errors["limited"]) == len(h.Time)
	})
}

// TestStatusOfReloads has a reload that fails and one that does not.
func TestStatusOfReloads(t *testing.T) {
	in := startInstance(t, testConfig(t, freeAddresses(t, 1)), "--demo")
	in.edit(t, "interval: 50ms", "interval: never")
	if a := call(t, "POST", in.management+"/v1/api/reload", ""); a.status != 422 {
		t.Fatalf("a faulty config got %+v", a)
	}
	if r := statusOf(t, in.management, "").Balancer.Reload; r == nil || r.OK || r.Total != 1 || r.Cause != "the API" || len(r.Faults) != 1 || !strings.Contains(r.Faults[0], "never") || len(r.Changed) != 0 {
		t.Errorf("after a faulty one, got %+v", r)
	}
	changed := in.reload(t, "interval: never", "interval: 60ms")
	if r := statusOf(t, in.management, "").Balancer.Reload; r == nil || !r.OK || r.Total != 2 || !slices.Equal(r.Changed, changed) || len(r.Faults) != 0 {
		t.Errorf("after a good one, got %+v", r)
	}
}

// TestStatusStream follows the status on both listeners, over a change, a reload and the end.
func TestStatusStream(t *testing.T) {
	backends := freeAddresses(t, 2)
	in := startInstance(t, testConfig(t, backends), "--demo")
	waitFor(t, "a sample in the history", func() bool { return len(statusOf(t, in.management, "").History.Time) > 0 })
	for _, base := range in.listeners() {
		f := follow(t, base)
		first, ok := f.next(t)
		if !ok || len(first.History.Time) == 0 || first.Pools[0].Recent == nil {
			t.Fatalf("the first event is %+v", first)
		}
		last := first.History.Time[len(first.History.Time)-1]
		setBackend(t, in.management, "POST", backends[0], "drain", "")
		for drained, events := false, 0; !drained; events++ {
			s, ok := f.next(t)
			if !ok || len(s.History.Time) != 1 || s.History.Time[0] < last || events > 5 {
				t.Fatalf("event %d is %+v, %t", events, s, ok)
			}
			last, drained = s.History.Time[0], s.Pools[0].Backends[0].State == "draining"
		}
		in.reload(t, "interval: ", "interval: 1") // 50ms, 150ms, 1150ms
		for events := 0; ; events++ {
			if _, ok := f.next(t); !ok {
				break
			}
			if events > 3 {
				t.Fatal("the stream outlasts a reload, by which its token may not count any longer")
			}
		}
		setBackend(t, in.management, "POST", backends[0], "resume", "")
	}
	streams := []*follower{follow(t, in.management), follow(t, in.proxy)}
	for _, f := range streams {
		f.next(t)
	}
	began := time.Now()
	in.stop(t)
	for _, f := range streams {
		if rest, err := io.ReadAll(f.response.Body); err != nil || strings.Contains(string(rest), "problem") {
			t.Errorf("the stream ended with %v", err)
		}
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the end took %s with streams open", took)
	}
}
