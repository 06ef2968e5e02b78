package faults

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// testPatch changes one field at each balancer, at once: none drops what another has set.
func testPatch(t *testing.T, in *instances) {
	const from = "127.0.13.1"
	path := "/clients/" + from
	in.all[0].must(t, 201, "POST", "/clients/", at(from, 10))
	var wg sync.WaitGroup
	for i, change := range []string{`{"capacity":11}`, `{"max_in_flight":12}`, `{"labels":{"team":"a"}}`} {
		wg.Go(func() {
			if a, err := in.all[i].try("PATCH", path, change); err != nil || a.status != 200 {
				t.Errorf("PATCH %s: %s, %v", change, a, err)
			}
		})
	}
	wg.Wait()
	requireQuota(t, in.all, from, 11)
	for i, b := range in.all {
		waitFor(t, "all three changes", func() bool {
			got := b.must(t, 200, "GET", path, "").body
			return strings.Contains(got, `"capacity":11`) && strings.Contains(got, `"max_in_flight":12`) && strings.Contains(got, `"team":"a"`)
		})
		if got := b.must(t, 200, "GET", "/clients/?label=team=a", "").body; !strings.Contains(got, from) {
			t.Errorf("the list of balancer %d by label is %s", i, got)
		}
	}
}

// testKeyRotated adds a key at one balancer and removes the old one at another, while a customer
// uses one and then the other at the third.
func testKeyRotated(t *testing.T, in *instances) {
	const from, before, after = "127.0.13.2", keyHeader + ": the key before", keyHeader + ": the key after"
	created := in.all[0].must(t, 201, "POST", "/clients/", `{"name":"rotated","api_key":"the key before","capacity":21,"rate_per_second":1}`)
	requireQuota(t, in.all, from, 21, before)
	var c struct {
		Keys []struct{ ID string } `json:"api_keys"`
	}
	if err := json.Unmarshal([]byte(created.body), &c); err != nil || len(c.Keys) != 1 {
		t.Fatalf("the keys of %s: %v", created, err)
	}
	in.all[1].must(t, 201, "POST", "/clients/rotated/keys", `{"api_key":"the key after"}`)
	requireQuota(t, in.all, from, 21, after)
	requireQuota(t, in.all, from, 21, before)
	in.all[2].must(t, 409, "POST", "/clients/", `{"name":"thief","api_key":"the key after","capacity":1,"rate_per_second":1}`)
	if a := in.all[0].api(t, "DELETE", "/clients/rotated/keys/"+c.Keys[0].ID, ""); a.status >= 300 {
		t.Fatalf("DELETE of the old key: %s", a)
	}
	requireQuota(t, in.all, from, defaultCapacity, before)
	requireQuota(t, in.all, from, 21, after)
}

// testPlanChanged changes a plan at one balancer. Its clients have the new numbers at all of them.
func testPlanChanged(t *testing.T, in *instances) {
	const from, own = "127.0.13.3", "127.0.13.4"
	if a := in.all[0].api(t, "PUT", "/plans/gold", `{"capacity":30,"rate_per_second":1}`); a.status != 200 && a.status != 201 {
		t.Fatalf("PUT of a plan: %s", a)
	}
	in.all[1].must(t, 201, "POST", "/clients/", `{"ip_address":"`+from+`","plan":"gold"}`)
	in.all[2].must(t, 201, "POST", "/clients/", `{"ip_address":"`+own+`","plan":"gold","capacity":31}`)
	requireQuota(t, in.all, from, 30)
	requireQuota(t, in.all, own, 31)
	in.all[2].must(t, 200, "PUT", "/plans/gold", `{"capacity":32,"rate_per_second":1}`)
	requireQuota(t, in.all, from, 32)
	requireQuota(t, in.all, own, 31)
	in.psql(t, "UPDATE plans SET capacity = 33 WHERE name = 'gold'")
	requireQuota(t, in.all, from, 33)
	if a := in.all[0].must(t, 409, "DELETE", "/plans/gold", ""); !strings.Contains(a.body, "2") {
		t.Errorf("DELETE of a plan in use does not tell by how many: %s", a)
	}
	in.all[0].must(t, 204, "DELETE", "/clients/"+from, "")
	in.all[1].must(t, 204, "DELETE", "/clients/"+own, "")
	in.all[2].must(t, 204, "DELETE", "/plans/gold", "")
	for _, b := range in.all {
		waitFor(t, "the plan to be gone", func() bool { return b.api(t, "GET", "/plans/gold", "").status == 404 })
	}
}

// testBlockedAndExpiring blocks a client at one balancer, and has another expire.
func testBlockedAndExpiring(t *testing.T, in *instances) {
	const blocked, expiring = "127.0.13.5", "127.0.13.6"
	statusOf := func(b *instance, from string) int {
		a, err := b.request(from, "GET", b.proxy+"/", "")
		if err != nil {
			t.Fatal(err)
		}
		return a.status
	}
	in.all[0].must(t, 201, "POST", "/clients/", `{"ip_address":"`+blocked+`","capacity":50,"rate_per_second":1,"blocked":true}`)
	for _, b := range in.all {
		waitFor(t, "403", func() bool { return statusOf(b, blocked) == 403 })
	}
	in.all[1].must(t, 200, "PATCH", "/clients/"+blocked, `{"blocked":false}`)
	for _, b := range in.all {
		waitFor(t, "200", func() bool { return statusOf(b, blocked) == 200 })
	}
	requireQuota(t, in.all, blocked, 50)

	end := time.Now().Add(2 * time.Second).UTC()
	in.all[2].must(t, 201, "POST", "/clients/", fmt.Sprintf(`{"ip_address":"%s","capacity":60,"rate_per_second":1,"expires_at":%q}`,
		expiring, end.Format(time.RFC3339Nano)))
	requireQuota(t, in.all, expiring, 60)
	for i, b := range in.all {
		waitFor(t, "the default limit", func() bool { return b.quota(t, expiring) == defaultCapacity })
		if early, late := time.Until(end), time.Since(end); early > 0 || late > busy {
			t.Errorf("balancer %d lets it expire %s after its time", i, late)
		}
	}
}

