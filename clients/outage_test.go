package clients

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"
)

func TestPostgresUnreachable(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := listener.Addr().String()
	listener.Close() // nothing listens there now
	const password = "pa55w0rd"
	var log bytes.Buffer
	cfg := Config{
		Store:          "postgres://balancer:" + password + "@" + host + "/clients",
		ConnectTimeout: 700 * time.Millisecond,
	}

	start := time.Now()
	_, err = Open(t.Context(), cfg, testLimiter(), keysAreRead, zerolog.New(&log))
	if took := time.Since(start); took < cfg.ConnectTimeout || took > cfg.ConnectTimeout+5*time.Second {
		t.Errorf("gave up after %s", took)
	}
	if err == nil || !strings.Contains(err.Error(), host) || !strings.Contains(err.Error(), "refused") {
		t.Errorf("the error is %v", err)
	}
	if attempts := strings.Count(log.String(), "trying again"); attempts < 2 || !strings.Contains(log.String(), host) {
		t.Errorf("the log is %s", &log)
	}
	if strings.Contains(fmt.Sprint(err)+log.String(), password) {
		t.Errorf("the password is told: %v\n%s", err, &log)
	}
}

func TestOpenIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	cfg := Config{Store: "postgres://127.0.0.1:1/clients", ConnectTimeout: time.Hour}
	if _, err := Open(ctx, cfg, testLimiter(), keysAreRead, zerolog.Nop()); !errors.Is(err, context.Canceled) {
		t.Errorf("Open returned %v", err)
	}
}

// TestPostgresComesLate starts while the database takes no connections yet.
func TestPostgresComesLate(t *testing.T) {
	database := newDatabase(t)
	allowConnections(t, database, false)
	ready := &notifyWriter{on: "trying again", notify: make(chan struct{})}
	opened := make(chan error, 1)
	go func() {
		cfg := Config{Store: database, ConnectTimeout: 20 * time.Second}
		service, err := Open(t.Context(), cfg, testLimiter(), keysAreRead, zerolog.New(ready))
		if err == nil {
			err = service.Close()
		}
		opened <- err
	}()
	<-ready.notify
	allowConnections(t, database, true)
	if err := <-opened; err != nil {
		t.Error(err)
	}
}

func TestPostgresOutage(t *testing.T) {
	database := newDatabase(t)
	a, _ := startAPI(t, Config{Store: database, ConnectTimeout: 10 * time.Second})
	a.create("10.0.0.1", 7)

	allowConnections(t, database, false)
	a.refuse(http.StatusServiceUnavailable, "", "try again later", "PUT", "/10.0.0.1", `{"capacity":8,"rate_per_second":1}`)
	a.refuse(http.StatusServiceUnavailable, "", "try again later", "GET", "/", "")
	a.limited("10.0.0.1", 7)
	a.call(http.StatusOK, "GET", limitedPath, "")
	a.refuse(http.StatusNotFound, "", "10.0.0.2", "GET", "/10.0.0.2/usage", "")
	a.refuse(http.StatusNotFound, "", "10.0.0.2", "POST", "/10.0.0.2/reset", "")

	allowConnections(t, database, true)
	a.call(http.StatusOK, "PUT", "/10.0.0.1", `{"capacity":8,"rate_per_second":1}`)
	a.limited("10.0.0.1", 8)
}

// TestUsageDuringAnOutage checks that calls that need only the limiter do not wait for PostgreSQL.
func TestUsageDuringAnOutage(t *testing.T) {
	database := newDatabase(t)
	a, _ := startAPI(t, Config{Store: database, ConnectTimeout: 10 * time.Second})
	a.create("10.0.0.1", 7)
	allowConnections(t, database, false)
	a.limited("10.0.0.1", 7)
	if u := a.usageOf("/10.0.0.1"); u.Allowed != 1 {
		t.Errorf("the usage is %+v", u)
	}
	a.call(http.StatusNoContent, "POST", "/10.0.0.1/reset", "")
	if u := a.usageOf("/10.0.0.1"); u.Allowed != 0 {
		t.Errorf("after a reset the usage is %+v", u)
	}
}

// TestPostgresStalls has a write wait for a lock. It must be answered, and must not take effect
// afterwards.
func TestPostgresStalls(t *testing.T) {
	database := newDatabase(t)
	a, _ := startAPI(t, Config{Store: database, ConnectTimeout: 10 * time.Second})
	created := a.create("10.0.0.1", 7)

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(ctx, "BEGIN; LOCK TABLE clients"); err != nil {
		t.Fatal(err)
	}
	a.refuse(http.StatusServiceUnavailable, "", "try again later", "PUT", "/10.0.0.1", `{"capacity":8,"rate_per_second":1}`)
	for waiting := 1; waiting > 0; {
		err := conn.QueryRow(ctx, "SELECT count(*) FROM pg_locks WHERE NOT granted AND database = "+
			"(SELECT oid FROM pg_database WHERE datname = current_database())").Scan(&waiting)
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.Exec(ctx, "COMMIT"); err != nil {
		t.Fatal(err)
	}
	if found := a.get("/10.0.0.1"); found != created {
		t.Errorf("got %+v, want %+v", found, created)
	}
	a.limited("10.0.0.1", 7)
}

// allowConnections lets a database take connections, or ends those it has and refuses others.
func allowConnections(t *testing.T, database string, allow bool) {
	t.Helper()
	parsed, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(parsed.Path, "/")
	execSQL(t, testPostgres.url, fmt.Sprintf("ALTER DATABASE %s ALLOW_CONNECTIONS %t", name, allow))
	if !allow {
		execSQL(t, testPostgres.url, "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '"+name+"'")
	}
}

// notifyWriter closes notify when a text is written for the first time.
type notifyWriter struct {
	on     string
	notify chan struct{}
	once   sync.Once
}

func (w *notifyWriter) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(w.on)) {
		w.once.Do(func() { close(w.notify) })
	}
	return len(p), nil
}
