package clients

import (
	"errors"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

func TestMigrateTwice(t *testing.T) {
	cfg := Config{Store: newDatabase(t), ConnectTimeout: 10 * time.Second}
	a, stop := startAPI(t, cfg)
	created := a.create("10.0.0.1", 7)
	stop()
	// As a newer version of the load balancer leaves it.
	execSQL(t, cfg.Store, "INSERT INTO clients_migrations (version) VALUES (9999)")
	a, _ = startAPI(t, cfg)
	if found := a.get("/10.0.0.1"); found != created {
		t.Errorf("got %+v, want %+v", found, created)
	}
}

func TestMigrateAtOnce(t *testing.T) {
	database := newDatabase(t)
	const instances = 6
	errs := make([]error, instances)
	var wg sync.WaitGroup
	for i := range instances {
		pool, err := pgxpool.New(t.Context(), database)
		if err != nil {
			t.Fatal(err)
		}
		defer pool.Close()
		if err := pool.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() { errs[i] = migrate(t.Context(), pool) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}

// TestMigrateFirstVersion starts over a table as the first version of the schema has filled it.
func TestMigrateFirstVersion(t *testing.T) {
	cfg := Config{Store: newDatabase(t), ConnectTimeout: 10 * time.Second}
	first, err := os.ReadFile("migrations/0001_clients.sql")
	if err != nil {
		t.Fatal(err)
	}
	execSQL(t, cfg.Store, string(first)+
		"CREATE TABLE clients_migrations (version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now());"+
		"INSERT INTO clients_migrations (version) VALUES (1);"+
		"INSERT INTO clients VALUES ('10.0.0.0/8', 7, 0.5, '2025-06-01 12:00:00.123456Z', '2025-06-01 12:30Z'),"+
		"('2001:db8::1', 8, 1, '2025-06-01 12:00Z', '2025-06-01 12:00Z')")

	a, _ := startAPI(t, cfg)
	a.limited("10.1.2.3", 7)
	a.limited("2001:db8::1", 8)
	const want = `[{"ip_address":"10.0.0.0/8","capacity":7,"rate_per_second":0.5,` +
		`"created_at":"2025-06-01T12:00:00.123456Z","updated_at":"2025-06-01T12:30:00Z"},` +
		`{"ip_address":"2001:db8::1","capacity":8,"rate_per_second":1,` +
		`"created_at":"2025-06-01T12:00:00Z","updated_at":"2025-06-01T12:00:00Z"}]`
	if got := a.call(http.StatusOK, "GET", "/", ""); strings.TrimSpace(got.body) != want {
		t.Errorf("got %s, want %s", got.body, want)
	}
	a.refuse(http.StatusConflict, "ip_address", "10.0.0.0/8", "POST", "/", `{"ip_address":"10.0.0.0/8","capacity":1,"rate_per_second":1}`)
	a.createNamed("acme", "the key of acme", 9)

	// What an instance of the first version, which is still running, writes.
	execSQL(t, cfg.Store, "INSERT INTO clients (ip_address, capacity, rate_per_second, created_at, updated_at) "+
		"VALUES ('10.0.0.9', 4, 2, now(), now())")
	if found := a.get("/10.0.0.9"); found.Capacity != 4 {
		t.Errorf("got %+v", found)
	}
}

// TestSchemaRefuses checks that the schema itself refuses invalid rows, which may be written by
// hand.
func TestSchemaRefuses(t *testing.T) {
	cfg := Config{Store: newDatabase(t), ConnectTimeout: 10 * time.Second}
	openStore(t, cfg)
	insert := func(columns, values string) error {
		return tryExecSQL(t, cfg.Store, "INSERT INTO clients ("+columns+", capacity, rate_per_second, created_at, updated_at) "+
			"VALUES ("+values+", 1, 1, now(), now())")
	}
	const digest = `sha256('x')`
	if err := insert("name, api_key_sha256, max_in_flight, trial_capacity, trial_rate_per_second", "'a', "+digest+", 1, 1, 1"); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ columns, values string }{
		{"shadow", "true"},
		{"ip_address, name, api_key_sha256", "'10.0.0.1', 'b', sha256('y')"},
		{"ip_address, api_key_sha256", "'10.0.0.1', sha256('y')"},
		{"name", "'b'"},
		{"name, api_key_sha256", "'a', sha256('y')"},
		{"name, api_key_sha256", "'b', " + digest},
		{"name, api_key_sha256", `'b', '\x00'`},
		{"name, api_key_sha256", "'1', sha256('y')"},
		{"name, api_key_sha256", "'ü', sha256('y')"},
		{"name, api_key_sha256", "E'b\n', sha256('y')"},
		{"name, api_key_sha256", "'', sha256('y')"},
		{"name, api_key_sha256", "repeat('b', 64), sha256('y')"},
		{"ip_address, max_in_flight", "'10.0.0.1', 0"},
		{"ip_address, shadow", "'10.0.0.1', NULL"},
		{"ip_address, trial_capacity", "'10.0.0.1', 1"},
		{"ip_address, trial_rate_per_second", "'10.0.0.1', 1"},
		{"ip_address, trial_capacity, trial_rate_per_second", "'10.0.0.1', 0, 1"},
		{"ip_address, trial_capacity, trial_rate_per_second", "'10.0.0.1', 1, 0"},
	} {
		pgError, ok := errors.AsType[*pgconn.PgError](insert(row.columns, row.values))
		if !ok || !strings.HasPrefix(pgError.Code, "23") { // integrity constraint violation
			t.Errorf("%s = %s: %v", row.columns, row.values, pgError)
		}
	}
}
