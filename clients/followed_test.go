package clients

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"

	"loadbalancer/clients/store/pgtest"
	"loadbalancer/limiter"
)

// eventually fails the test unless the condition holds within 20 s.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// capacityOf returns the capacity that the limiter grants an address.
func (a *api) capacityOf(addr string) int64 { return admit(a.limiter, addr, "").Capacity }

var standardCapacity = limiter.DefaultConfig().Default.Capacity

// TestChangesByHand makes changes with SQL on a running instance.
func TestChangesByHand(t *testing.T) {
	cfg := postgresConfig(t)
	a, _ := startAPI(t, cfg)
	version := func() string { return a.call(http.StatusOK, "GET", "/", "").header.Get("Lb-Version") }
	before := version()
	for _, step := range []struct {
		sql  string
		addr string
		want int64
	}{
		{"INSERT INTO clients (ip_address, capacity, rate_per_second) VALUES ('10.0.0.1', 5, 1), ('10.0.0.2', 6, 1)", "10.0.0.2", 6},
		{"UPDATE clients SET capacity = 7 WHERE ip_address = '10.0.0.1'", "10.0.0.1", 7},
		{"UPDATE clients SET ip_address = '10.0.0.3' WHERE ip_address = '10.0.0.1'", "10.0.0.3", 7},
		{"BEGIN; UPDATE clients SET capacity = 8; ROLLBACK; UPDATE clients SET capacity = 9 WHERE ip_address = '10.0.0.2'", "10.0.0.2", 9},
		{"DELETE FROM clients WHERE ip_address = '10.0.0.2'", "10.0.0.2", standardCapacity},
		{"INSERT INTO plans (name, capacity, rate_per_second) VALUES ('gold', 11, 1); INSERT INTO clients (ip_address, plan) VALUES ('10.0.0.4', 'gold')", "10.0.0.4", 11},
		{"UPDATE plans SET capacity = 12", "10.0.0.4", 12},
		{"TRUNCATE clients CASCADE", "10.0.0.4", standardCapacity},
	} {
		pgtest.Exec(t, cfg.Store, step.sql)
		eventually(t, step.sql, func() bool { return a.capacityOf(step.addr) == step.want })
	}
	a.limited("10.0.0.1", standardCapacity)
	a.limited("10.0.0.3", standardCapacity)
	if after := version(); after == before {
		t.Errorf("the version is %s as before", after)
	}
}

// TestChangesBehindTheTriggers makes a change that no version tells of. The next session finds it.
func TestChangesBehindTheTriggers(t *testing.T) {
	cfg := postgresConfig(t)
	a, _ := startAPI(t, cfg)
	a.create("10.0.0.1", 7)
	a.create("10.0.0.2", 8)
	pgtest.Exec(t, cfg.Store, "SET session_replication_role = replica; "+
		"UPDATE clients SET capacity = 9 WHERE ip_address = '10.0.0.1'; DELETE FROM clients WHERE ip_address = '10.0.0.2'")
	allowConnections(t, cfg.Store, false)
	allowConnections(t, cfg.Store, true)
	eventually(t, "the change is enforced", func() bool { return a.capacityOf("10.0.0.1") == 9 })
	// The API shows what is loaded once all of it is enforced.
	eventually(t, "the change is shown", func() bool { return !strings.Contains(a.call(http.StatusOK, "GET", "/", "").body, "10.0.0.2") })
	a.limited("10.0.0.2", standardCapacity)
	a.call(http.StatusNotFound, "GET", "/10.0.0.2", "")
}

func TestUntilNextVerify(t *testing.T) {
	for missed, want := range []time.Duration{10 * time.Minute, 15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute,
		4 * time.Minute, 8 * time.Minute, 10 * time.Minute, 10 * time.Minute} {
		if got := untilNextVerify(missed); got != want {
			t.Errorf("after %d missed ones: got %s, want %s", missed, got, want)
		}
	}
}

