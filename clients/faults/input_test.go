package faults

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestBadInput sends what the API has to refuse to a balancer with PostgreSQL. Nothing of it may be
// done, and nothing may be told that the caller does not know.
func TestBadInput(t *testing.T) {
	t.Parallel()
	d := sharedCluster(t).newDatabase(t)
	all := startBalancers(t, 2, d.url())
	b := all[0]
	b.must(t, 201, "POST", "/clients/", at(seen, 7))
	b.must(t, 201, "POST", "/clients/", `{"name":"secret-holder","api_key":"the key of it","capacity":5,"rate_per_second":1}`)
	b.must(t, 201, "POST", "/clients/", `{"name":"other","api_key":"the other key","capacity":5,"rate_per_second":1}`)
	requireQuota(t, all, seen, 7)
	before := b.must(t, 200, "GET", "/clients/", "")
	inserted := d.query(t, d.name, "SELECT n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_user_tables WHERE relname = 'clients'")

	const quoted = `x'; DROP TABLE clients; --`
	client := func(identity, capacity, rate, more string) string {
		return `{` + identity + `,"capacity":` + capacity + `,"rate_per_second":` + rate + more + `}`
	}
	address, named := `"ip_address":"10.1.1.1"`, `"name":"someone","api_key":"a key of someone"`
	for _, call := range []struct {
		name, method, path, body string
		status                   int // 0: any from 400 to 499
		says                     string
	}{
		{"capacity 0", "POST", "/clients/", client(address, "0", "1", ""), 422, "capacity"},
		{"capacity below 0", "POST", "/clients/", client(address, "-1", "1", ""), 422, "capacity"},
		{"capacity too high", "POST", "/clients/", client(address, "1000000000000000", "1000000000", ""), 422, "capacity"},
		{"capacity over int64", "POST", "/clients/", client(address, "99999999999999999999", "1", ""), 0, "capacity"},
		{"a fraction of a token", "POST", "/clients/", client(address, "1.5", "1", ""), 0, "capacity"},
		{"capacity as text", "POST", "/clients/", client(address, `"5"`, "1", ""), 0, "capacity"},
		{"rate 0", "POST", "/clients/", client(address, "5", "0", ""), 422, "rate_per_second"},
		{"rate too high", "POST", "/clients/", client(address, "5", "1000000001", ""), 422, "rate_per_second"},
		{"rate over float64", "POST", "/clients/", client(address, "5", "1e400", ""), 0, "rate_per_second"},
		{"rate NaN", "POST", "/clients/", client(address, "5", "NaN", ""), 0, ""},
		{"full after 30 days", "POST", "/clients/", client(address, "1000000", "0.0001", ""), 422, "rate_per_second"},
		{"too much in flight", "POST", "/clients/", client(address, "5", "1", `,"max_in_flight":1000000001`), 422, "max_in_flight"},
		{"half a trial", "POST", "/clients/", client(address, "5", "1", `,"trial":{"capacity":5}`), 0, "trial"},
		{"an unknown field", "POST", "/clients/", client(address, "5", "1", `,"burst":5`), 0, "burst"},
		{"a key twice", "POST", "/clients/", client(address, "5", "1", `,"capacity":6`), 0, "capacity"},
		{"a key twice, in another case", "POST", "/clients/", client(address, "5", "1", `,"Capacity":6`), 0, "apacity"},
		{"no identity", "POST", "/clients/", client(`"shadow":true`, "5", "1", ""), 422, ""},
		{"two identities", "POST", "/clients/", client(address+","+named, "5", "1", ""), 422, ""},
		{"a name without a key", "POST", "/clients/", client(`"name":"someone"`, "5", "1", ""), 422, "api_key"},
		{"a key too short", "POST", "/clients/", client(`"name":"someone","api_key":"short"`, "5", "1", ""), 422, "api_key"},
		{"a key too long", "POST", "/clients/", client(`"name":"someone","api_key":"`+strings.Repeat("k", 4097)+`"`, "5", "1", ""), 422, "api_key"},
		{"a name too long", "POST", "/clients/", client(`"name":"`+strings.Repeat("n", 129)+`","api_key":"a key of someone"`, "5", "1", ""), 422, "name"},
		{"an empty name", "POST", "/clients/", client(`"name":"","api_key":"a key of someone"`, "5", "1", ""), 422, ""},
		{"a name that is a dot", "POST", "/clients/", client(`"name":".","api_key":"a key of someone"`, "5", "1", ""), 422, "name"},
		{"a name of two dots", "POST", "/clients/", client(`"name":"..","api_key":"a key of someone"`, "5", "1", ""), 422, "name"},
		{"a name that reads as an address", "POST", "/clients/", client(`"name":"10.1.2.3","api_key":"a key of someone"`, "5", "1", ""), 422, "name"},
		{"SQL in a name", "POST", "/clients/", client(`"name":"`+quoted+`","api_key":"a key of someone"`, "5", "1", ""), 422, "name"},
		{"SQL in an address", "POST", "/clients/", client(`"ip_address":"`+quoted+`"`, "5", "1", ""), 422, "ip_address"},
		{"SQL in a path", "GET", "/clients/x%27%3B%20DROP%20TABLE%20clients%3B%20--", "", 0, ""},
		{"SQL behind a client", "GET", "/clients/?after=x%27%3B%20DROP%20TABLE%20clients%3B%20--", "", 0, ""},
		{"NUL in a name", "POST", "/clients/", client(`"name":"some\u0000one","api_key":"a key of someone"`, "5", "1", ""), 422, "name"},
		{"half a surrogate pair", "POST", "/clients/", client(`"name":"some\ud800one","api_key":"a key of someone"`, "5", "1", ""), 0, ""},
		{"no UTF-8", "POST", "/clients/", client("\"name\":\"some\xffone\",\"api_key\":\"a key of someone\"", "5", "1", ""), 0, ""},
		{"no UTF-8 in a path", "GET", "/clients/%ff%fe", "", 0, ""},
		{"a range with host bits", "POST", "/clients/", client(`"ip_address":"10.1.2.3/8"`, "5", "1", ""), 422, "10.0.0.0/8"},
		{"a range with host bits, IPv6", "POST", "/clients/", client(`"ip_address":"2001:db8::1/32"`, "5", "1", ""), 422, "2001:db8::/32"},
		{"leading zeros", "POST", "/clients/", client(`"ip_address":"010.1.2.3"`, "5", "1", ""), 422, "ip_address"},
		{"a zone", "POST", "/clients/", client(`"ip_address":"fe80::1%eth0"`, "5", "1", ""), 422, "ip_address"},
		{"an address in use, mapped", "POST", "/clients/", client(`"ip_address":"::ffff:`+seen+`"`, "5", "1", ""), 409, seen},
		{"a key of another", "POST", "/clients/", client(`"name":"someone","api_key":"the key of it"`, "5", "1", ""), 409, "api_key"},
		{"a key of another, by PUT", "PUT", "/clients/other", client(`"api_key":"the key of it"`, "5", "1", ""), 409, "api_key"},
		{"nested arrays", "POST", "/clients/", strings.Repeat("[", 1<<20), 0, ""},
		{"nested objects", "POST", "/clients/", strings.Repeat(`{"a":`, 1<<20/5), 0, ""},
		{"nested in a field", "POST", "/clients/", `{"ip_address":` + strings.Repeat("[", 500_000) + strings.Repeat("]", 500_000) + `}`, 0, ""},
		{"a body over 1 MiB", "POST", "/clients/", `{"ip_address":"` + strings.Repeat("1", 1<<20) + `"}`, 413, ""},
		{"two documents", "POST", "/clients/", client(address, "5", "1", "") + client(address, "6", "1", ""), 0, ""},
		{"null", "POST", "/clients/", "null", 0, ""},
		{"an array", "POST", "/clients/", "[" + client(address, "5", "1", "") + "]", 0, ""},
		{"nothing", "POST", "/clients/", "", 0, ""},
		{"an unknown parameter", "GET", "/clients/?limits=5", "", 0, "limits"},
		{"a limit of text", "GET", "/clients/?limit=many", "", 0, "limit"},
	} {
		a, err := b.try(call.method, call.path, call.body)
		switch {
		case err != nil:
			t.Errorf("%s: %v", call.name, err)
		case a.status < 400 || a.status > 499 || call.status != 0 && a.status != call.status:
			t.Errorf("%s: got %s, want %d", call.name, a, call.status)
		case !strings.Contains(a.body, call.says) || !strings.Contains(a.header.Get("Content-Type"), "problem+json"):
			t.Errorf("%s: got %s, want problem+json that names %s", call.name, a, call.says)
		case strings.Contains(a.body, "secret-holder") || strings.Contains(a.body, "SQLSTATE") || len(a.body) > 2000:
			t.Errorf("%s: it tells too much: %.300s", call.name, a.body)
		case a.took > 2*time.Second:
			t.Errorf("%s: it took %s", call.name, a.took)
		}
	}
	after := b.must(t, 200, "GET", "/clients/", "")
	if after.body != before.body || after.header.Get("Lb-Version") != before.header.Get("Lb-Version") {
		t.Errorf("the list was %s, now it is %s", before, after)
	}
	if got := d.query(t, d.name, "SELECT count(*) FROM clients"); got != "3" {
		t.Errorf("the table has %s rows (%s statements before)", got, inserted)
	}
	requireQuota(t, all, seen, 7)
}

