package faults

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"loadbalancer/bench/balancer"
)

// impatient has a balancer give up waiting for PostgreSQL after a second.
var impatient = options{clients: "  connect_timeout: 1s\n"}

// prepared is a database with clients in it.
func prepared(t *testing.T, c *cluster) database {
	t.Helper()
	d := c.newDatabase(t)
	b := startBalancer(t, d.url(), options{})
	b.must(t, 201, "POST", "/clients/", at(seen, 7))
	b.end(t)
	return d
}

// TestStartWithout starts a balancer while there is no PostgreSQL and no snapshot. It answers about
// itself at once, serves with the default limits after connect_timeout, and takes the truth later.
func TestStartWithout(t *testing.T) {
	t.Parallel()
	for _, way := range []struct {
		name string
		away func(t *testing.T, d database) (back func())
	}{
		{"stopped", func(t *testing.T, d database) func() {
			d.stop()
			return func() { d.start(t) }
		}},
		{"frozen", func(t *testing.T, d database) func() { return d.freeze(t) }},
		{"too many connections", func(t *testing.T, d database) func() {
			d.exec(t, "postgres", "ALTER ROLE "+role+" CONNECTION LIMIT 0")
			return func() { d.exec(t, "postgres", "ALTER ROLE "+role+" CONNECTION LIMIT -1") }
		}},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			d := prepared(t, newCluster(t))
			back := way.away(t, d)
			begun := time.Now()
			b := newBalancer(t, d.url(), options{clients: "  connect_timeout: 3s\n"})
			b.aliveAtOnce(t)
			took := b.awaitServing(t)
			t.Logf("serves %s after it began", time.Since(begun).Round(time.Millisecond))
			if total := time.Since(begun); total < 2900*time.Millisecond || took > 8*time.Second {
				t.Errorf("it serves after %s, want 3 s", total)
			}
			b.tellsNoLimitHolds(t)
			if got := b.quota(t, seen); got != defaultCapacity {
				t.Errorf("it enforces %d", got)
			}
			requireUnavailable(t, b.api(t, "PUT", "/clients/"+seen, terms(8)), answered+busy)
			back()
			b.takesTruth(t, 7)
			b.must(t, 200, "PUT", "/clients/"+seen, terms(8))
			if got := d.capacity(t, seen); got != "8" {
				t.Errorf("the table has %s", got)
			}
		})
	}
}

// aliveAtOnce checks a balancer that waits for its store.
func (b *instance) aliveAtOnce(t *testing.T) {
	t.Helper()
	for _, path := range []string{"/healthz", "/metrics"} {
		balancer.WaitFor(t, 2*time.Second, path, func() bool {
			a, err := b.request("", "GET", b.management+path, "")
			return err == nil && a.status == 200
		})
	}
	if a := b.page(t, "/readyz"); a.status != 503 {
		t.Errorf("/readyz of a balancer that waits: %s", a)
	}
	if got := b.metric(t, "lb_store_up"); got != "0" {
		t.Errorf("lb_store_up of a balancer that waits is %q", got)
	}
	if conn, err := net.Dial("tcp", strings.TrimPrefix(b.proxy, "http://")); err == nil {
		conn.Close()
		t.Error("the proxy accepts connections and does not serve")
	}
	if a := b.api(t, "GET", "/clients/", ""); a.status != 503 || a.took > busy {
		t.Errorf("the API of a balancer that waits: %s", a)
	}
}

// tellsNoLimitHolds checks what is said of a start without the clients.
func (b *instance) tellsNoLimitHolds(t *testing.T) {
	t.Helper()
	if a := b.page(t, "/readyz"); a.status != 200 || !strings.Contains(a.body, "registered") {
		t.Errorf("/readyz does not say that no registered limit holds: %s", a)
	}
	b.Log.Require(t, "the start without the clients", "registered", "limit", "default")
}