// TestRestoredDump restores a dump under a running instance, which then writes as many versions as
// the dump lacks.
func TestRestoredDump(t *testing.T) {
	cfg := postgresConfig(t)
	a, _ := startAPI(t, cfg)
	a.create("10.0.0.1", 7)
	pgtest.Exec(t, cfg.Store, "CREATE TABLE dumped (LIKE clients_version INCLUDING ALL); INSERT INTO dumped SELECT * FROM clients_version")
	a.create("10.0.0.2", 8)
	pgtest.Exec(t, cfg.Store, "SET session_replication_role = replica; DELETE FROM clients WHERE ip_address = '10.0.0.2'; "+
		"DROP TABLE clients_version; ALTER TABLE dumped RENAME TO clients_version")
	a.create("10.0.0.3", 9)
	a.call(http.StatusOK, "GET", "/10.0.0.3", "")
	a.limited("10.0.0.3", 9)
	a.limited("10.0.0.2", standardCapacity)
	a.call(http.StatusNotFound, "GET", "/10.0.0.2", "")
	a.limited("10.0.0.1", 7)
}

// TestRowsThatCannotBeEnforced has rows from before the constraints that would refuse them.
func TestRowsThatCannotBeEnforced(t *testing.T) {
	cfg := postgresConfig(t)
	_, stop := startService(t, cfg, testLimiter(), keysAreRead, zerolog.Nop())
	stop()
	pgtest.Exec(t, cfg.Store, "ALTER TABLE clients DROP CONSTRAINT clients_limit_check, DROP CONSTRAINT clients_mapped_check; "+
		"INSERT INTO clients (ip_address, capacity, rate_per_second) VALUES "+
		"('10.0.0.1', 5, 'NaN'), ('10.0.0.2', 5, 'Infinity'), ('::ffff:10.0.0.3/128', 5, 1), ('10.0.0.4', 5, 1)")
	var log bytes.Buffer
	lim := limiter.New(limiter.DefaultConfig())
	service, stopService := startService(t, cfg, lim, keysAreRead, zerolog.New(zerolog.SyncWriter(&log)))
	a := &api{t: t, limiter: lim}
	for _, addr := range []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"} {
		a.limited(addr, standardCapacity)
	}
	a.limited("10.0.0.4", 5)
	if warning := service.Warning(); !strings.Contains(warning, "3 clients") {
		t.Errorf("/readyz says %q", warning)
	}
	pgtest.Exec(t, cfg.Store, "UPDATE clients SET rate_per_second = 1 WHERE ip_address = '10.0.0.1'; DELETE FROM clients WHERE ip_address = '10.0.0.2'")
	eventually(t, "one is left", func() bool { return strings.Contains(service.Warning(), "1 client that") })
	pgtest.Exec(t, cfg.Store, "DELETE FROM clients WHERE ip_address = '::ffff:10.0.0.3/128'")
	eventually(t, "a row is mended", func() bool { return a.capacityOf("10.0.0.1") == 5 && service.Warning() == "" })
	stopService()
	if told := strings.Count(log.String(), "is not enforced"); told != 3 {
		t.Errorf("the log tells of %d rows: %s", told, &log)
	}
}

// TestPlanMendedByHand has a plan that is invalid for a client, which is there again once the plan is
// mended.
func TestPlanMendedByHand(t *testing.T) {
	cfg := postgresConfig(t)
	a, _ := startAPI(t, cfg)
	pgtest.Exec(t, cfg.Store, "INSERT INTO plans (name, capacity, rate_per_second) VALUES ('gold', 10, 1);"+
		"INSERT INTO clients (ip_address, plan, capacity) VALUES ('10.0.0.1', 'gold', 900000)")
	eventually(t, "the client has its limit", func() bool { return a.capacityOf("10.0.0.1") == 900000 })
	pgtest.Exec(t, cfg.Store, "UPDATE plans SET rate_per_second = 0.01; UPDATE clients SET labels = '{\"a\": \"b\"}'")
	eventually(t, "the client is left out", func() bool { return a.capacityOf("10.0.0.1") == standardCapacity })
	a.call(http.StatusOK, "GET", "/10.0.0.1", "")
	cfg.Snapshot = ""
	other, _ := startAPI(t, cfg) // has never seen the plan as it was
	other.call(http.StatusOK, "GET", "/10.0.0.1", "")
	pgtest.Exec(t, cfg.Store, "UPDATE plans SET rate_per_second = 1")
	for _, one := range []*api{a, other} {
		eventually(t, "the client has its limit again", func() bool { return one.capacityOf("10.0.0.1") == 900000 })
	}
}

