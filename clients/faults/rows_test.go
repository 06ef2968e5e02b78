package faults

import (
	"os"
	"strings"
	"testing"
)

// badRows are rows that the limiter or the API would refuse: columns, values, and what the row is
// told by.
var badRows = []struct{ name, columns, values, shown string }{
	{"NaN", "ip_address, capacity, rate_per_second", "'10.66.0.1', 5, 'NaN'", "10.66.0.1"},
	{"Infinity", "ip_address, capacity, rate_per_second", "'10.66.0.2', 5, 'Infinity'", "10.66.0.2"},
	{"a rate that is too high", "ip_address, capacity, rate_per_second", "'10.66.0.3', 5, 1e10", "10.66.0.3"},
	{"a bucket that is full after 30 days", "ip_address, capacity, rate_per_second", "'10.66.0.4', 1000000, 0.0001", "10.66.0.4"},
	{"a capacity that is too high", "ip_address, capacity, rate_per_second", "'10.66.0.5', 1000000000000000, 1e9", "10.66.0.5"},
	{"no capacity", "ip_address, capacity, rate_per_second", "'10.66.0.6', 0, 1", "10.66.0.6"},
	{"too much in flight", "ip_address, capacity, rate_per_second, max_in_flight", "'10.66.0.7', 5, 1, 10000000000", "10.66.0.7"},
	{"NaN of a trial", "ip_address, capacity, rate_per_second, trial_capacity, trial_rate_per_second", "'10.66.0.8', 5, 1, 5, 'NaN'", "10.66.0.8"},
	{"a trial that is full after 30 days", "ip_address, capacity, rate_per_second, trial_capacity, trial_rate_per_second",
		"'10.66.0.9', 5, 1, 1000000, 0.0001", "10.66.0.9"},
	{"a mapped address", "ip_address, capacity, rate_per_second", "'::ffff:10.66.0.10/128', 5, 1", "10.66.0.10"},
	{"a mapped range", "ip_address, capacity, rate_per_second", "'::ffff:10.66.11.0/120', 5, 1", "10.66.11.0"},
	{"a name that reads as an address", namedColumns, "'10.66.0.12', " + digest, "10.66.0.12"},
	{"a name that is a dot", namedColumns, "'.', " + digest, "."},
	{"a name of two dots", namedColumns, "'..', " + digest, ".."},
	{"a name with a slash", namedColumns, "'a/b', " + digest, "a/b"},
	{"an empty name", namedColumns, "'', " + digest, ""},
	{"a long name", namedColumns, "repeat('n', 129), " + digest, strings.Repeat("n", 129)},
	{"a short digest", namedColumns, "'digest', 5, 1, '\\x0102'", "digest"},
}

const (
	namedColumns = "name, capacity, rate_per_second, api_key_sha256"
	digest       = "5, 1, decode(md5(random()::text) || md5(random()::text), 'hex')"
)

func insertRow(columns, values string) string {
	return "INSERT INTO clients (" + columns + ", created_at, updated_at) SELECT " + values + ", now(), now()"
}