// takesTruth waits until a balancer has what is in the table.
func (b *instance) takesTruth(t *testing.T, capacity int64) {
	t.Helper()
	took := waitFor(t, "the balancer to take what is in the table", func() bool { return b.quota(t, seen) == capacity && !b.stale(t) })
	t.Logf("it has the truth after %s", took.Round(time.Millisecond))
	if took > heals {
		t.Errorf("it took %s, want less than %s", took, heals)
	}
	if a := b.page(t, "/readyz"); a.status != 200 || strings.Contains(a.body, "registered") {
		t.Errorf("/readyz with the truth: %s", a)
	}
}

// TestStartEnded ends balancers that wait for their store: for one that is not there, and for one
// that does not answer.
func TestStartEnded(t *testing.T) {
	t.Parallel()
	d := newCluster(t).newDatabase(t)
	d.freeze(t)
	for _, address := range []string{balancer.Loopback(balancer.FreePort(t)), d.address()} {
		b := newBalancer(t, d.at(address), options{})
		b.aliveAtOnce(t)
		if took := b.end(t); took > 2*time.Second+busy || b.ProcessState.ExitCode() != 0 {
			t.Errorf("it ended after %s with %d", took, b.ProcessState.ExitCode())
		}
	}
}

// TestComesLate starts PostgreSQL while a balancer waits for it. The balancer serves with what is
// in it, and never without.
func TestComesLate(t *testing.T) {
	t.Parallel()
	d := prepared(t, newCluster(t))
	d.stop()
	b := newBalancer(t, d.url(), options{})
	b.aliveAtOnce(t)
	d.start(t)
	took := b.awaitServing(t)
	t.Logf("serves after %s", took.Round(time.Millisecond))
	if took > heals {
		t.Errorf("it serves %s after PostgreSQL does", took)
	}
	if got := b.quota(t, seen); got != 7 {
		t.Errorf("it enforces %d", got)
	}
	if a := b.page(t, "/readyz"); a.status != 200 || strings.Contains(a.body, "registered") {
		t.Errorf("/readyz: %s", a)
	}
}

// TestPermanentFaults starts balancers that PostgreSQL refuses for good.
func TestPermanentFaults(t *testing.T) {
	t.Parallel()
	d := prepared(t, sharedCluster(t))
	d.exec(t, "postgres", "CREATE ROLE locked_out NOLOGIN PASSWORD '"+rolePassword+"'")
	for _, fault := range []struct{ name, url, word string }{
		{"no such role", urlOf("nobody_here", rolePassword, d.address(), d.name), "nobody_here"},
		{"wrong password", urlOf(role, "wr0ng-secret", d.address(), d.name), "password"},
		{"no such database", urlOf(role, rolePassword, d.address(), "nowhere"), "nowhere"},
		{"no right to log in", urlOf("locked_out", rolePassword, d.address(), d.name), "locked_out"},
	} {
		begun := time.Now()
		b := newBalancer(t, fault.url, options{})
		select {
		case <-b.Ended:
		case <-time.After(deadline):
			t.Errorf("%s: it does not end", fault.name)
			continue
		}
		took := time.Since(begun)
		if code := b.ProcessState.ExitCode(); code != 1 || took > heals {
			t.Errorf("%s: it ended after %s with %d", fault.name, took, code)
		}
		b.Log.Require(t, fault.name, "lb: ", fault.word)
		if text := b.Log.String(); strings.Contains(text, rolePassword) || strings.Contains(text, "wr0ng-secret") {
			t.Errorf("%s: the password is told: %s", fault.name, text)
		}
	}
}

// TestPermanentFaultWithSnapshot serves all the same, says what is wrong, and heals.
func TestPermanentFaultWithSnapshot(t *testing.T) {
	t.Parallel()
	d, first := withSnapshot(t)
	d.exec(t, "postgres", "ALTER ROLE "+role+" PASSWORD 'another'")
	second := first.restart(t, d.url(), options{})
	took := second.awaitServing(t)
	t.Logf("serves after %s", took.Round(time.Millisecond))
	if got := second.quota(t, seen); got != 7 {
		t.Errorf("it enforces %d", got)
	}
	second.Log.Require(t, "what is wrong", "password")
	d.sql(t, "UPDATE clients SET capacity = 8")
	d.exec(t, "postgres", "ALTER ROLE "+role+" PASSWORD '"+rolePassword+"'")
	second.takesTruth(t, 8)
}

