package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// instances are three balancers on one database, with traffic through each.
type instances struct {
	database
	all     []*instance
	traffic *traffic
}

// TestInstances changes clients at three balancers, and in the table, and looks at all of them. It
// measures, so nothing runs beside it.
func TestInstances(t *testing.T) {
	d := newCluster(t).newDatabase(t)
	in := &instances{database: d, all: startBalancers(t, 3, d.url())}
	perSecond := 50
	if *long {
		perSecond = 300
	}
	in.traffic = startTraffic(t, perSecond, in.all...)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *instances)
	}{
		{"a change is enforced by all", testChangeEnforced},
		{"a change by psql is enforced by all", testRowEnforced},
		{"all agree", testAllAgree},
		{"a deleted client has the default limit", testDeletedEverywhere},
		{"reads show what is enforced", testReadsShowEnforced},
		{"Lb-Version never goes back", testVersionNeverBack},
		{"own writes are seen at once", testOwnWrites},
		{"If-Match", testIfMatch},
		{"increments by If-Match", testIncrements},
		{"one key for several", testOneKey},
		{"1,000 writers", testThousandWriters},
		{"histories of writes", testHistories},
		{"psql", testPsql},
		{"rename by psql", testRename},
		{"rolled back", testRolledBack},
		{"open transaction", testOpenTransaction},
		{"PATCH", testPatch},
		{"rotated key", testKeyRotated},
		{"changed plan", testPlanChanged},
		{"blocked and expiring", testBlockedAndExpiring},
		{"sent twice", testSentTwice},
		{"imported", testImported},
		{"many rows and TRUNCATE", testManyRows},
	} {
		t.Run(test.name, func(t *testing.T) {
			in.traffic.phase(t)
			test.run(t, in)
			requireUnhurt(t, test.name, in.traffic.phase(t))
		})
	}
	in.traffic.stop(t)
}

