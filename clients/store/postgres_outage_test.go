package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"loadbalancer/bench/nettest"
	"loadbalancer/clients/store/pgtest"
	"loadbalancer/limiter"
)

// openGate returns a store behind a gate, with one client.
func openGate(t *testing.T) (*Postgres, *nettest.Gate) {
	g, url := pgtest.NewGate(t, pgtest.NewSchema(t))
	p := openPostgresURL(t, url, testBounds)
	(&opened{Store: p, t: t}).put(testClient("10.0.0.1", 1))
	return p, g
}

// writeIn writes a client within a time, and returns how often it was decided.
func writeIn(p *Postgres, timeout time.Duration, c Client) (decided int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	_, err = p.Write(ctx, func(tx Tx) error {
		decided++
		return tx.Put([]Client{c})
	})
	return decided, err
}

// capacityOf returns the capacity of 10.0.0.1 in the database.
func capacityOf(t *testing.T, p *Postgres) int64 {
	t.Helper()
	c, err := loadAll(t, p).Client(idOf("10.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	return c.Own.Capacity
}

// TestConnectionsCut has the connections of the pool be dead: reads and writes go on with others.
func TestConnectionsCut(t *testing.T) {
	p, g := openGate(t)
	g.Cut()
	if _, err := writeIn(p, 10*time.Second, testClient("10.0.0.1", 2)); err != nil {
		t.Error(err)
	}
	g.Cut()
	if got := capacityOf(t, p); got != 2 {
		t.Errorf("the capacity is %d", got)
	}
	g.CutOn("INSERT INTO clients", true) // nothing is written before COMMIT
	if decided, err := writeIn(p, 10*time.Second, testClient("10.0.0.1", 3)); decided != 2 || err != nil {
		t.Errorf("decided %d times, %v", decided, err)
	}
	if got := capacityOf(t, p); got != 3 {
		t.Errorf("the capacity is %d", got)
	}
}

// TestCutAtCommit has the answer to COMMIT get lost, and the COMMIT itself.
func TestCutAtCommit(t *testing.T) {
	p, g := openGate(t)
	g.CutOn("COMMIT", true)
	decided, err := writeIn(p, 10*time.Second, testClient("10.0.0.1", 2))
	if decided != 1 || !errors.Is(err, ErrUnknown) {
		t.Errorf("decided %d times, %v", decided, err)
	}
	if got := capacityOf(t, p); got != 1 {
		t.Errorf("the capacity is %d", got)
	}
	g.CutOn("COMMIT", false)
	if decided, err = writeIn(p, 10*time.Second, testClient("10.0.0.1", 3)); decided != 1 || !errors.Is(err, ErrUnknown) {
		t.Errorf("decided %d times, %v", decided, err)
	}
	if got := capacityOf(t, p); got != 3 {
		t.Errorf("the capacity is %d", got)
	}
}

// TestFrozen has a server that takes connections and data, and never answers.
func TestFrozen(t *testing.T) {
	p, g := openGate(t)
	g.Freeze()
	for range 6 { // more than the pool has connections
		start := time.Now()
		_, err := writeIn(p, 300*time.Millisecond, testClient("10.0.0.1", 2))
		if took := time.Since(start); err == nil || took > 2*time.Second {
			t.Errorf("%v after %s", err, took)
		}
	}
	if _, err := writeIn(p, 300*time.Millisecond, testClient("10.0.0.1", 2)); errors.Is(err, ErrUnknown) {
		t.Errorf("a write without a connection: %v", err)
	}
	g.Thaw()
	if _, err := writeIn(p, 3*time.Second, testClient("10.0.0.1", 3)); err != nil {
		t.Error(err)
	}
	if got := capacityOf(t, p); got != 3 {
		t.Errorf("the capacity is %d", got)
	}
	g.Freeze()
	if _, err := writeIn(p, 300*time.Millisecond, testClient("10.0.0.1", 4)); !errors.Is(err, ErrUnknown) {
		t.Errorf("a write that was sent: %v", err)
	}
	start := time.Now()
	if err := p.Close(); err != nil || time.Since(start) > closeTimeout+time.Second {
		t.Errorf("%v after %s", err, time.Since(start))
	}
	g.Thaw() // lets what is left end before the test does
	g.Cut()
	p.pool.Close()
}

// TestSilentListener has a sign of life stay away. The connections of the pool, which are as silent,
// are not used again.
func TestSilentListener(t *testing.T) {
	p, g := openGate(t)
	l, err := p.Listen(within(t))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if n := p.pool.Stat().IdleConns(); n == 0 {
		t.Fatal("the pool has no connection")
	}
	g.Freeze()
	defer g.Thaw()
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := l.Ping(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a sign of life: %v", err)
	}
	if n := p.pool.Stat().IdleConns(); n != 0 {
		t.Errorf("the pool has kept %d connections", n)
	}
}

// TestOtherHost has the first of two hosts freeze, and the second one take over.
func TestOtherHost(t *testing.T) {
	database := pgtest.NewSchema(t)
	first, _ := pgtest.NewGate(t, database)
	second, _ := pgtest.NewGate(t, database)
	p := openPostgresURL(t, pgtest.Through(t, database, first.Address+","+second.Address), testBounds)
	if want := "PostgreSQL at " + first.Address + ", " + second.Address; p.Place() != want {
		t.Errorf("the place is %s, want %s", p.Place(), want)
	}
	(&opened{Store: p, t: t}).put(testClient("10.0.0.1", 1))
	var held []*pgxpool.Conn // leaves several connections that are not in use
	for range 3 {
		conn, err := p.pool.Acquire(within(t))
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, conn)
	}
	for _, conn := range held {
		conn.Release()
	}
	first.Freeze()
	_, _ = writeIn(p, 500*time.Millisecond, testClient("10.0.0.1", 2)) // finds out
	start := time.Now()
	if _, err := writeIn(p, 3*time.Second, testClient("10.0.0.1", 3)); err != nil {
		t.Errorf("after %s: %v", time.Since(start), err)
	}
	if got := capacityOf(t, p); got != 3 {
		t.Errorf("the capacity is %d", got)
	}
}

// TestReadOnly has the server become a standby, as its connections see it: none is used, until it is
// a primary again.
func TestReadOnly(t *testing.T) {
	database := pgtest.NewDatabase(t)
	p := openPostgresURL(t, database, testBounds)
	(&opened{Store: p, t: t}).put(testClient("10.0.0.1", 1))
	name := database[strings.LastIndex(database, "/clients_test")+1:]
	name, _, _ = strings.Cut(name, "?")
	pgtest.Exec(t, pgtest.URL(), "ALTER DATABASE "+name+" SET default_transaction_read_only = on")
	p.dropIdle(t.Context())
	if _, err := writeIn(p, 10*time.Second, testClient("10.0.0.1", 2)); err == nil || errors.Is(err, ErrUnknown) {
		t.Errorf("a write: %v", err)
	}
	if _, err := p.Listen(within(t)); err == nil {
		t.Error("it listens to a standby")
	}
	pgtest.Exec(t, pgtest.URL(), "ALTER DATABASE "+name+" RESET default_transaction_read_only")
	if _, err := writeIn(p, 10*time.Second, testClient("10.0.0.1", 3)); err != nil {
		t.Error(err)
	}
	if got := capacityOf(t, p); got != 3 {
		t.Errorf("the capacity is %d", got)
	}
}

// TestDeadlock has a write lose a deadlock against a person: it is written after all.
func TestDeadlock(t *testing.T) {
	url := pgtest.NewSchema(t)
	p := openPostgresURL(t, url+"&deadlock_timeout=50ms", testBounds)
	(&opened{Store: p, t: t}).put(testClient("10.0.0.1", 1))
	conn, err := pgx.Connect(t.Context(), url+"&deadlock_timeout=20s")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), "BEGIN; LOCK TABLE clients"); err != nil {
		t.Fatal(err)
	}
	tries := 0
	waiting := make(chan error, 1)
	_, err = p.Write(within(t), func(tx Tx) error {
		if tries++; tries == 1 {
			go func() {
				_, err := conn.Exec(context.Background(), "UPDATE clients SET capacity = 5; COMMIT")
				waiting <- err
			}()
			waitForLock(t, url)
		}
		return tx.Put([]Client{testClient("10.0.0.2", 2)})
	})
	if err := errors.Join(err, <-waiting); err != nil || tries < 2 {
		t.Errorf("%v after %d tries", err, tries)
	}
	if got := capacityOf(t, p); got != 5 {
		t.Errorf("the capacity is %d", got)
	}
}

