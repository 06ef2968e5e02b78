package store

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/rs/zerolog"

	"loadbalancer/clients/store/pgtest"
	"loadbalancer/limiter"
)

// migrateBy brings an empty schema to a version, as the binary of that time has left it.
func migrateBy(t *testing.T, url string, files ...string) {
	t.Helper()
	statements := "CREATE TABLE clients_migrations (version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now());"
	for i, name := range files {
		text, err := os.ReadFile("migrations/" + name)
		if err != nil {
			t.Fatal(err)
		}
		statements += string(text) + fmt.Sprintf("INSERT INTO clients_migrations (version) VALUES (%d);", i+1)
	}
	pgtest.Exec(t, url, statements)
}

// openUnprepared returns a store that has not connected yet. It is closed when the test ends.
func openUnprepared(t *testing.T, url string) *Postgres {
	t.Helper()
	p, err := OpenPostgres(PostgresConfig{URL: url, Bounds: testBounds}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func TestMigrateTwice(t *testing.T) {
	url := pgtest.NewSchema(t)
	p := openPostgresURL(t, url, testBounds)
	(&opened{Store: p, t: t}).put(testClient("10.0.0.1", 7))
	// As a newer version of the load balancer leaves it.
	pgtest.Exec(t, url, "INSERT INTO clients_migrations (version) VALUES (9999)")
	again := openPostgresURL(t, url, testBounds)
	if n := len((&opened{t: t, records: func() Records { return loadAll(t, again) }}).all()); n != 1 {
		t.Errorf("%d clients", n)
	}
}

func TestMigrateAtOnce(t *testing.T) {
	url := pgtest.NewSchema(t)
	errs := make([]error, 6)
	var wg sync.WaitGroup
	for i := range errs {
		p := openUnprepared(t, url)
		wg.Go(func() { errs[i] = p.Prepare(within(t)) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}

// TestMigrateSecondVersion starts over a table as the second version has filled it. The keys move,
// and what cannot be enforced is told of and left out.
func TestMigrateSecondVersion(t *testing.T) {
	url := pgtest.NewSchema(t)
	migrateBy(t, url, "0001_clients.sql", "0002_names.sql")
	insert := func(columns, values string) string {
		return "INSERT INTO clients (" + columns + ", capacity, rate_per_second, created_at, updated_at) VALUES (" + values + ");"
	}
	const times = ", '2026-01-02 03:04:01.123456Z', '2026-01-02 03:04:02.123456Z'"
	pgtest.Exec(t, url, insert("ip_address", "'10.0.0.0/8', 7, 0.1"+times)+
		insert("name, api_key_sha256", "'acme', sha256('key of acme'), 8, 0.1"+times)+
		insert("ip_address", "'10.66.0.1', 1000000, 0.0001"+times)+
		insert("ip_address", "'10.66.0.2', 5, 'NaN'"+times)+
		insert("ip_address", "'10.66.0.3', 5, 'Infinity'"+times)+
		insert("ip_address", "'10.66.0.4', 5, 1, now(), 'infinity'")+
		insert("ip_address", "'::ffff:10.7.7.7/128', 5, 1"+times)+
		insert("ip_address, max_in_flight", "'10.66.0.5', 2000000000, 5, 1"+times))

	p := openPostgresURL(t, url, testBounds)
	m, bad := loadSome(t, p)
	all, _ := m.Clients(limiter.ID{}, 99)
	want := []Client{testClient("10.0.0.0/8", 7), testClient("acme", 8)}
	want[1].Keys[0].ID = all[1].Keys[0].ID
	sameClients(t, all, want)
	none := limiter.ID{}
	if len(bad) != 6 {
		t.Errorf("bad: %v", bad)
	}
	for _, b := range bad {
		if b.Err == nil || b.ID == none {
			t.Errorf("%s: %v", b.ID, b.Err)
		}
	}
	// What an instance of the second version, which is still running, writes.
	f := &follower{t, p, m}
	at := m.Position()
	pgtest.Exec(t, url, insert("name, api_key_sha256", "'old', sha256('old'), 4, 2, now(), now()")+
		"UPDATE clients SET api_key_sha256 = coalesce(NULL, api_key_sha256), capacity = 9, rate_per_second = 1 WHERE name = 'acme';"+
		"DELETE FROM clients WHERE ip_address = '10.66.0.1'")
	changes, err := f.store.Changes(within(t), at)
	if err != nil || changes.names() != "[acme old] [10.66.0.1] [] []" || len(changes.Clients[1].Keys) != 1 {
		t.Errorf("got %+v, %v", changes, err)
	}
	// A row that is bad is told of when it is changed, too.
	if err := pgtest.TryExec(t, url, "UPDATE clients SET shadow = true WHERE ip_address = '10.66.0.2'"); !isState(err, "23514") {
		t.Errorf("a bad row was changed: %v", err)
	}
	pgtest.Exec(t, url, "ALTER TABLE clients DROP CONSTRAINT clients_limit_check; UPDATE clients SET shadow = true WHERE ip_address = '10.66.0.2'")
	changes, err = f.store.Changes(within(t), changes.Position)
	if err != nil || len(changes.Bad) != 1 || changes.Bad[0].ID != idOf("10.66.0.2") || len(changes.Clients) > 0 {
		t.Errorf("got %+v, %v", changes, err)
	}
	// The API can repair it.
	(&opened{Store: p, t: t}).put(testClient("10.66.0.2", 3))
	if _, bad := loadSome(t, p); len(bad) != 4 {
		t.Errorf("bad: %v", bad)
	}
}

// TestBadRows has the rows that only a table without its constraints can hold.
func TestBadRows(t *testing.T) {
	url := pgtest.NewSchema(t)
	p := openPostgresURL(t, url, testBounds)
	(&opened{Store: p, t: t}).put(testClient("acme", 1), testClient("10.0.0.0/8", 1), testClient("bolt", 1))
	pgtest.Exec(t, url, "DO $$ DECLARE c record; BEGIN FOR c IN SELECT conname, conrelid::regclass AS r FROM pg_constraint WHERE (contype = 'c' OR conname = 'clients_plan_fkey') "+
		"AND connamespace = current_schema()::regnamespace LOOP EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', c.r, c.conname); END LOOP; END $$")
	for row, want := range map[string]string{
		"UPDATE clients SET labels = '[]' WHERE name = 'acme'":                                 "labels is no object",
		"UPDATE clients SET labels = '{\"a\": 1}' WHERE name = 'acme'":                         "labels is no object",
		"UPDATE clients SET expires_at = 'infinity' WHERE name = 'acme'":                       "expires_at is no time",
		"UPDATE clients SET created_at = '-infinity' WHERE name = 'acme'":                      "created_at is no time",
		"UPDATE clients SET capacity = NULL WHERE name = 'acme'":                               "capacity",
		"UPDATE clients SET name = '10.0.0.1' WHERE name = 'acme'":                             "a name has",
		"UPDATE client_keys SET sha256 = '\\x00' WHERE name = 'acme'":                          "API key",
		"UPDATE client_keys SET expires_at = 'infinity' WHERE id = 'k1'":                       "API key",
		"UPDATE clients SET ip_address = '::ffff:0:0/96' WHERE name IS NULL":                   "0.0.0.0/0",
		"UPDATE clients SET trial_capacity = 0, trial_rate_per_second = 1 WHERE name = 'acme'": "trial_capacity is not above 0",
		"INSERT INTO plans (name, capacity, rate_per_second) VALUES ('p', 0, 1)":               `plan "p"`,
		"ALTER TABLE client_keys DISABLE TRIGGER keys_changed; INSERT INTO client_keys (name, id, sha256) SELECT 'acme', n::text, sha256(n::text::bytea) FROM generate_series(1, 4) n": "5 API keys",
	} {
		t.Run(want, func(t *testing.T) {
			conn, err := pgx.Connect(t.Context(), url)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(context.Background())
			var before, after Position
			before, _, err = p.Checksum(within(t))
			if err != nil {
				t.Fatal(err)
			}
			const copies = "CREATE TEMP TABLE a AS TABLE clients; CREATE TEMP TABLE b AS TABLE client_keys; CREATE TEMP TABLE d AS TABLE plans;"
			const restore = "DELETE FROM client_keys; DELETE FROM clients; DELETE FROM plans; INSERT INTO plans TABLE d; " +
				"INSERT INTO clients OVERRIDING SYSTEM VALUE TABLE a; DELETE FROM client_keys; INSERT INTO client_keys TABLE b"
			if _, err := conn.Exec(t.Context(), copies+row); err != nil {
				t.Fatal(err)
			}
			m, bad := loadSome(t, p)
			after = m.Position()
			if len(bad) == 0 || !strings.Contains(bad[0].Err.Error(), want) {
				t.Errorf("bad: %v, want %s", bad, want)
			}
			changes, err := p.Changes(within(t), before)
			if err != nil || after != before && len(changes.Bad) != len(bad) && !strings.Contains(row, "client_keys") {
				t.Errorf("the delta has the bad rows %v, %v", changes.Bad, err)
			}
			if all, _ := m.Clients(limiter.ID{}, 9); len(all)+len(bad) < 3 {
				t.Errorf("%d clients are left", len(all))
			}
			if _, err := conn.Exec(t.Context(), restore); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestSchemaRefuses has the schema refuse what could not be enforced.
func TestSchemaRefuses(t *testing.T) {
	url := pgtest.NewSchema(t)
	openPostgresURL(t, url, testBounds)
	pgtest.Exec(t, url, "INSERT INTO plans (name, capacity, rate_per_second) VALUES ('gold', 1, 1)")
	insert := func(columns, values string) error {
		if !strings.Contains(" "+columns, " capacity,") {
			columns, values = columns+", capacity, rate_per_second", values+", 1, 1"
		}
		return pgtest.TryExec(t, url, "INSERT INTO clients ("+columns+") VALUES ("+values+")")
	}
	for _, row := range []struct{ columns, values string }{
		{"name, api_key_sha256, max_in_flight, trial_capacity, trial_rate_per_second", "'a', sha256('x'), 1, 1, 1"},
		{"name, api_key_sha256", "'0b4e7a46-5c1d-4a7a-8f5e-0a3c6a2f9b11', sha256('u')"},
		{"name", "'me+you@example.com'"}, {"name", "repeat('b', 128)"}, {"name", "'1.2.3'"}, {"name", "'1.2.3.x'"},
		{"ip_address, capacity, plan", "'10.0.0.9', NULL, 'gold'"}, {"ip_address, capacity, blocked", "'10.0.0.5', NULL, true"},
		{"ip_address, each", "'10.0.0.0/31', true"}, {"ip_address, each", "'2001:db8::/127', true"},
		{"ip_address, labels", `'10.0.0.8', '{"a": ""}'`},
		{"ip_address, capacity, rate_per_second", "'10.0.0.7', 999999999999999, 1e9"},
		{"ip_address, capacity, rate_per_second", "'10.0.0.6', 2592, 0.001"},
	} {
		if err := insert(row.columns, row.values); err != nil {
			t.Errorf("%s = %s: %v", row.columns, row.values, err)
		}
	}
	for _, row := range []struct{ columns, values string }{
		{"shadow", "true"},
		{"ip_address, name", "'10.0.0.1', 'b'"},
		{"ip_address, api_key_sha256", "'10.0.0.1', sha256('y')"},
		{"name, api_key_sha256", "'a', sha256('y')"},
		{"name, api_key_sha256", "'b', sha256('x')"},
		{"name, api_key_sha256", `'b', '\x00'`},
		{"name", "'ü'"}, {"name", "E'b\n'"}, {"name", "''"}, {"name", "repeat('b', 129)"}, {"name", "'.'"}, {"name", "'..'"}, {"name", "'010.1.1.1'"},
		{"name", "'a b'"}, {"name", "'::1'"}, {"name", "'a/8'"},
		{"ip_address", "'::ffff:10.7.7.7/128'"}, {"ip_address", "'::ffff:0:0/96'"},
		{"ip_address, max_in_flight", "'10.0.0.1', 0"}, {"ip_address, max_in_flight", "'10.0.0.1', 1000000001"},
		{"ip_address, shadow", "'10.0.0.1', NULL"},
		{"ip_address, trial_capacity", "'10.0.0.1', 1"},
		{"ip_address, trial_rate_per_second", "'10.0.0.1', 1"},
		{"ip_address, trial_capacity, trial_rate_per_second", "'10.0.0.1', 0, 1"},
		{"ip_address, trial_capacity, trial_rate_per_second", "'10.0.0.1', 1, 'NaN'"},
		{"ip_address, capacity, rate_per_second", "'10.0.0.1', 0, 1"},
		{"ip_address, capacity, rate_per_second", "'10.0.0.1', 1000000000000000, 1e9"},
		{"ip_address, capacity, rate_per_second", "'10.0.0.1', 2593, 0.001"},
		{"ip_address, capacity, rate_per_second", "'10.0.0.1', 1, 'Infinity'"},
		{"ip_address, capacity, rate_per_second", "'10.0.0.1', 1, 'NaN'"},
		{"ip_address, capacity, rate_per_second", "'10.0.0.1', 1, -1"},
		{"ip_address, capacity, rate_per_second", "'10.0.0.1', NULL, 1"},
		{"ip_address, plan", "'10.0.0.1', 'silver'"},
		{"ip_address, each", "'10.0.0.1', true"}, {"ip_address, each", "'::1', true"}, {"name, each", "'b', true"},
		{"ip_address, each, trial_capacity, trial_rate_per_second", "'10.0.0.0/8', true, 1, 1"},
		{"ip_address, labels", `'10.0.0.1', '{}'`}, {"ip_address, labels", `'10.0.0.1', '{"a": 1}'`}, {"ip_address, labels", `'10.0.0.1', '["a"]'`},
		{"ip_address, labels", `'10.0.0.1', '{"": "a"}'`}, {"ip_address, labels", `'10.0.0.1', jsonb_build_object('a', repeat('b', 64))`},
		{"ip_address, labels", `'10.0.0.1', (SELECT jsonb_object_agg(n, 'v') FROM generate_series(1, 17) n)`},
		{"ip_address, expires_at", "'10.0.0.1', 'infinity'"}, {"ip_address, created_at", "'10.0.0.1', '-infinity'"},
	} {
		err := insert(row.columns, row.values)
		if pgError, ok := errors.AsType[*pgconn.PgError](err); !ok || !strings.HasPrefix(pgError.Code, "23") { // integrity constraint violation
			t.Errorf("%s = %s: %v", row.columns, row.values, err)
		}
	}
	for _, statement := range []string{
		"DELETE FROM plans", "UPDATE plans SET capacity = 0", "UPDATE plans SET name = '1.1.1.1'", "UPDATE plans SET rate_per_second = 'NaN'",
		"UPDATE client_keys SET sha256 = ''", "UPDATE client_keys SET expires_at = 'infinity'", "UPDATE client_keys SET id = ''",
		"INSERT INTO client_keys (name, sha256) SELECT 'a', sha256(n::text::bytea) FROM generate_series(1, 4) n",
	} {
		if err := pgtest.TryExec(t, url, statement); err == nil {
			t.Errorf("%s is accepted", statement)
		}
	}
}

// role makes a role, and returns a function that turns a URL into one with it.
func role(t *testing.T, name, options string) func(string) string {
	t.Helper()
	pgtest.Exec(t, pgtest.URL(), "CREATE ROLE "+name+" LOGIN "+options)
	t.Cleanup(func() { pgtest.Exec(t, pgtest.URL(), "DROP ROLE "+name) })
	return func(text string) string {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.User(name)
		return u.String()
	}
}

// TestLeastPrivilege has a role with the right to read and write the tables do everything.
func TestLeastPrivilege(t *testing.T) {
	name := fmt.Sprintf("clients_test_app_%d", os.Getpid())
	as := role(t, name, "")
	owner := pgtest.NewSchema(t)
	schema := owner[strings.LastIndex(owner, "=")+1:]
	pgtest.Exec(t, owner, "GRANT USAGE ON SCHEMA "+schema+" TO "+name)

	err := openUnprepared(t, as(owner)).Prepare(within(t))
	if err == nil || !strings.Contains(err.Error(), "0003_versions.sql") || !strings.Contains(err.Error(), "CREATE") {
		t.Errorf("without a schema: %v", err)
	}
	migrateBy(t, owner, "0001_clients.sql", "0002_names.sql")
	grant := "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA " + schema + " TO " + name
	pgtest.Exec(t, owner, grant)
	err = openUnprepared(t, as(owner)).Prepare(within(t))
	if err == nil || !strings.Contains(err.Error(), "lacks 0003_versions.sql, and the role") {
		t.Errorf("with an old schema: %v", err)
	}
	openPostgresURL(t, owner, testBounds)
	p := openPostgresURL(t, as(owner), testBounds) // the rights on the clients are those on the new tables
	s := &opened{Store: p, t: t, records: func() Records { return loadAll(t, p) }}
	testOwnWrites(s)
	testAudit(s)
	testReplies(s)
	if err := p.Prune(within(t)); err != nil {
		t.Error(err)
	}
	pgtest.Exec(t, as(owner), "INSERT INTO clients (name, api_key_sha256, capacity, rate_per_second) VALUES ('hand', sha256('h'), 1, 1)")
	loadAll(t, p)

	pgtest.Exec(t, owner, "REVOKE DELETE ON client_keys, plans FROM "+name)
	err = openUnprepared(t, as(owner)).Prepare(within(t))
	if err == nil || !strings.Contains(err.Error(), "GRANT SELECT, INSERT, UPDATE, DELETE ON client_keys, plans") {
		t.Errorf("with a right too few: %v", err)
	}
	pgtest.Exec(t, owner, "DROP OWNED BY "+name)
}

func TestPermanentErrors(t *testing.T) {
	database := pgtest.NewDatabase(t)
	change := func(edit func(u *url.URL)) string {
		u, err := url.Parse(database)
		if err != nil {
			t.Fatal(err)
		}
		edit(u)
		return u.String()
	}
	role(t, pgtest.PasswordRole, "PASSWORD 'right'")
	wrong := change(func(u *url.URL) { u.User = url.UserPassword(pgtest.PasswordRole, "wrong") })
	for _, c := range []struct {
		url, want string
		permanent bool
	}{
		{change(func(u *url.URL) { u.User = url.User("clients_test_nobody") }), "no such role", true},
		{change(func(u *url.URL) { u.Path = "/clients_test_none" }), "no such database", true},
		{wrong, "refuses the password", true},
		{"postgres://lb:pw@127.0.0.1:1/lb", "refused", false},
	} {
		err := openUnprepared(t, c.url).Prepare(within(t))
		if err == nil || !strings.Contains(err.Error(), c.want) || Permanent(err) != c.permanent || strings.Contains(err.Error(), "wrong") {
			t.Errorf("%s: permanent %v: %v", c.url, Permanent(err), err)
		}
	}
}

// TestLockedTables has a person hold a lock while an instance starts.
func TestLockedTables(t *testing.T) {
	t.Parallel()
	url := pgtest.NewDatabase(t)
	migrateBy(t, url, "0001_clients.sql", "0002_names.sql")
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	p := openUnprepared(t, url)
	locked := func(what, lock string, call func() error) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), "BEGIN; "+lock); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		err := call()
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("process %d of role", conn.PgConn().PID())) || errors.Is(err, ErrUnknown) {
			t.Errorf("%s: %v after %s", what, err, time.Since(start))
		}
		if _, err := conn.Exec(t.Context(), "ROLLBACK"); err != nil {
			t.Fatal(err)
		}
	}
	locked("a migration", "LOCK TABLE clients IN ACCESS SHARE MODE", func() error { return p.Prepare(within(t)) })
	if err := p.Prepare(within(t)); err != nil {
		t.Fatal(err)
	}
	locked("a load", "LOCK TABLE clients", func() error { return p.Load(within(t), &countingSink{b: t}) })
	locked("a write", "UPDATE clients_version SET version = version", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := p.Write(ctx, func(tx Tx) error { return tx.Put([]Client{testClient("10.0.0.1", 1)}) })
		return err
	})
}