// TestWriteThatIsNotReadBack has writes that are committed while what has changed cannot be read.
func TestWriteThatIsNotReadBack(t *testing.T) {
	cfg := postgresConfig(t)
	lim := testLimiter()
	service := New(cfg, lim, keysAreRead, zerolog.Nop())
	if err := service.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer service.Close()
	conn, err := pgx.Connect(t.Context(), cfg.Store)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), "BEGIN; LOCK TABLE clients_deleted"); err != nil {
		t.Fatal(err)
	}
	a := &api{t: t, limiter: lim}
	for i := range 5 {
		ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
		addr := fmt.Sprint("10.0.0.", i)
		d := draft{id: limiter.ID{Prefix: netip.MustParsePrefix(addr + "/32")}, own: limiter.Terms{Limit: limiter.Limit{Capacity: 7, RatePerSecond: 1}}}
		if _, err := service.usecase.create(ctx, call{}, d); err != nil {
			t.Error(err)
		}
		cancel()
		a.limited(addr, 7)
	}
}

// TestPostgresAway takes PostgreSQL away from a running instance.
func TestPostgresAway(t *testing.T) {
	cfg := postgresConfig(t)
	a, _ := startAPI(t, cfg)
	a.create("10.0.0.1", 7)
	at := a.call(http.StatusOK, "GET", "/10.0.0.1", "").header

	allowConnections(t, cfg.Store, false)
	eventually(t, "reads are stale", func() bool {
		got := a.call(http.StatusOK, "GET", "/10.0.0.1", "").header
		return got.Get("Lb-Stale") != "" && got.Get("Lb-Version") == at.Get("Lb-Version")
	})
	for _, c := range [][3]string{
		{"PUT", "/10.0.0.1", `{"capacity":8,"rate_per_second":1}`},
		{"PATCH", "/10.0.0.1", `{"capacity":8}`},
		{"DELETE", "/10.0.0.1", ""},
		{"POST", "/", `{"ip_address":"10.0.0.2","capacity":8,"rate_per_second":1}`},
	} {
		began := time.Now()
		got := a.call(http.StatusServiceUnavailable, c[0], c[1], c[2])
		if got.header.Get("Retry-After") == "" || strings.Contains(got.body, "outcome") || time.Since(began) > time.Second {
			t.Errorf("%s: %v %s after %s", c[0], got.header, got.body, time.Since(began))
		}
	}
	a.limited("10.0.0.1", 7)
	a.call(http.StatusOK, "GET", limitedPath, "")
	a.call(http.StatusOK, "GET", "/10.0.0.1/usage", "")
	a.call(http.StatusNoContent, "POST", "/10.0.0.1/reset", "")
	a.refuse(http.StatusNotFound, "", "10.0.0.2", "GET", "/10.0.0.2/usage", "")

	allowConnections(t, cfg.Store, true)
	eventually(t, "it is back", func() bool {
		return send(t, "PUT", a.base+collection+"/10.0.0.1", `{"capacity":8,"rate_per_second":1}`).status == http.StatusOK
	})
	a.limited("10.0.0.1", 8)
	if got := a.call(http.StatusOK, "GET", "/10.0.0.1", "").header; got.Get("Lb-Stale") != "" {
		t.Errorf("Lb-Stale is %s when it is back", got.Get("Lb-Stale"))
	}
}

// TestStartFromTheSnapshot starts without PostgreSQL, with the snapshot of an earlier run.
func TestStartFromTheSnapshot(t *testing.T) {
	cfg := postgresConfig(t)
	a, stop := startAPI(t, cfg)
	a.create("10.0.0.1", 7)
	a.createNamed("acme", "the key of acme", 8)
	stop()
	allowConnections(t, cfg.Store, false)
	a, _ = startAPI(t, cfg)
	a.limited("10.0.0.1", 7)
	a.limitedByKey("the key of acme", 8)
	if got := a.call(http.StatusOK, "GET", "/acme", "").header; got.Get("Lb-Stale") == "" {
		t.Error("a read from the snapshot is not marked")
	}
	allowConnections(t, cfg.Store, true)
	pgtest.Exec(t, cfg.Store, "UPDATE clients SET capacity = 9 WHERE name = 'acme'")
	eventually(t, "the truth comes", func() bool { return admit(a.limiter, "192.0.2.1", "the key of acme").Capacity == 9 })
}