// waitForLock returns once someone waits for a lock in the database.
func waitForLock(t *testing.T, url string) {
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close(context.Background())
	for waiting := 0; waiting == 0 && t.Context().Err() == nil; {
		err := conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype <> 'advisory'").Scan(&waiting)
		if err != nil {
			t.Error(err)
			return
		}
	}
}

// TestPasswordFile has the password in a file change while the store is open.
func TestPasswordFile(t *testing.T) {
	as := role(t, pgtest.PasswordRole, "SUPERUSER PASSWORD 'first'")
	database := pgtest.NewDatabase(t)
	file := filepath.Join(t.TempDir(), "pgpass")
	set := func(password string) {
		if err := os.WriteFile(file, []byte("*:*:*:*:"+password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set("first")
	p := openPostgresURL(t, as(database)+"&passfile="+file, testBounds)
	pgtest.Exec(t, pgtest.URL(), "ALTER ROLE "+pgtest.PasswordRole+" PASSWORD 'second'")
	p.dropIdle(t.Context())
	if err := p.Prepare(within(t)); !Permanent(err) {
		t.Errorf("with the old password: %v", err)
	}
	set("second")
	if err := p.Prepare(within(t)); err != nil {
		t.Error(err)
	}
	if l, err := p.Listen(within(t)); err != nil {
		t.Error(err)
	} else {
		l.Close()
	}
	p.Close()
}

// TestPooler has a PgBouncer in transaction mode: everything works but notifications.
func TestPooler(t *testing.T) {
	pooled, direct := pgtest.NewPooler(t)
	p := openPostgresURL(t, pooled, testBounds)
	s := &opened{Store: p, t: t, records: func() Records { return loadAll(t, p) }}
	l, err := p.Listen(within(t))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if hears, err := l.Hears(within(t)); hears || err != nil {
		t.Errorf("hears: %v, %v", hears, err)
	}
	testAtOnce(s)
	s.write(func(tx Tx) error { return tx.Delete([]limiter.ID{idOf("10.0.0.1")}) })
	testOwnWrites(s)
	f := follow(t, p)
	testAudit(s)
	testReplies(s)
	for range 5 {
		pgtest.Exec(t, direct, "UPDATE clients SET capacity = capacity + 1")
		if changes := f.changes(); len(changes.Clients) != 2 {
			t.Errorf("the changes are %s", changes.names())
		}
	}
}
