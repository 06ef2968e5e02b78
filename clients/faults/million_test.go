package faults

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// million is the number of clients that TestMillion registers.
var million = 1_000_000

// shape is how clients are written down for an import.
type shape struct {
	name, media string
	first       string // line
	line        func(i int) string
}

func addressAt(i int) string { return fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255) }

var shapes = []shape{
	{"addresses as NDJSON", "application/x-ndjson", "", func(i int) string {
		return fmt.Sprintf(`{"ip_address":"%s","plan":"gold"}`, addressAt(i))
	}},
	{"names as NDJSON", "application/x-ndjson", "", func(i int) string {
		return fmt.Sprintf(`{"name":"customer-%07d","api_key":"key-of-customer-%07[1]d","plan":"gold"}`, i)
	}},
	{"addresses as CSV", "text/csv", "ip_address,plan\n", func(i int) string { return addressAt(i) + ",gold" }},
	{"names as CSV", "text/csv", "name,api_key,plan\n", func(i int) string {
		return fmt.Sprintf("customer-%07d,key-of-customer-%07[1]d,gold", i)
	}},
}

// crowd is a balancer with many clients.
type crowd struct {
	*balancer
	shape
	store  string
	server *cluster // nil: the store is a file
}

// processorTime is what a process and those of its children that have ended have used.
func processorTime(pid int) time.Duration {
	const first, tick = 11, 10 * time.Millisecond // the last four are together in /proc/PID/stat
	fields, ticks := strings.Fields(stateOf(pid)), 0
	if len(fields) < first+4 {
		return 0
	}
	for _, field := range fields[first : first+4] {
		n, _ := strconv.Atoi(field)
		ticks += n
	}
	return time.Duration(ticks) * tick
}

// serverTime is what PostgreSQL has used.
func (c *crowd) serverTime() (used time.Duration) {
	if c.server == nil {
		return 0
	}
	pid := c.server.server.Process.Pid
	used = processorTime(pid)
	for _, child := range childrenOf(pid) {
		used += processorTime(child)
	}
	return used
}

// TestMillion measures what 1,000,000 clients take. The figures are in docs/results.md.
func TestMillion(t *testing.T) {
	if !*long {
		t.Skip("-long is not set")
	}
	for _, s := range shapes {
		t.Run("PostgreSQL, "+s.name, func(t *testing.T) {
			c := newCluster(t, "shared_buffers=128MB", "fsync=on", "full_page_writes=on") // as it comes
			measureCrowd(t, c, c.newDatabase(t).url(), s)
		})
		t.Run("file, "+s.name, func(t *testing.T) { measureCrowd(t, nil, "file:clients.db", s) })
	}
}

func measureCrowd(t *testing.T, server *cluster, store string, s shape) {
	c := &crowd{startBalancer(t, store, options{token: testToken}), s, store, server}
	c.must(t, 201, "PUT", "/plans/gold", `{"capacity":100,"rate_per_second":10}`)
	c.importAll(t)
	if s.media == "text/csv" {
		return
	}
	c.heap(t, "after the import")
	c.pages(t)
	c.changePlan(t)
	c.restarted(t, "started again")
	if !strings.HasPrefix(store, "file:") {
		snapshot := filepath.Join(c.dir, "clients.snapshot")
		if err := os.Remove(snapshot); err != nil {
			t.Fatal(err)
		}
		c.restarted(t, "started without a snapshot")
	}
	c.changePlan(t)
}