// TestLimitsOfFields writes each field at its limits, and reads it back at another balancer.
func TestLimitsOfFields(t *testing.T) {
	t.Parallel()
	d := sharedCluster(t).newDatabase(t)
	all := startBalancers(t, 2, d.url())
	for n, fields := range []string{
		`"capacity":1,"rate_per_second":0.000001`,
		`"capacity":1,"rate_per_second":1000000000`,
		`"capacity":999999999999999,"rate_per_second":1000000000`,
		`"capacity":2592000,"rate_per_second":1`,
		`"capacity":5,"rate_per_second":1,"max_in_flight":1000000000`,
		`"capacity":5,"rate_per_second":1,"trial":{"capacity":999999999999999,"rate_per_second":1000000000}`,
	} {
		for kind, identity := range []string{
			fmt.Sprintf(`"ip_address":"127.0.11.%d"`, n+1),
			fmt.Sprintf(`"ip_address":"2001:db8:%d::/48"`, n+1),
			fmt.Sprintf(`"name":"n%s%d","api_key":"%s%d"`, strings.Repeat("x", 60), n, strings.Repeat("k", 7), n),
		} {
			created := all[0].must(t, 201, "POST", "/clients/", "{"+identity+","+fields+"}")
			path := strings.TrimPrefix(created.header.Get("Location"), "/v1/api")
			waitFor(t, "the client at the other balancer", func() bool { return all[1].api(t, "GET", path, "").status == 200 })
			if got := all[1].must(t, 200, "GET", path, ""); got.body != created.body {
				t.Errorf("%d, %d: got %s, want %s", n, kind, got, created)
			}
			// What GET returned can be sent back.
			all[1].must(t, 200, "PUT", path, created.body)
			all[0].must(t, 204, "DELETE", path, "")
			all[0].must(t, 201, "POST", "/clients/", "{"+identity+","+fields+"}")
		}
	}
}
