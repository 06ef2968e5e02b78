package faults

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"loadbalancer/bench/balancer"
)

// pooler is PgBouncer in transaction mode in front of a cluster.
type pooler struct {
	*balancer.Server
	port int
	file string // its config
}

// newPooler starts PgBouncer with settings beside those of every test. Where there is none it skips
// the test, or fails it if REQUIRE_POSTGRES is 1.
func newPooler(t *testing.T, c *cluster, settings string) *pooler {
	t.Helper()
	if _, err := findPooler(); err != nil {
		requireTool(t, err)
	}
	p := &pooler{port: balancer.FreePort(t), file: filepath.Join(c.dir, "pgbouncer.ini")}
	users := filepath.Join(c.dir, "users.txt")
	err := errors.Join(
		os.WriteFile(users, []byte(`"`+role+`" "`+rolePassword+"\"\n"), 0o644),
		os.WriteFile(p.file, []byte(fmt.Sprintf(`[databases]
* = host=127.0.0.1 port=%d
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = scram-sha-256
auth_file = %s
pool_mode = transaction
default_pool_size = 3
server_login_retry = 1
%s`, c.port, p.port, users, settings)), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	p.start(t)
	return p
}

func findPooler() (string, error) {
	if path, err := exec.LookPath("pgbouncer"); err == nil {
		return path, nil
	}
	if _, err := os.Stat("/usr/sbin/pgbouncer"); err != nil {
		return "", fmt.Errorf("there is no pgbouncer: %w", err)
	}
	return "/usr/sbin/pgbouncer", nil
}

func (p *pooler) start(t *testing.T) {
	t.Helper()
	path, err := findPooler()
	if err != nil {
		t.Fatal(err)
	}
	p.Server = balancer.Start(t, asAccount(path, "-q", p.file))
}

// poolerSettings are the forms of statement caches that PgBouncer knows. Before 1.21 it knows none.
func poolerSettings(t *testing.T) map[string]string {
	t.Helper()
	path, err := findPooler()
	requireTool(t, err)
	out, err := exec.Command(path, "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`PgBouncer (\d+)\.(\d+)`).FindSubmatch(out)
	if found == nil {
		t.Fatalf("pgbouncer --version says %s", out)
	}
	if minor, _ := strconv.Atoi(string(found[2])); string(found[1]) == "1" && minor < 21 {
		return map[string]string{"no prepared statements": ""}
	}
	return map[string]string{
		"no prepared statements": "max_prepared_statements = 0\n",
		"prepared statements":    "max_prepared_statements = 100\n",
	}
}

// TestPooler has balancers behind PgBouncer, and one beside it. All works, by asking each second
// for what has changed.
func TestPooler(t *testing.T) {
	t.Parallel()
	for name, settings := range poolerSettings(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &site{database: newCluster(t).newDatabase(t)}
			beside := startBalancer(t, s.url(), options{})
			p := newPooler(t, s.cluster, settings)
			s.begin(t, s.at(balancer.Loopback(p.port)))
			callsAtOnce(t, s.all)
			requireQuota(t, []*instance{beside}, seen, 7)
			beside.must(t, 200, "PUT", "/clients/"+seen, terms(8))
			requireQuota(t, s.all, seen, 8)
			s.psql(t, "UPDATE clients SET capacity = 7 WHERE ip_address = '"+seen+"'")
			requireQuota(t, s.all, seen, 7)
			s.psql(t, "DELETE FROM clients WHERE ip_address = '"+written+"'")
			requireQuota(t, s.all, written, defaultCapacity)
			s.all[0].must(t, 201, "POST", "/clients/", at(written, 20))
			requireQuota(t, s.all, written, 20)

			stopServer(p.Server, syscall.SIGKILL)
			p.start(t)
			s.healed(t)
			s.stop()
			for _, b := range s.all {
				balancer.WaitFor(t, noticed, "a balancer to say that PostgreSQL is away", func() bool { return b.stale(t) })
			}
			s.knownAway(t)
			s.start(t)
			s.healed(t)
			requireUnhurt(t, "the pooler and the server come and go", s.traffic.phase(t))
			for i, b := range s.all {
				if lines := b.Log.With("pooler"); len(lines) != 1 {
					t.Errorf("balancer %d says %d times that it is behind a pooler: %s", i, len(lines), lines)
				}
			}
			if lines := beside.Log.With("pooler"); len(lines) > 0 {
				t.Errorf("the balancer beside the pooler says: %s", lines)
			}
		})
	}
}

// callsAtOnce makes more calls than the pooler has connections. Each has to succeed, and each
// balancer sees its own writes at once.
func callsAtOnce(t *testing.T, all []*instance) {
	t.Helper()
	var wg sync.WaitGroup
	for w := range 6 {
		wg.Go(func() {
			b := all[w%len(all)]
			for n := range int64(8) {
				from := fmt.Sprintf("127.0.10.%d", w+1)
				for _, step := range []struct {
					method, path, body string
					status             int
					enforced           string
				}{
					{"POST", "/clients/", at(from, 500+n), 201, strconv.FormatInt(500+n, 10)},
					{"PUT", "/clients/" + from, terms(600 + n), 200, strconv.FormatInt(600+n, 10)},
					{"DELETE", "/clients/" + from, "", 204, strconv.Itoa(defaultCapacity)},
				} {
					if err := ownWrite(b, from, step.method, step.path, step.body, step.status, step.enforced); err != nil {
						t.Errorf("worker %d, round %d: %v", w, n, err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}