const snapshotFile = "clients.snapshot"

// awaitSnapshot waits until what has been written before is in the snapshot: until that is left as it
// is for longer than the second that a change may have to wait for.
func (b *instance) awaitSnapshot(t *testing.T) {
	t.Helper()
	const quiet = 2 * time.Second
	asked := time.Now()
	waitFor(t, "a snapshot", func() bool {
		about, err := os.Stat(filepath.Join(b.dir, snapshotFile))
		return err == nil && time.Since(asked) > quiet && time.Since(about.ModTime()) > quiet
	})
}

// withSnapshot returns a balancer whose snapshot has a client.
func withSnapshot(t *testing.T) (database, *instance) {
	t.Helper()
	d := newCluster(t).newDatabase(t)
	first := startBalancer(t, d.url(), options{})
	first.must(t, 201, "POST", "/clients/", at(seen, 7))
	first.awaitSnapshot(t)
	return d, first
}

// TestStartFromSnapshot starts a balancer in the folder of an earlier one, without PostgreSQL.
func TestStartFromSnapshot(t *testing.T) {
	t.Parallel()
	const key = keyHeader + ": a key for the snapshot"
	d := newCluster(t).newDatabase(t)
	first := startBalancer(t, d.url(), options{})
	first.must(t, 201, "POST", "/clients/", at(seen, 6))
	first.must(t, 201, "POST", "/clients/", `{"name":"customer","api_key":"a key for the snapshot","capacity":9,"rate_per_second":1}`)
	first.must(t, 201, "PUT", "/plans/gold", `{"capacity":11,"rate_per_second":2,"max_in_flight":30}`)
	for _, c := range []string{
		`{"ip_address":"127.0.7.21","plan":"gold","labels":{"team":"a","zone":"eu"}}`,
		`{"ip_address":"127.0.7.22","capacity":12,"rate_per_second":1,"blocked":true}`,
		`{"ip_address":"127.0.14.0/24","capacity":13,"rate_per_second":1,"each":true}`,
		`{"ip_address":"2001:db8::/48","capacity":14,"rate_per_second":1,"shadow":true,"trial":{"capacity":7,"rate_per_second":0.5},"expires_at":"2099-01-02T03:04:05Z"}`,
		`{"name":"two.keys@example.com","api_keys":[{"api_key":"the first of two"},{"api_key":"the second of two","expires_at":"2099-01-02T03:04:05Z"}],` +
			`"capacity":15,"rate_per_second":1}`,
		`{"ip_address":"127.0.7.23","capacity":16,"rate_per_second":1,"expires_at":"` + time.Now().Add(4*time.Second).UTC().Format(time.RFC3339) + `"}`,
	} {
		first.must(t, 201, "POST", "/clients/", c)
	}
	version := first.must(t, 200, "PUT", "/clients/"+seen, terms(7)).header.Get("Lb-Version")
	if version == "" {
		version = first.api(t, "GET", "/clients/"+seen, "").header.Get("Lb-Version")
	}
	shown := first.must(t, 200, "GET", "/clients/", "").body
	first.awaitSnapshot(t)
	if about, err := os.Stat(filepath.Join(first.dir, snapshotFile)); err != nil || about.Mode().Perm() != 0o600 {
		t.Errorf("the snapshot: %v, %v", about, err)
	}
	d.stop()
	second := first.restart(t, d.url(), options{clients: "  connect_timeout: 1h\n"})
	took := second.awaitServing(t)
	t.Logf("serves after %s", took.Round(time.Millisecond))
	if took > 5*time.Second {
		t.Errorf("it serves after %s, not after the first failed attempt", took)
	}
	if got := second.quota(t, seen); got != 7 {
		t.Errorf("it enforces %d", got)
	}
	for _, want := range []struct {
		from     string
		capacity int64
		fields   []string
	}{
		{"127.0.7.20", 9, []string{key}},
		{"127.0.7.20", 15, []string{keyHeader + ": the first of two"}},
		{"127.0.7.20", 15, []string{keyHeader + ": the second of two"}},
		{"127.0.7.21", 11, nil},
		{"127.0.14.9", 13, nil},
	} {
		if got := second.quota(t, want.from, want.fields...); got != want.capacity {
			t.Errorf("it enforces %d for %s %s, want %d", got, want.from, want.fields, want.capacity)
		}
	}
	if a, err := second.request("127.0.7.22", "GET", second.proxy+"/", ""); err != nil || a.status != 403 {
		t.Errorf("a blocked client got %s, %v", a, err)
	}
	waitFor(t, "a client to expire without PostgreSQL", func() bool { return second.quota(t, "127.0.7.23") == defaultCapacity })
	second.Log.Require(t, "the snapshot that it serves from", "snapshot")
	if a := second.page(t, "/readyz"); a.status != 200 {
		t.Errorf("/readyz: %s", a)
	}
	a := second.must(t, 200, "GET", "/clients/", "")
	if a.body != shown || a.header.Get("Lb-Stale") == "" || a.header.Get("Lb-Version") != version {
		t.Errorf("the list is %s, want %s at version %s", a, shown, version)
	}
	requireUnavailable(t, second.api(t, "PUT", "/clients/"+seen, terms(8)), busy)
	d.start(t)
	d.sql(t, "UPDATE clients SET capacity = 8 WHERE ip_address = '"+seen+"'; DELETE FROM clients WHERE name = 'customer'")
	second.takesTruth(t, 8)
	if got := second.quota(t, "127.0.7.20", key); got != defaultCapacity {
		t.Errorf("it enforces %d for a key that was deleted", got)
	}
}