// TestStartWithNothing starts without PostgreSQL and without a snapshot: it waits for
// connect_timeout, and serves without clients.
func TestStartWithNothing(t *testing.T) {
	cfg := postgresConfig(t)
	allowConnections(t, cfg.Store, false)
	cfg.Snapshot, cfg.ConnectTimeout = "", 700*time.Millisecond
	var log bytes.Buffer
	lim := limiter.New(limiter.DefaultConfig())
	began := time.Now()
	service, stopService := startService(t, cfg, lim, keysAreRead, zerolog.New(zerolog.SyncWriter(&log)))
	if took := time.Since(began); took < cfg.ConnectTimeout || took > cfg.ConnectTimeout+8*time.Second {
		t.Errorf("it served after %s", took)
	}
	if warning := service.Warning(); !strings.Contains(warning, "no registered limit or block holds") {
		t.Errorf("/readyz says %q", warning)
	}
	base, stop := serve(t, service.Register, true)
	defer stop()
	if got := send(t, "GET", base+collection, ""); got.status != http.StatusServiceUnavailable {
		t.Errorf("the list of clients that have not come is %d %s", got.status, got.body)
	}
	allowConnections(t, cfg.Store, true)
	eventually(t, "the truth comes", func() bool { return service.Warning() == "" })
	if got := send(t, "POST", base+collection, `{"ip_address":"10.0.0.1","capacity":5,"rate_per_second":1}`); got.status != http.StatusCreated {
		t.Errorf("a call is %d %s", got.status, got.body)
	}
	stopService()
	if !strings.Contains(log.String(), "no registered limit or block holds") || strings.Count(log.String(), "trying again") < 2 {
		t.Errorf("the log is %s", &log)
	}
}

// TestPermanentFault ends the start at once without a snapshot, and not with one.
func TestPermanentFault(t *testing.T) {
	cfg := postgresConfig(t)
	a, stop := startAPI(t, cfg)
	a.create("10.0.0.1", 7)
	stop()
	known, err := url.Parse(cfg.Store)
	if err != nil {
		t.Fatal(err)
	}
	known.Path = "/no_such_database"
	cfg.Store = known.String()
	a, _ = startAPI(t, cfg)
	a.limited("10.0.0.1", 7)

	cfg.Snapshot, cfg.ConnectTimeout = filepath.Join(t.TempDir(), "none"), time.Minute
	began := time.Now()
	service := New(cfg, testLimiter(), keysAreRead, zerolog.Nop())
	defer service.Close()
	err = service.Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "no such database") || time.Since(began) > 10*time.Second {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
}

func TestStartIsCancelled(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := listener.Addr().String()
	listener.Close() // nothing listens there now
	const password = "pa55w0rd"
	ctx, cancel := context.WithCancel(t.Context())
	log := &notifyWriter{on: "trying again", notify: cancel}
	cfg := Config{Store: "postgres://balancer:" + password + "@" + host + "/clients", ConnectTimeout: time.Hour}
	service := New(cfg, testLimiter(), keysAreRead, zerolog.New(log))
	defer service.Close()
	if err := service.Start(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Start returned %v", err)
	}
	if !strings.Contains(log.text.String(), host) || !strings.Contains(log.text.String(), "refused") || strings.Contains(log.text.String(), password) {
		t.Errorf("the log is %s", &log.text)
	}
}

// allowConnections lets a database take connections, or ends those it has and refuses others.
func allowConnections(t *testing.T, database string, allow bool) {
	t.Helper()
	parsed, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(parsed.Path, "/")
	pgtest.Exec(t, pgtest.URL(), fmt.Sprintf("ALTER DATABASE %s ALLOW_CONNECTIONS %t", name, allow))
	if !allow {
		pgtest.Exec(t, pgtest.URL(), "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '"+name+"'")
	}
}

// notifyWriter calls notify when a text is written for the first time.
type notifyWriter struct {
	on     string
	notify func()
	once   sync.Once
	text   bytes.Buffer
}

func (w *notifyWriter) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(w.on)) {
		w.once.Do(w.notify)
	}
	return w.text.Write(p)
}
