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
	"syscall"
	"testing"
	"time"

	"loadbalancer/bench/balancer"
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
	*instance
	shape
	store  string
	server *cluster // nil: the store is a file
}

// crowdToken is the token of the API, which the profiles ask for.
const crowdToken = "Authorization: Bearer a-token-of-the-tests"

// start starts a balancer in the folder.
func (c *crowd) start(t *testing.T, dir string) {
	t.Helper()
	proxy, management := balancer.Loopback(balancer.FreePort(t)), balancer.Loopback(balancer.FreePort(t))
	c.instance = &instance{dir: dir, proxy: "http://" + proxy, management: "http://" + management, callers: map[string]*http.Client{}}
	config := fmt.Sprintf(`server: {listen: "%s"}
management: {listen: "%s", token: "%s"}
pools: {main: {backends: [{url: "%s"}]}}
limiter: {default: {capacity: %d, rate_per_second: %[5]d}, api_key_header: %s}
clients: {store: "%s"}
`, proxy, management, crowdToken[len("Authorization: Bearer "):], backend(t), defaultCapacity, keyHeader, c.store)
	c.Server = balancer.Start(t, balancer.Command(t, binary, dir, config))
	t.Cleanup(c.closeIdle)
	c.awaitServing(t)
}

// crowdServer starts a PostgreSQL that is as it comes, but for the log.
func crowdServer(t *testing.T) *cluster {
	c := clusterFromTemplate(t)
	t.Cleanup(func() { os.RemoveAll(c.dir) })
	c.server = balancer.Start(t, asAccount(filepath.Join(template.bin, "postgres"), "-D", c.data, "-k", c.dir, "-p", strconv.Itoa(c.port),
		"-c", "listen_addresses=127.0.0.1", "-c", "log_min_messages=fatal"))
	t.Cleanup(func() { stopServer(c.server, syscall.SIGQUIT) })
	c.awaitAnswer(t)
	return c
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
			c := crowdServer(t)
			measureCrowd(t, c, c.newDatabase(t).url(), s)
		})
		t.Run("file, "+s.name, func(t *testing.T) { measureCrowd(t, nil, "file:clients.db", s) })
	}
}

func measureCrowd(t *testing.T, server *cluster, store string, s shape) {
	c := &crowd{shape: s, store: store, server: server}
	c.start(t, t.TempDir())
	c.must(t, 201, "PUT", "/plans/gold", `{"capacity":100,"rate_per_second":10}`, crowdToken)
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
	name, value, _ := strings.Cut(crowdToken, ": ")
	r.Header.Set(name, value)
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
	var found []string
	for range 2 { // the first has finalizers run
		a, err := c.request("", "GET", c.management+"/debug/pprof/heap?gc=1&debug=1", "", crowdToken)
		if found = heapAlloc.FindStringSubmatch(a.body); found == nil {
			t.Fatalf("the profile has no HeapAlloc: %s, %v", a, err)
		}
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
		first = append(first, c.must(t, 200, "GET", "/clients/?limit=1000", "", crowdToken).took)
		end = append(end, c.must(t, 200, "GET", "/clients/?limit=1000&after="+last, "", crowdToken).took)
	}
	slices.Sort(first)
	slices.Sort(end)
	t.Logf("a page of 1,000: at the beginning %s, near the end %s (medians)", first[25], end[25])
}

// changePlan tells of the time that a change of all takes, and of the traffic meanwhile.
func (c *crowd) changePlan(t *testing.T) {
	t.Helper()
	f := startTraffic(t, 400, c.instance)
	time.Sleep(3 * time.Second)
	t.Logf("traffic: %s", f.phase(t))
	var took []time.Duration
	used := processorTime(c.Process.Pid)
	for i := range 5 {
		a := c.api(t, "PUT", "/plans/gold", terms(int64(200+i)), crowdToken)
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
	c.start(t, c.dir)
	t.Logf("%s: served after %s, %.1f s of a processor here and %.1f s in PostgreSQL", how, time.Since(begun).Round(time.Millisecond),
		processorTime(c.Process.Pid).Seconds(), (c.serverTime() - usedByServer).Seconds())
	f := startTraffic(t, 400, c.instance)
	time.Sleep(5 * time.Second)
	t.Logf("traffic after it %s: %s", how, f.phase(t))
	f.stop(t)
	c.heap(t, "after it "+how)
}
