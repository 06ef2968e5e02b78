// Package pgtest gives tests a real PostgreSQL: that of TEST_DATABASE_URL, or a temporary cluster.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// server is the PostgreSQL of this test binary: that of TEST_DATABASE_URL, with a user that may
// create databases, or else a temporary cluster made with the PostgreSQL binaries of this machine.
var server struct {
	url     string // of a database to connect to first
	dir     string // of a temporary cluster
	missing error  // why there is none
	created atomic.Int64
}

// PasswordRole is the only role that a temporary cluster asks for its password.
const PasswordRole = "clients_test_password"

// Start starts the server. It returns what stops the server; it may be called twice.
func Start() (stop func()) {
	if server.url = os.Getenv("TEST_DATABASE_URL"); server.url != "" {
		return func() {}
	}
	dir, err := os.MkdirTemp("", "clients-postgres-")
	if err != nil {
		server.missing = err
		return func() {}
	}
	server.dir = dir
	cluster, err := startCluster(dir)
	server.missing = err
	server.url = "postgres://postgres@/postgres?host=" + url.QueryEscape(dir)
	return sync.OnceFunc(func() {
		if cluster != nil {
			stopCluster(cluster)
		}
		_ = os.RemoveAll(dir)
	})
}

// startCluster makes a cluster in dir and waits until it answers on a unix socket there.
func startCluster(dir string) (*exec.Cmd, error) {
	initdb, err := findBinary("initdb")
	if err != nil {
		return nil, err
	}
	// If this process is killed, the server must not stay behind.
	attributes := &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT}
	if os.Getuid() == 0 { // PostgreSQL refuses to run as root
		if attributes.Credential, err = asAccount(dir); err != nil {
			return nil, err
		}
	}
	data, log := filepath.Join(dir, "data"), &strings.Builder{}
	command := func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(name, args...)
		cmd.Dir, cmd.SysProcAttr, cmd.Stdout, cmd.Stderr = dir, attributes, log, log
		return cmd
	}
	err = command(initdb, "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "-N").Run()
	if err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, log)
	}
	// The first line that fits counts: all others are trusted.
	rules := filepath.Join(data, "pg_hba.conf")
	trusted, err := os.ReadFile(rules)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(rules, append([]byte("local all "+PasswordRole+" scram-sha-256\n"), trusted...), 0o600); err != nil {
		return nil, err
	}
	server := command(filepath.Join(filepath.Dir(initdb), "postgres"), "-D", data, "-k", dir,
		"-c", "listen_addresses=", "-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")
	if err := server.Start(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, "user=postgres dbname=postgres host="+dir)
		if err == nil {
			return server, conn.Close(ctx)
		}
		select {
		case <-ctx.Done():
			stopCluster(server)
			return nil, fmt.Errorf("PostgreSQL does not start: %w\n%s", err, log)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func stopCluster(server *exec.Cmd) {
	_ = server.Process.Signal(syscall.SIGINT) // fast shutdown
	kill := time.AfterFunc(10*time.Second, func() { _ = server.Process.Kill() })
	defer kill.Stop()
	_ = server.Wait()
}

func findBinary(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name); len(found) > 0 {
		return found[len(found)-1], nil
	}
	return "", fmt.Errorf("no %s in PATH or /usr/lib/postgresql/*/bin, and TEST_DATABASE_URL is not set", name)
}

// Account returns the user that PostgreSQL runs as where this process is root, which it refuses:
// postgres or, without one, the system's user for what has no rights.
func Account() (*syscall.Credential, error) {
	account, err := user.Lookup("postgres")
	if err != nil {
		if account, err = user.Lookup("nobody"); err != nil {
			return nil, err
		}
	}
	uid, uidErr := strconv.Atoi(account.Uid)
	gid, gidErr := strconv.Atoi(account.Gid)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(uidErr, gidErr)
}

// asAccount gives dir to the user of PostgreSQL and returns it.
func asAccount(dir string) (*syscall.Credential, error) {
	account, err := Account()
	if err != nil {
		return nil, err
	}
	return account, os.Chown(dir, int(account.Uid), int(account.Gid))
}

// need skips the test without a server, or fails it if REQUIRE_POSTGRES is 1.
func need(t testing.TB) {
	t.Helper()
	if err := server.missing; err != nil {
		if os.Getenv("REQUIRE_POSTGRES") == "1" {
			t.Fatalf("REQUIRE_POSTGRES=1, but there is no PostgreSQL: %v", err)
		}
		t.Skipf("no PostgreSQL: %v", err)
	}
}

// NewDatabase returns the URL of an empty database, which is dropped when the test ends. Without a
// server it skips the test, or fails it if REQUIRE_POSTGRES is 1.
func NewDatabase(t testing.TB) string {
	t.Helper()
	need(t)
	name := fmt.Sprintf("clients_test_%d_%d", os.Getpid(), server.created.Add(1))
	Exec(t, server.url, "CREATE DATABASE "+name)
	t.Cleanup(func() { Exec(t, server.url, "DROP DATABASE "+name+" WITH (FORCE)") })
	database, err := url.Parse(server.url)
	if err != nil {
		t.Fatal(err)
	}
	database.Path = "/" + name
	return database.String()
}

// NewSchema is NewDatabase for a schema, which takes less time. The database has others beside it.
func NewSchema(t testing.TB) string {
	t.Helper()
	need(t)
	name := fmt.Sprintf("clients_test_%d_%d", os.Getpid(), server.created.Add(1))
	Exec(t, server.url, "CREATE SCHEMA "+name)
	t.Cleanup(func() { Exec(t, server.url, "DROP SCHEMA "+name+" CASCADE") })
	if strings.Contains(server.url, "?") {
		return server.url + "&search_path=" + name
	}
	return server.url + "?search_path=" + name
}

// URL returns that of a database of the server, with the user who may create others.
func URL() string { return server.url }

// Exec runs statements, and fails the test if they fail.
func Exec(t testing.TB, database, statement string) {
	t.Helper()
	if err := TryExec(t, database, statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// TryExec runs statements.
func TryExec(t testing.TB, database, statement string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, statement)
	return err
}
