package acme

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"loadbalancer/clients/store/pgtest"
)

// newDatabase returns what opens storages in one new database, each as another instance would.
func newDatabase(t *testing.T) (open func() *database) {
	t.Helper()
	url := pgtest.NewSchema(t)
	return func() *database { return openDatabase(t, url) }
}

func openDatabase(t *testing.T, url string) *database {
	t.Helper()
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return NewPostgres(pool).(*database)
}

// Both storages keep what certmagic asks of one.
func TestStorage(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) certmagic.Storage{
		"folder":   func(t *testing.T) certmagic.Storage { return NewFolder(t.TempDir() + "/acme") },
		"postgres": func(t *testing.T) certmagic.Storage { return newDatabase(t)() },
		"PgBouncer": func(t *testing.T) certmagic.Storage {
			pooled, _ := pgtest.NewPooler(t)
			return openDatabase(t, pooled)
		},
	} {
		t.Run(name, func(t *testing.T) { testStorage(t, open(t)) })
	}
}

func testStorage(t *testing.T, s certmagic.Storage) {
	ctx := t.Context()
	if _, err := s.Load(ctx, "a/b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("load what does not exist: %v", err)
	}
	if _, err := s.Stat(ctx, "a/b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("stat what does not exist: %v", err)
	}
	if _, err := s.List(ctx, "a", false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("list what does not exist: %v", err)
	}
	values := map[string]string{"a/b/c": "one\x00\xff", "a/b/d": "", "a/e%_": "three", "ab": "four"}
	for key, value := range values {
		if err := errors.Join(s.Store(ctx, key, []byte("before")), s.Store(ctx, key, []byte(value))); err != nil {
			t.Fatal(err)
		}
	}
	for key, value := range values {
		if got, err := s.Load(ctx, key); err != nil || string(got) != value {
			t.Errorf("load %s: %q, %v", key, got, err)
		}
		if info, err := s.Stat(ctx, key); err != nil || info.Size != int64(len(value)) || !info.IsTerminal || time.Since(info.Modified).Abs() > time.Minute {
			t.Errorf("stat %s: %+v, %v", key, info, err)
		}
	}
	for key, want := range map[string]bool{"a": true, "a/b": true, "a/b/c": true, "a/": true, "b": false, "a/b/": true, "a/b/x": false, "a/e__": false} {
		if got := s.Exists(ctx, strings.TrimSuffix(key, "/")); got != want {
			t.Errorf("exists %s: %v", key, got)
		}
	}
	if keys, err := s.List(ctx, "a", false); err != nil || !slices.Equal(slices.Sorted(slices.Values(keys)), []string{"a/b", "a/e%_"}) {
		t.Errorf("list a: %q, %v", keys, err)
	}
	if info, err := s.Stat(ctx, "a/b"); err != nil || info.IsTerminal {
		t.Errorf("stat a/b: %+v, %v", info, err)
	}
	if err := errors.Join(s.Delete(ctx, "a/b"), s.Delete(ctx, "a/b")); err != nil {
		t.Errorf("delete: %v", err)
	}
	if s.Exists(ctx, "a/b/c") || !s.Exists(ctx, "a/e%_") || !s.Exists(ctx, "ab") {
		t.Error("delete has deleted too little or too much")
	}
	testLocks(t, s)
}

func testLocks(t *testing.T, s certmagic.Storage) {
	ctx := t.Context()
	if err := s.Lock(ctx, "issue_cert_www.example.test"); err != nil {
		t.Fatal(err)
	}
	if ok, err := s.(certmagic.TryLocker).TryLock(ctx, "issue_cert_www.example.test"); ok || err != nil {
		t.Errorf("a lock that is held: %v, %v", ok, err)
	}
	if err := s.Lock(ctx, "issue_cert_example.test"); err != nil {
		t.Error(err)
	}
	bounded, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if err := s.Lock(bounded, "issue_cert_www.example.test"); err == nil {
		t.Error("two have the lock")
	}
	got := make(chan error, 1)
	go func() { got <- s.Lock(ctx, "issue_cert_www.example.test") }()
	if err := s.Unlock(ctx, "issue_cert_www.example.test"); err != nil {
		t.Error(err)
	}
	if err := <-got; err != nil {
		t.Error(err)
	}
	if err := errors.Join(s.Unlock(ctx, "issue_cert_www.example.test"), s.Unlock(ctx, "issue_cert_example.test")); err != nil {
		t.Error(err)
	}
}

// A lock is renewed while it is held, and ends after its holder has crashed.
func TestLockOfACrashedInstance(t *testing.T) {
	t.Parallel()
	open := newDatabase(t)
	crashed, other := open(), open()
	crashed.lease, other.lease = 900*time.Millisecond, time.Minute
	if err := crashed.Lock(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if ok, err := other.TryLock(t.Context(), "x"); ok || err != nil {
			t.Fatalf("while it is held: %v, %v", ok, err)
		}
	}
	crashed.held["x"].end() // renews no more, as after a crash
	bounded, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := other.Lock(bounded, "x"); err != nil {
		t.Fatalf("after the crash: %v", err)
	}
	if err := crashed.Unlock(t.Context(), "x"); err != nil { // it has not crashed after all
		t.Error(err)
	}
	if ok, _ := crashed.TryLock(t.Context(), "x"); ok {
		t.Error("one that lost its lock has freed that of the other")
	}
	if err := other.Unlock(t.Context(), "x"); err != nil {
		t.Error(err)
	}
}

// A role that may not make the tables is told what to do, and needs rights on them alone once they are
// there.
func TestRights(t *testing.T) {
	t.Parallel()
	owned := pgtest.NewDatabase(t)
	role := fmt.Sprintf("acme_test_%d", os.Getpid())
	pgtest.Exec(t, owned, "CREATE ROLE "+role+" LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC")
	t.Cleanup(func() { pgtest.Exec(t, owned, "DROP OWNED BY "+role+"; DROP ROLE "+role) })
	lesser := openDatabase(t, strings.Replace(owned, "postgres@", role+"@", 1))
	if err := lesser.Store(t.Context(), "a", []byte("b")); err == nil || !strings.Contains(err.Error(), "start once with a role that has the right CREATE on the schema") {
		t.Errorf("without the tables: %v", err)
	}
	if err := openDatabase(t, owned).Store(t.Context(), "a", []byte("b")); err != nil {
		t.Fatal(err)
	}
	if _, err := lesser.Load(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "permission denied for table acme_storage") {
		t.Errorf("without rights on the tables: %v", err)
	}
	pgtest.Exec(t, owned, "GRANT SELECT, INSERT, UPDATE, DELETE ON acme_storage, acme_locks TO "+role)
	testStorage(t, lesser)
}

// Instances that start at once make the tables once.
func TestTables(t *testing.T) {
	t.Parallel()
	open := newDatabase(t)
	errs := make(chan error, 4)
	for range cap(errs) {
		d := open()
		go func() { errs <- d.Store(t.Context(), "a", []byte("b")) }()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}