// TestBadRows writes rows by hand. The table refuses them; where it has lost its constraints, each
// is told of and left out, and the rest is served.
func TestBadRows(t *testing.T) {
	t.Parallel()
	d := sharedCluster(t).newDatabase(t)
	all := startBalancers(t, 2, d.url())
	all[0].must(t, 201, "POST", "/clients/", at(seen, 7))
	for _, row := range badRows {
		if err := d.tryExec(d.name, insertRow(row.columns, row.values)); err == nil {
			t.Errorf("the table takes %s", row.name)
			d.sql(t, "DELETE FROM clients WHERE ip_address IS DISTINCT FROM '"+seen+"'")
		}
	}
	d.sql(t, `DO $$ DECLARE c record; BEGIN
		FOR c IN SELECT conname, conrelid::regclass AS name FROM pg_constraint
			WHERE contype = 'c' AND connamespace = 'public'::regnamespace LOOP
			EXECUTE 'ALTER TABLE ' || c.name || ' DROP CONSTRAINT ' || quote_ident(c.conname);
		END LOOP; END $$`)
	for _, row := range badRows {
		d.sql(t, insertRow(row.columns, row.values))
	}
	// Those that run hear of the good rows behind the bad ones.
	d.sql(t, "UPDATE clients SET capacity = 8 WHERE ip_address = '"+seen+"'")
	requireQuota(t, all, seen, 8)
	// One that starts serves the good ones.
	started := startBalancer(t, d.url(), options{})
	all = append(all, started)
	requireQuota(t, all, seen, 8)
	all[0].must(t, 201, "POST", "/clients/", at("127.0.7.40", 9))
	requireQuota(t, all, "127.0.7.40", 9)
	for i, b := range all {
		if got := b.must(t, 200, "GET", "/clients/?limit=1000", ""); strings.Count(got.body, `"capacity"`) != 2 {
			t.Errorf("the list of balancer %d is %s", i, got.body)
		}
		for _, row := range badRows {
			if len(row.shown) > 2 {
				b.Log.Require(t, row.name, row.shown)
			}
		}
		if lines := b.Log.With("10.66.0.1\""); len(lines) > 3 {
			t.Errorf("balancer %d tells of one row %d times", i, len(lines))
		}
		if got := b.quota(t, "127.0.7.41"); got != defaultCapacity {
			t.Errorf("balancer %d enforces %d", i, got)
		}
	}
	// A row that is mended is served.
	d.sql(t, "UPDATE clients SET rate_per_second = 1, ip_address = '127.0.7.42' WHERE ip_address = '10.66.0.1'")
	requireQuota(t, all, "127.0.7.42", 5)
	// A good one that is broken by hand loses its limit, and is told of, or keeps the one it had.
	d.sql(t, "UPDATE clients SET rate_per_second = 'NaN' WHERE ip_address = '127.0.7.40'; UPDATE clients SET capacity = 9 WHERE ip_address = '"+seen+"'")
	requireQuota(t, all, seen, 9)
	for _, b := range all {
		b.Log.Require(t, "a row that was broken", "127.0.7.40")
	}
}

// TestOldSchema starts balancers on tables that an earlier version has made, with rows that it took
// and that are refused today.
func TestOldSchema(t *testing.T) {
	t.Parallel()
	d := sharedCluster(t).newDatabase(t)
	for _, file := range []string{"0001_clients.sql", "0002_names.sql"} { // a released file never changes
		statements, err := os.ReadFile("../store/migrations/" + file)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.asRole(role, rolePassword, string(statements)); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.asRole(role, rolePassword, "CREATE TABLE clients_migrations (version integer PRIMARY KEY, "+
		"applied_at timestamptz NOT NULL DEFAULT now()); INSERT INTO clients_migrations (version) VALUES (1), (2)"); err != nil {
		t.Fatal(err)
	}
	d.sql(t, insertInto+values(seen, 7))
	d.sql(t, insertRow("name, capacity, rate_per_second, api_key_sha256", "'someone', 5, 1, sha256('a key of someone')"))
	d.sql(t, insertRow("ip_address, capacity, rate_per_second", "'10.66.0.1', 5, 'NaN'"))
	d.sql(t, insertRow("ip_address, capacity, rate_per_second", "'10.66.0.4', 1000000, 0.0001"))
	d.sql(t, insertRow("ip_address, capacity, rate_per_second", "'::ffff:10.66.0.10/128', 5, 1"))
	all := startBalancers(t, 3, d.url())
	requireQuota(t, all, seen, 7)
	requireQuota(t, all, "127.0.7.50", 5, keyHeader+": a key of someone")
	for i, b := range all {
		if got := b.must(t, 200, "GET", "/clients/?limit=1000", ""); strings.Count(got.body, `"capacity"`) != 2 {
			t.Errorf("the list of balancer %d is %s", i, got.body)
		}
		for _, address := range []string{"10.66.0.1", "10.66.0.4", "10.66.0.10"} {
			b.Log.Require(t, "a bad row", address)
		}
	}
	all[0].must(t, 200, "PUT", "/clients/"+seen, terms(8))
	requireQuota(t, all, seen, 8)
	// An earlier version writes, too, during a rollout.
	d.sql(t, "UPDATE clients SET capacity = 9 WHERE ip_address = '"+seen+"'")
	requireQuota(t, all, seen, 9)
	if err := d.tryExec(d.name, insertRow("ip_address, capacity, rate_per_second", "'10.66.0.2', 5, 'NaN'")); err == nil {
		t.Error("the table takes a new row that is refused today")
	}
}
