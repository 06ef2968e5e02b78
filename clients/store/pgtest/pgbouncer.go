package pgtest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// NewPooler returns the URL of a PgBouncer in transaction mode in front of an empty database, and
// that of the database. Without a PgBouncer or a temporary cluster it skips the test.
func NewPooler(t testing.TB) (pooled, direct string) {
	t.Helper()
	direct = NewDatabase(t)
	binary, err := exec.LookPath("pgbouncer")
	if err != nil {
		binary = "/usr/sbin/pgbouncer"
	}
	if _, err := os.Stat(binary); err != nil || server.dir == "" {
		t.Skipf("no PgBouncer (%v), or no cluster of its own", err)
	}
	dir, err := os.MkdirTemp("", "clients-pgbouncer-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	attributes := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Getuid() == 0 {
		if attributes.Credential, err = asAccount(dir); err != nil {
			t.Fatal(err)
		}
	}
	config := filepath.Join(dir, "pgbouncer.ini")
	text := fmt.Sprintf("[databases]\n* = host=%s user=postgres\n[pgbouncer]\nlisten_addr =\nunix_socket_dir = %s\n"+
		"auth_type = any\npool_mode = transaction\ndefault_pool_size = 2\n", server.dir, dir)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	cmd := exec.Command(binary, config)
	cmd.Dir, cmd.SysProcAttr, cmd.Stdout, cmd.Stderr = dir, attributes, &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	parsed, err := url.Parse(direct)
	if err != nil {
		t.Fatal(err)
	}
	pooled = "postgres://postgres@" + parsed.Path + "?port=6432&host=" + url.QueryEscape(dir)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, pooled)
		if err == nil {
			_ = conn.Close(ctx)
			return pooled, direct
		}
		select {
		case <-ctx.Done():
			t.Fatalf("PgBouncer does not start: %v\n%s", err, &log)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