// testSentTwice repeats a POST with its Idempotency-Key at other balancers.
func testSentTwice(t *testing.T, in *instances) {
	const from, key = "127.0.13.7", "Idempotency-Key: 4f1c"
	first := in.all[0].must(t, 201, "POST", "/clients/", at(from, 70), key)
	for i, b := range in.all {
		if again := b.must(t, 201, "POST", "/clients/", at(from, 70), key); again.body != first.body || again.header.Get("Location") != first.header.Get("Location") {
			t.Errorf("balancer %d answers %s, before %s", i, again, first)
		}
		b.must(t, 422, "POST", "/clients/", at(from, 71), key)
	}
	// All at once: one of them counts.
	var wg sync.WaitGroup
	bodies := make([]string, 9)
	for n := range bodies {
		wg.Go(func() {
			a, err := in.all[n%len(in.all)].try("POST", "/clients/", at("127.0.13.8", 80), "Idempotency-Key: 4f1d")
			if bodies[n] = a.body; err != nil || a.status != 201 {
				t.Errorf("POST: %s, %v", a, err)
			}
		})
	}
	wg.Wait()
	if len(slices.Compact(bodies)) != 1 {
		t.Errorf("the responses differ: %q", bodies)
	}
}

// testImported imports clients at one balancer, exports them at another, and looks at the audit of
// the third.
func testImported(t *testing.T, in *instances) {
	const rows = 2500
	var lines strings.Builder
	for n := range rows {
		fmt.Fprintf(&lines, "{\"ip_address\":\"10.30.%d.%d\",\"capacity\":5,\"rate_per_second\":1}\n", n/250, n%250)
	}
	lines.WriteString("{\"ip_address\":\"10.30.0.300\",\"capacity\":5,\"rate_per_second\":1}\n")
	a := in.all[0].must(t, 200, "POST", "/import/clients", lines.String(), "Content-Type: application/x-ndjson")
	if !strings.Contains(a.body, strconv.Itoa(rows+1)) {
		t.Errorf("the report does not name the bad line: %s", a)
	}
	for i, b := range in.all {
		waitFor(t, fmt.Sprintf("the clients at balancer %d", i), func() bool {
			return strings.Count(b.must(t, 200, "GET", "/export/clients", "", "Accept: application/x-ndjson").body, `"10.30.`) == rows
		})
	}
	if got := in.all[1].quota(t, "127.0.13.9"); got != defaultCapacity {
		t.Errorf("a client beside them has %d", got)
	}
	in.all[2].must(t, 201, "POST", "/clients/", at("127.0.13.10", 90))
	for i, b := range in.all {
		if got := b.must(t, 200, "GET", "/audit", "").body; !strings.Contains(got, "127.0.13.10") || strings.Count(got, "10.30.") > 10 {
			t.Errorf("the audit at balancer %d: %.500s", i, got)
		}
	}
}

// TestImportUnderFaults imports while connections end. A batch is written as a whole or not at all,
// and an import that is sent once more completes what is there.
func TestImportUnderFaults(t *testing.T) {
	t.Parallel()
	const rows, batch = 10_000, 1000
	s := newSharedSite(t, overLink)
	var lines strings.Builder
	for n := range rows {
		fmt.Fprintf(&lines, "{\"ip_address\":\"10.40.%d.%d\",\"capacity\":5,\"rate_per_second\":1}\n", n/250, n%250)
	}
	stored := func() int {
		n, err := strconv.Atoi(s.query(t, s.name, "SELECT count(*) FROM clients WHERE ip_address <<= '10.40.0.0/16'"))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	ended := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-ended:
				return
			case <-time.After(150 * time.Millisecond):
				s.link.drop()
			}
		}
	})
	failed, before := 0, 0
	for begun := time.Now(); time.Since(begun) < 3*time.Second && stored() < rows; {
		a, err := s.all[0].try("POST", "/import/clients", lines.String(), "Content-Type: application/x-ndjson")
		if err != nil || a.status != 200 && a.status != 503 {
			t.Errorf("an import got %s, %v", a, err)
			break
		}
		if a.status == 503 {
			failed++
			time.Sleep(20 * time.Millisecond) // it has Retry-After, which is whole seconds
		}
		now := stored()
		if now%batch != 0 || now < before {
			t.Errorf("the table has %d of the rows, before %d: %s", now, before, a)
		}
		before = now
	}
	close(ended)
	wg.Wait()
	s.healed(t)
	s.all[1].must(t, 200, "POST", "/import/clients", lines.String(), "Content-Type: application/x-ndjson")
	if got := stored(); got != rows {
		t.Errorf("the table has %d rows, want %d", got, rows)
	}
	for i, b := range s.all {
		waitFor(t, fmt.Sprintf("the clients at balancer %d", i), func() bool { return b.metric(t, "lb_clients") == strconv.Itoa(rows+3) })
	}
	t.Logf("%d imports broke off", failed)
	requireUnhurt(t, "clients are imported", s.traffic.phase(t))
}