// awaitEnforced returns how long after begun the last of the balancers enforces a capacity.
func (in *instances) awaitEnforced(t *testing.T, begun time.Time, from string, capacity int64) time.Duration {
	t.Helper()
	var wg sync.WaitGroup
	var last atomic.Int64
	for i, b := range in.all {
		wg.Go(func() {
			for {
				a, err := b.request(from, "GET", b.proxy+"/", "")
				took := time.Since(begun)
				found := quotaField.FindStringSubmatch(a.header.Get("RateLimit-Policy"))
				switch {
				case err != nil || found == nil:
					t.Errorf("a request from %s got %s, %v", from, a, err)
					return
				case found[1] == strconv.FormatInt(capacity, 10):
					for old := last.Load(); old < int64(took) && !last.CompareAndSwap(old, int64(took)); old = last.Load() {
					}
					return
				case took > 5*time.Second:
					t.Errorf("after %s balancer %d enforces %s for %s, want %d", took, i, found[1], from, capacity)
					return
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	wg.Wait()
	return time.Duration(last.Load())
}

// requireSoon checks and tells how long changes took. The bound is that of a machine that does other
// things, too.
func requireSoon(t *testing.T, what string, took []time.Duration) {
	t.Helper()
	f := figuresOf(took)
	t.Logf("from %s until three balancers enforce it: %s", what, f)
	if f.p99 > 500*time.Millisecond {
		t.Errorf("the p99 is %s", f.p99)
	}
}

func rounds(short, inLongForm int) int {
	if *long {
		return inLongForm
	}
	return short
}

func testChangeEnforced(t *testing.T, in *instances) {
	const from = "127.0.3.1"
	in.all[0].must(t, 201, "POST", "/clients/", at(from, 999))
	var took []time.Duration
	for i := range rounds(60, 2000) {
		b, capacity := in.all[i%len(in.all)], int64(1000+i)
		b.must(t, 200, "PUT", "/clients/"+from, terms(capacity))
		took = append(took, in.awaitEnforced(t, time.Now(), from, capacity))
		if t.Failed() {
			return
		}
	}
	requireSoon(t, "the response to a change", took)
}

func testRowEnforced(t *testing.T, in *instances) {
	const from = "127.0.3.2"
	in.all[0].must(t, 201, "POST", "/clients/", at(from, 999))
	err := in.withConn(in.name, func(ctx context.Context, conn *pgx.Conn) error {
		var took []time.Duration
		for i := range rounds(30, 200) {
			capacity := int64(1000 + i)
			if _, err := conn.Exec(ctx, "UPDATE clients SET capacity = $1 WHERE ip_address = $2", capacity, from); err != nil {
				return err
			}
			took = append(took, in.awaitEnforced(t, time.Now(), from, capacity))
			if t.Failed() {
				return nil
			}
		}
		requireSoon(t, "the end of an UPDATE", took)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// requireGone waits until no balancer has a client, and checks that all have the default limit for
// it.
func (in *instances) requireGone(t *testing.T, address string) {
	t.Helper()
	requireQuota(t, in.all, address, defaultCapacity)
	for _, b := range in.all {
		b.must(t, 404, "GET", "/clients/"+address, "")
		b.must(t, 404, "GET", "/clients/"+address+"/usage", "")
	}
}

func testAllAgree(t *testing.T, in *instances) {
	const from = "127.0.3.3"
	created := in.all[0].must(t, 201, "POST", "/clients/", at(from, 33))
	requireQuota(t, in.all, from, 33)
	for i, b := range in.all {
		got := b.must(t, 200, "GET", "/clients/"+from, "")
		if got.body != created.body || got.header.Get("ETag") != created.header.Get("ETag") {
			t.Errorf("balancer %d has %s, want %s", i, got, created)
		}
		if got.header.Get("Lb-Stale") != "" {
			t.Errorf("balancer %d: %s", i, got)
		}
		var usage struct{ Allowed int64 }
		if a := b.must(t, 200, "GET", "/clients/"+from+"/usage", ""); json.Unmarshal([]byte(a.body), &usage) != nil || usage.Allowed == 0 {
			t.Errorf("the usage at balancer %d is %s", i, a)
		}
		b.must(t, 409, "POST", "/clients/", at(from, 34))
	}
	want := in.all[0].must(t, 200, "GET", "/clients/?limit=1000", "").body
	for i, b := range in.all {
		if got := b.must(t, 200, "GET", "/clients/?limit=1000", "").body; got != want {
			t.Errorf("the list of balancer %d is %s, want %s", i, got, want)
		}
		if got := b.metric(t, "lb_store_up"); got != "1" {
			t.Errorf("lb_store_up of balancer %d is %s", i, got)
		}
	}
}

func testDeletedEverywhere(t *testing.T, in *instances) {
	const from = "127.0.3.4"
	for i, b := range in.all {
		b.must(t, 201, "POST", "/clients/", at(from, 44))
		requireQuota(t, in.all, from, 44)
		in.all[(i+1)%len(in.all)].must(t, 204, "DELETE", "/clients/"+from, "")
		in.requireGone(t, from)
		b.must(t, 404, "DELETE", "/clients/"+from, "")
		b.must(t, 404, "PUT", "/clients/"+from, terms(45))
	}
}

// testReadsShowEnforced reads a client between two requests of it, while its capacity grows.
func testReadsShowEnforced(t *testing.T, in *instances) {
	const from = "127.0.3.5"
	in.all[0].must(t, 201, "POST", "/clients/", at(from, 1000))
	requireQuota(t, in.all, from, 1000)
	written := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(written)
		for i := range 100 {
			if a, err := in.all[0].try("PUT", "/clients/"+from, terms(int64(1001+i))); err != nil || a.status != 200 {
				t.Errorf("PUT: %s, %v", a, err)
			}
		}
	})
	for {
		select {
		case <-written:
			wg.Wait()
			requireQuota(t, in.all, from, 1100)
			return
		default:
		}
		for i, b := range in.all {
			before := b.quota(t, from)
			read := b.must(t, 200, "GET", "/clients/"+from, "").capacity(t)
			if after := b.quota(t, from); read < before || read > after {
				t.Errorf("balancer %d shows a capacity of %d; it enforced %d before and %d after", i, read, before, after)
			}
		}
	}
}

// testVersionNeverBack has several readers of each balancer while all are written to. A read that
// begins after another has ended shows its version or a later one, and no older record.
func testVersionNeverBack(t *testing.T, in *instances) {
	const from = "127.0.3.6"
	in.all[0].must(t, 201, "POST", "/clients/", at(from, 1000))
	requireQuota(t, in.all, from, 1000)
	written := make(chan struct{})
	var wg sync.WaitGroup
	end := sync.OnceFunc(func() {
		close(written)
		wg.Wait()
	})
	defer end() // of a test that fails, too
	for i, b := range in.all {
		var version, capacity atomic.Int64
		for range 2 {
			wg.Go(func() { readForward(t, fmt.Sprintf("balancer %d", i), b, from, &version, &capacity, written) })
		}
	}
	first := in.all[0].api(t, "GET", "/clients/"+from, "").header.Get("Lb-Version")
	for i := range 100 {
		in.all[i%len(in.all)].must(t, 200, "PUT", "/clients/"+from, terms(int64(1001+i)))
	}
	end()
	if last := in.all[0].api(t, "GET", "/clients/"+from, "").header.Get("Lb-Version"); first == last {
		t.Errorf("100 changes leave Lb-Version at %q", last)
	}
}

// readForward reads a client until ended is closed. The numbers are what has been read.
func readForward(t *testing.T, who string, b *instance, from string, version, capacity *atomic.Int64, ended <-chan struct{}) {
	raise := func(to *atomic.Int64, n int64) {
		for old := to.Load(); old < n && !to.CompareAndSwap(old, n); old = to.Load() {
		}
	}
	for n := 0; ; n++ {
		select {
		case <-ended:
			return
		default:
		}
		path := "/clients/" + from
		if n%2 == 1 {
			path = "/clients/?limit=1"
		}
		minVersion, minCapacity := version.Load(), capacity.Load()
		a, err := b.try("GET", path, "")
		got, parseErr := strconv.ParseInt(a.header.Get("Lb-Version"), 10, 64)
		if err != nil || a.status != 200 || parseErr != nil {
			t.Errorf("%s: got %s, %v", who, a, err)
			return
		}
		if got < minVersion {
			t.Errorf("%s: version %d was read after %d", who, got, minVersion)
		}
		raise(version, got)
		var c struct{ Capacity int64 }
		if n%2 == 1 || json.Unmarshal([]byte(a.body), &c) != nil {
			continue
		}
		if c.Capacity < minCapacity {
			t.Errorf("%s: capacity %d was read after %d", who, c.Capacity, minCapacity)
		}
		raise(capacity, c.Capacity)
	}
}

// testOwnWrites looks at the balancer that a write was sent to, while the others write, too.
func testOwnWrites(t *testing.T, in *instances) {
	var wg sync.WaitGroup
	for i, b := range in.all {
		wg.Go(func() {
			from := fmt.Sprintf("127.0.4.%d", i+1)
			for n := range int64(20) {
				for _, step := range []struct {
					method, path, body string
					status             int
					enforced           string
				}{
					{"POST", "/clients/", at(from, 10_000+n), 201, strconv.FormatInt(10_000+n, 10)},
					{"PUT", "/clients/" + from, terms(20_000 + n), 200, strconv.FormatInt(20_000+n, 10)},
					{"DELETE", "/clients/" + from, "", 204, strconv.FormatInt(defaultCapacity, 10)},
				} {
					if err := ownWrite(b, from, step.method, step.path, step.body, step.status, step.enforced); err != nil {
						t.Errorf("balancer %d, round %d: %v", i, n, err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}

// ownWrite writes, then asks for what is enforced and shown.
func ownWrite(b *instance, from, method, path, body string, status int, enforced string) error {
	written, err := b.try(method, path, body)
	if err != nil || written.status != status {
		return fmt.Errorf("%s: got %s, %w", method, written, err)
	}
	request, err := b.request(from, "GET", b.proxy+"/", "")
	if err != nil {
		return err
	}
	if q := quotaField.FindStringSubmatch(request.header.Get("RateLimit-Policy")); q == nil || q[1] != enforced {
		return fmt.Errorf("%s: the next request was limited by %v, want %s", method, q, enforced)
	}
	read, err := b.try("GET", "/clients/"+from, "")
	if err != nil {
		return err
	}
	var c struct{ Capacity int64 }
	switch gone := status == http.StatusNoContent; {
	case gone && read.status != http.StatusNotFound:
		return fmt.Errorf("%s: the next read got %s", method, read)
	case !gone && (json.Unmarshal([]byte(read.body), &c) != nil || strconv.FormatInt(c.Capacity, 10) != enforced):
		return fmt.Errorf("%s: the next read got %s", method, read)
	case !gone && read.body != written.body:
		return fmt.Errorf("%s: the next read got %s, want %s", method, read, written)
	}
	return nil
}

func testPsql(t *testing.T, in *instances) {
	const a, b = "127.0.3.10", "127.0.3.11"
	in.psql(t, insertInto+values(a, 70)+", "+values(b, 71))
	requireQuota(t, in.all, a, 70)
	requireQuota(t, in.all, b, 71)
	in.psql(t, "UPDATE clients SET capacity = capacity + 10 WHERE ip_address IN ('"+a+"', '"+b+"')")
	requireQuota(t, in.all, a, 80)
	requireQuota(t, in.all, b, 81)
	for i, lb := range in.all {
		if got := lb.must(t, 200, "GET", "/clients/"+a, "").capacity(t); got != 80 {
			t.Errorf("balancer %d shows %d", i, got)
		}
	}
	in.psql(t, "BEGIN; DELETE FROM clients WHERE ip_address = '"+a+"'; UPDATE clients SET capacity = 91 WHERE ip_address = '"+b+"'; COMMIT")
	requireQuota(t, in.all, b, 91)
	in.requireGone(t, a)
	in.psql(t, "DELETE FROM clients WHERE ip_address = '"+b+"'")
	in.requireGone(t, b)
	// As pg_dump has it, and with COPY.
	in.psql(t, "SET search_path = ''; INSERT INTO public.clients (ip_address, capacity, rate_per_second, created_at, updated_at) VALUES "+values(b, 92))
	requireQuota(t, in.all, b, 92)
	in.psql(t, "BEGIN ISOLATION LEVEL SERIALIZABLE; SET LOCAL search_path = ''; DELETE FROM public.clients WHERE ip_address = '"+b+"'; COMMIT")
	in.requireGone(t, b)
	in.psql(t, "COPY clients (ip_address, capacity, rate_per_second, created_at, updated_at) FROM PROGRAM 'echo 127.0.3.12,73,1,2026-01-01,2026-01-01' CSV")
	requireQuota(t, in.all, "127.0.3.12", 73)
	// What psql has changed, the API changes on.
	in.psql(t, insertInto+values(a, 70))
	requireQuota(t, in.all, a, 70)
	in.all[2].must(t, 200, "PUT", "/clients/"+a, terms(72))
	requireQuota(t, in.all, a, 72)
}

func testRename(t *testing.T, in *instances) {
	const key, before, after = "a-key-of-someone", "before", "after"
	in.all[0].must(t, 201, "POST", "/clients/", `{"name":"`+before+`","api_key":"`+key+`","capacity":60,"rate_per_second":1}`)
	const from = "127.0.3.20"
	requireQuota(t, in.all, from, 60, keyHeader+": "+key)
	in.psql(t, "UPDATE clients SET name = '"+after+"', capacity = 61 WHERE name = '"+before+"'")
	requireQuota(t, in.all, from, 61, keyHeader+": "+key)
	for _, b := range in.all {
		b.must(t, 404, "GET", "/clients/"+before, "")
		b.must(t, 200, "GET", "/clients/"+after, "")
	}
	in.all[1].must(t, 201, "POST", "/clients/", at("127.0.3.21", 62))
	requireQuota(t, in.all, "127.0.3.21", 62)
	in.psql(t, "UPDATE clients SET ip_address = '127.0.3.22' WHERE ip_address = '127.0.3.21'")
	requireQuota(t, in.all, "127.0.3.22", 62)
	in.requireGone(t, "127.0.3.21")
	// A name that is free again can be taken, and a key that goes to another client goes with it.
	in.psql(t, "BEGIN; DELETE FROM clients WHERE name = '"+after+"'; COMMIT")
	requireQuota(t, in.all, from, defaultCapacity, keyHeader+": "+key)
	in.all[2].must(t, 201, "POST", "/clients/", `{"name":"`+before+`","api_key":"`+key+`","capacity":63,"rate_per_second":1}`)
	requireQuota(t, in.all, from, 63, keyHeader+": "+key)
}

// testRolledBack waits for a change that follows one that was rolled back.
func testRolledBack(t *testing.T, in *instances) {
	const a, b, next = "127.0.3.30", "127.0.3.31", "127.0.3.32"
	in.all[0].must(t, 201, "POST", "/clients/", at(a, 50))
	requireQuota(t, in.all, a, 50)
	in.psql(t, "BEGIN; UPDATE clients SET capacity = 51 WHERE ip_address = '"+a+"'; "+insertInto+values(b, 52)+"; ROLLBACK")
	in.all[1].must(t, 201, "POST", "/clients/", at(next, 53))
	requireQuota(t, in.all, next, 53)
	for i, lb := range in.all {
		if gotA, gotB := lb.quota(t, a), lb.quota(t, b); gotA != 50 || gotB != defaultCapacity {
			t.Errorf("balancer %d enforces %d and %d", i, gotA, gotB)
		}
		lb.must(t, 404, "GET", "/clients/"+b, "")
	}
}

// testOpenTransaction commits a change after one that began later. No balancer may pass it over.
func testOpenTransaction(t *testing.T, in *instances) {
	const early, late = "127.0.3.40", "127.0.3.41"
	in.all[0].must(t, 201, "POST", "/clients/", at(early, 40))
	in.all[0].must(t, 201, "POST", "/clients/", at(late, 41))
	requireQuota(t, in.all, late, 41)
	changed := make(chan answer, 1)
	err := in.withConn(in.name, func(ctx context.Context, conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, "BEGIN; UPDATE clients SET capacity = 42 WHERE ip_address = '"+early+"'"); err != nil {
			return err
		}
		go func() {
			a, _ := in.all[1].try("PUT", "/clients/"+late, terms(43))
			changed <- a
		}()
		select { // it may wait for the transaction, or not
		case a := <-changed:
			changed <- a
		case <-time.After(300 * time.Millisecond):
		}
		for i, b := range in.all {
			if a := b.api(t, "GET", "/clients/"+early, ""); a.status != 200 || a.took > time.Second || a.capacity(t) != 40 {
				t.Errorf("while a transaction is open, balancer %d reads %s", i, a)
			}
		}
		_, err := conn.Exec(ctx, "COMMIT")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if a := <-changed; a.status != 200 {
		t.Errorf("PUT beside an open transaction: %s", a)
	}
	requireQuota(t, in.all, early, 42)
	requireQuota(t, in.all, late, 43)
}

func testManyRows(t *testing.T, in *instances) {
	const rows = 2000
	in.all[0].must(t, 201, "POST", "/clients/", at("127.0.3.51", 55))
	requireQuota(t, in.all, "127.0.3.51", 55)
	before := in.all[0].metric(t, "lb_clients") // what has expired is in the table only
	in.psql(t, "BEGIN; INSERT INTO clients (ip_address, capacity, rate_per_second, created_at, updated_at) "+
		fmt.Sprintf("SELECT ('10.20.' || n / 250 || '.' || n %% 250)::cidr, 5, 1, now(), now() FROM generate_series(0, %d) n; COMMIT", rows-1))
	count, err := strconv.Atoi(before)
	if err != nil {
		t.Fatal(err)
	}
	in.awaitClients(t, count+rows)
	in.psql(t, "UPDATE clients SET capacity = 6 WHERE ip_address <<= '10.20.0.0/16'; "+insertInto+values("127.0.3.50", 55))
	requireQuota(t, in.all, "127.0.3.50", 55)
	for _, b := range in.all {
		if got := b.must(t, 200, "GET", "/clients/10.20.7.249", "").capacity(t); got != 6 {
			t.Errorf("got a capacity of %d", got)
		}
	}
	in.psql(t, "TRUNCATE clients CASCADE") // with the keys
	in.awaitClients(t, 0)
	in.requireGone(t, "127.0.3.50")
	if lists := slices.Collect(func(yield func(string) bool) {
		for _, b := range in.all {
			if !yield(b.must(t, 200, "GET", "/clients/", "").body) {
				return
			}
		}
	}); slices.Compact(lists)[0] != "[]\n" {
		t.Errorf("after TRUNCATE the lists are %q", lists)
	}
	in.all[1].must(t, 201, "POST", "/clients/", at("127.0.3.50", 56))
	requireQuota(t, in.all, "127.0.3.50", 56)
}

func (in *instances) awaitClients(t *testing.T, count int) {
	t.Helper()
	for i, b := range in.all {
		waitFor(t, fmt.Sprintf("balancer %d to have %d clients", i, count), func() bool { return b.metric(t, "lb_clients") == strconv.Itoa(count) })
	}
}