// TestSnapshotOfAnother starts in a folder with the snapshot of another database.
func TestSnapshotOfAnother(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	one, other := c.newDatabase(t), c.newDatabase(t)
	first := startBalancer(t, one.url(), options{})
	for n := range int64(5) { // its version is the higher one
		first.must(t, 201, "POST", "/clients/", at(fmt.Sprintf("127.0.7.%d", 50+n), 50+n))
	}
	first.must(t, 201, "POST", "/clients/", at(seen, 7))
	first.awaitSnapshot(t)
	elsewhere := startBalancer(t, other.url(), options{})
	elsewhere.must(t, 201, "POST", "/clients/", at(seen, 8))
	second := first.restart(t, other.url(), options{})
	second.awaitServing(t)
	second.takesTruth(t, 8)
	if got := second.quota(t, "127.0.7.50"); got != defaultCapacity {
		t.Errorf("it enforces %d for a client of the other database", got)
	}
	elsewhere.must(t, 200, "PUT", "/clients/"+seen, terms(9))
	second.takesTruth(t, 9)
}

// TestSnapshotFrozen starts from a snapshot while PostgreSQL does not answer.
func TestSnapshotFrozen(t *testing.T) {
	t.Parallel()
	d, first := withSnapshot(t)
	first.end(t)
	thaw := d.freeze(t)
	second := newBalancer(t, d.url(), options{dir: first.dir, clients: "  connect_timeout: 1h\n"})
	took := second.awaitServing(t)
	t.Logf("serves after %s", took.Round(time.Millisecond))
	if got := second.quota(t, seen); got != 7 {
		t.Errorf("it enforces %d", got)
	}
	thaw()
	second.takesTruth(t, 7)
}