// importAll imports a file as curl does.
func (c *crowd) importAll(t *testing.T) {
	t.Helper()
	path := filepath.Join(c.dir, "clients.import")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(file)
	_, _ = io.WriteString(w, c.first)
	for i := range million {
		_, _ = io.WriteString(w, c.line(i)+"\n")
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequest("POST", c.management+"/v1/api/import/clients", file)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", c.media)
	r.Header.Set("Authorization", "Bearer "+testToken)
	begun, used, usedByServer := time.Now(), processorTime(c.Process.Pid), c.serverTime()
	res, err := (&http.Client{Timeout: 5 * time.Minute}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	report, _ := io.ReadAll(res.Body)
	took := time.Since(begun)
	t.Logf("import: %.0f a second, %.1f s of a processor here and %.1f s in PostgreSQL", float64(million)/took.Seconds(),
		(processorTime(c.Process.Pid) - used).Seconds(), (c.serverTime() - usedByServer).Seconds())
	if !strings.Contains(string(report), fmt.Sprintf(`"created":%d,`, million)) {
		t.Fatalf("got %s %s", res.Status, report)
	}
}

var heapAlloc = regexp.MustCompile(`(?m)^# HeapAlloc = (\d+)$`)

// heap tells of the live heap after a collection.
func (c *crowd) heap(t *testing.T, when string) {
	t.Helper()
	c.page(t, "/debug/pprof/heap?gc=1") // finalizers
	found := heapAlloc.FindStringSubmatch(c.page(t, "/debug/pprof/heap?gc=1&debug=1").body)
	if found == nil {
		t.Fatal("the profile has no HeapAlloc")
	}
	bytes, _ := strconv.Atoi(found[1])
	t.Logf("live heap %s: %d MiB", when, bytes>>20)
	if bytes > 400<<20 {
		t.Errorf("the heap has %d MiB", bytes>>20)
	}
}

// pages tells of the time that a page takes at the beginning and at the end.
func (c *crowd) pages(t *testing.T) {
	t.Helper()
	last := addressAt(million - 2000)
	if strings.HasPrefix(c.name, "names") {
		last = fmt.Sprintf("customer-%07d", million-2000)
	}
	var first, end []time.Duration
	for range 50 {
		first = append(first, c.must(t, 200, "GET", "/clients/?limit=1000", "").took)
		end = append(end, c.must(t, 200, "GET", "/clients/?limit=1000&after="+last, "").took)
	}
	slices.Sort(first)
	slices.Sort(end)
	t.Logf("a page of 1,000: at the beginning %s, near the end %s (medians)", first[25], end[25])
}

// changePlan tells of the time that a change of all takes, and of the traffic meanwhile.
func (c *crowd) changePlan(t *testing.T) {
	t.Helper()
	f := startTraffic(t, 400, c.balancer)
	time.Sleep(3 * time.Second)
	t.Logf("traffic: %s", f.phase(t))
	var took []time.Duration
	used := processorTime(c.Process.Pid)
	for i := range 5 {
		a := c.api(t, "PUT", "/plans/gold", terms(int64(200+i)))
		if a.status != 200 {
			t.Errorf("got %s", a)
		}
		took = append(took, a.took.Round(time.Millisecond))
	}
	t.Logf("traffic while the plan changes: %s", f.phase(t))
	f.stop(t)
	t.Logf("the plan of all changed in %v, each %.1f s of a processor", took, (processorTime(c.Process.Pid)-used).Seconds()/5)
	slices.Sort(took)
	if took[2] > 2*time.Second {
		t.Errorf("the change took %s", took[2])
	}
}

// restarted tells of the time from the start of the process until it serves, and of the traffic
// while it looks whether it has what PostgreSQL has.
func (c *crowd) restarted(t *testing.T, how string) {
	t.Helper()
	c.end(t)
	begun, usedByServer := time.Now(), c.serverTime()
	c.balancer = newBalancer(t, c.store, options{dir: c.dir, token: testToken})
	c.awaitServing(t)
	t.Logf("%s: served after %s, %.1f s of a processor here and %.1f s in PostgreSQL", how, time.Since(begun).Round(time.Millisecond),
		processorTime(c.Process.Pid).Seconds(), (c.serverTime() - usedByServer).Seconds())
	f := startTraffic(t, 400, c.balancer)
	time.Sleep(5 * time.Second)
	t.Logf("traffic after it %s: %s", how, f.phase(t))
	f.stop(t)
	c.heap(t, "after it "+how)
}