// TestSnapshotWritten looks at the file while clients change: it is whole at any time, is not
// written more often than once a second, and has the last change after a crash of the balancer.
func TestSnapshotWritten(t *testing.T) {
	t.Parallel()
	d, first := withSnapshot(t)
	path := filepath.Join(first.dir, snapshotFile)
	written, copies := map[time.Time]bool{}, map[string]bool{}
	begun := time.Now()
	for n := int64(0); time.Since(begun) < 3*time.Second; n++ {
		first.must(t, 200, "PUT", "/clients/"+seen, terms(1000+n))
		about, err := os.Stat(path)
		text, readErr := os.ReadFile(path)
		if err != nil || readErr != nil || len(text) == 0 {
			t.Fatalf("the snapshot has %d bytes: %v, %v", len(text), err, readErr)
		}
		written[about.ModTime()], copies[string(text)] = true, true
	}
	if n := len(written); n < 2 || n > 6 {
		t.Errorf("it was written %d times in 3 s", n)
	}
	first.must(t, 200, "PUT", "/clients/"+seen, terms(999))
	first.awaitSnapshot(t)
	_ = first.Process.Kill()
	<-first.Ended
	d.stop()
	second := newBalancer(t, d.url(), options{dir: first.dir})
	second.awaitServing(t)
	if got := second.quota(t, seen); got != 999 {
		t.Errorf("it enforces %d", got)
	}
	second.end(t)
	n := 0
	for text := range copies { // whatever a crash would have left
		if n++; n > 2 {
			break
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		third := newBalancer(t, d.url(), options{dir: first.dir})
		third.awaitServing(t)
		if got := third.quota(t, seen); got < 7 || got == defaultCapacity {
			t.Errorf("from a copy it enforces %d", got)
		}
		third.end(t)
	}
	left, _ := filepath.Glob(filepath.Join(first.dir, "*"))
	for _, name := range left {
		if base := filepath.Base(name); base != snapshotFile && base != snapshotFile+".usage" && base != "lb.yaml" && base != "lb.state" {
			t.Errorf("left behind: %s", base)
		}
	}
}

// TestSnapshotDamaged starts with files that are no snapshots. They count as none, and the log says
// so.
func TestSnapshotDamaged(t *testing.T) {
	t.Parallel()
	d := newCluster(t).newDatabase(t)
	first := startBalancer(t, d.url(), options{})
	for n := range 20 {
		first.must(t, 201, "POST", "/clients/", at(fmt.Sprintf("10.0.0.%d", n), 7))
	}
	first.must(t, 201, "POST", "/clients/", at(seen, 7))
	first.awaitSnapshot(t)
	first.end(t)
	d.stop()
	whole, err := os.ReadFile(filepath.Join(first.dir, snapshotFile))
	if err != nil {
		t.Fatal(err)
	}
	// Behind the two meta pages: which of the others are in use depends on how often it was written.
	const metas = 2 * 4096
	flipped := []byte(string(whole))
	for i := metas; i < len(flipped); i += 256 {
		flipped[i] ^= 4
	}
	for name, text := range map[string][]byte{"cut": whole[:metas+2048], "empty": {}, "flipped": flipped, "text": []byte("no snapshot\n")} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, snapshotFile), text, 0o600); err != nil {
				t.Fatal(err)
			}
			b := newBalancer(t, d.url(), options{dir: dir, clients: impatient.clients})
			b.awaitServing(t)
			b.Log.Require(t, "the damaged file", snapshotFile)
			if got := b.quota(t, seen); got != defaultCapacity {
				t.Errorf("it enforces %d", got)
			}
			b.tellsNoLimitHolds(t)
		})
	}
}

// TestSnapshotOff leaves no file behind.
func TestSnapshotOff(t *testing.T) {
	t.Parallel()
	d := newCluster(t).newDatabase(t)
	const off = "  snapshot: \"\"\n"
	first := startBalancer(t, d.url(), options{clients: off})
	first.must(t, 201, "POST", "/clients/", at(seen, 7))
	first.end(t)
	if files, _ := filepath.Glob(filepath.Join(first.dir, "*snapshot*")); len(files) > 0 {
		t.Errorf("left behind: %v", files)
	}
	d.stop()
	second := newBalancer(t, d.url(), options{dir: first.dir, clients: off + impatient.clients})
	second.awaitServing(t)
	second.tellsNoLimitHolds(t)
}
