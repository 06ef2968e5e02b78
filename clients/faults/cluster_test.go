package faults

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"loadbalancer/bench/balancer"
	"loadbalancer/clients/store/pgtest"

	"github.com/jackc/pgx/v5"
)

// The roles of every cluster: its superuser, and the one that the balancers connect as.
const (
	superuser, superPassword = "postgres", "s3cret/of the+super user"
	role, rolePassword       = "lb", "pa55word"
)

// template is the data folder that clusters are copied from.
var template struct {
	dir     string // of the template and of the clusters
	once    sync.Once
	bin     string
	account *syscall.Credential // nil: that of this process
	missing error
}

// cluster is a PostgreSQL server, on a loopback port, with passwords.
type cluster struct {
	dir, data string
	port      int
	server    *balancer.Server // the latest
}

// database is a database of a cluster. It belongs to the role.
type database struct {
	*cluster
	name string
}

// newCluster starts a server, which ends with the test. Where there is no PostgreSQL it skips the
// test, or fails it if REQUIRE_POSTGRES is 1.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := clusterFromTemplate(t)
	t.Cleanup(func() { os.RemoveAll(c.dir) })
	c.start(t)
	return c
}

// shared is the server of the tests that leave it alone: what is away is the link to it, if
// anything. It ends with the process.
var shared server

type server struct {
	mu sync.Mutex
	*cluster
}

// sharedCluster starts the server of all. It is as newCluster otherwise.
func sharedCluster(t *testing.T) *cluster {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.cluster == nil {
		c := clusterFromTemplate(t)
		c.server = balancer.Launch(t, c.command())
		shared.cluster = c
		c.awaitAnswer(t)
	}
	return shared.cluster
}

func (s *server) stop() {
	if s.cluster != nil {
		s.crash()
	}
}

func clusterFromTemplate(t *testing.T) *cluster {
	t.Helper()
	template.once.Do(func() { template.missing = makeTemplate() })
	requireTool(t, template.missing)
	c := clusterIn(t)
	c.run(t, "cp", "-a", filepath.Join(template.dir, "template"), c.data)
	return c
}

// clusterIn returns a cluster without data.
func clusterIn(t *testing.T) *cluster {
	t.Helper()
	dir, err := os.MkdirTemp(template.dir, "cluster-")
	if err == nil && template.account != nil {
		err = os.Chown(dir, int(template.account.Uid), int(template.account.Gid))
	}
	if err != nil {
		t.Fatal(err)
	}
	return &cluster{dir: dir, data: filepath.Join(dir, "data"), port: balancer.FreePort(t)}
}

func requireTool(t *testing.T, missing error) {
	t.Helper()
	if missing == nil {
		return
	}
	if os.Getenv("REQUIRE_POSTGRES") == "1" {
		t.Fatalf("REQUIRE_POSTGRES=1, but %v", missing)
	}
	t.Skip(missing)
}

// makeTemplate runs initdb and makes the role.
func makeTemplate() error {
	initdb, err := exec.LookPath("initdb")
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb"); len(found) > 0 {
		initdb, err = found[len(found)-1], nil // Debian has the other programs in PATH as a wrapper, or not at all
	}
	if err != nil {
		return fmt.Errorf("there is none in /usr/lib/postgresql/*/bin: %w", err)
	}
	template.bin = filepath.Dir(initdb)
	if os.Getuid() == 0 { // PostgreSQL refuses to run as root
		if template.account, err = pgtest.Account(); err != nil {
			return err
		}
	}
	dir := filepath.Join(template.dir, "template")
	password := filepath.Join(template.dir, "password")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(password, []byte(superPassword), 0o644)); err != nil {
		return err
	}
	if template.account != nil {
		if err := os.Chown(dir, int(template.account.Uid), int(template.account.Gid)); err != nil {
			return err
		}
	}
	out, err := asAccount(initdb, "-D", dir, "-U", superuser, "-A", "scram-sha-256", "--pwfile="+password, "-E", "UTF8", "--no-locale", "-N").CombinedOutput()
	if err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	single := asAccount(filepath.Join(template.bin, "postgres"), "--single", "-D", dir, "postgres")
	single.Stdin = strings.NewReader(fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s'\n", role, rolePassword))
	if out, err := single.CombinedOutput(); err != nil {
		return fmt.Errorf("make the role: %w\n%s", err, out)
	}
	return nil
}

// asAccount is a command that runs as the servers' user. If this process is killed, it ends, too.
func asAccount(name string, args ...string) *exec.Cmd {
	command := exec.Command(name, args...)
	command.Dir = "/"
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT, Credential: template.account}
	return command
}

// run runs a command as the servers' user; PGPASSWORD is the superuser's.
func (c *cluster) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	command := asAccount(name, args...)
	command.Env = append(os.Environ(), "PGPASSWORD="+superPassword)
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

// start starts the server and waits until it answers.
func (c *cluster) start(t *testing.T) {
	t.Helper()
	c.server = balancer.Start(t, c.command())
	server := c.server
	t.Cleanup(func() { stopServer(server, syscall.SIGQUIT) })
	c.awaitAnswer(t)
}

func (c *cluster) command() *exec.Cmd {
	return asAccount(filepath.Join(template.bin, "postgres"), "-D", c.data, "-k", c.dir, "-p", strconv.Itoa(c.port),
		"-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "full_page_writes=off",
		"-c", "shared_buffers=16MB", "-c", "max_connections=150", "-c", "log_min_messages=fatal")
}

func (c *cluster) awaitAnswer(t *testing.T) {
	t.Helper()
	waitFor(t, "PostgreSQL to answer", func() bool {
		if c.server.HasEnded() {
			t.Fatalf("PostgreSQL has ended: %s", c.server.Log)
		}
		return c.tryExec("postgres", "SELECT 1") == nil
	})
}

// stopServer sends a signal and waits for the end.
func stopServer(server *balancer.Server, signal syscall.Signal) {
	if server.HasEnded() {
		return
	}
	_ = syscall.Kill(server.Process.Pid, signal)
	select {
	case <-server.Ended:
	case <-time.After(deadline):
		_ = server.Process.Kill()
		<-server.Ended
	}
}

// stop ends the server, its connections first (a fast shutdown).
func (c *cluster) stop() { stopServer(c.server, syscall.SIGINT) }

// crash ends the server at once.
func (c *cluster) crash() { stopServer(c.server, syscall.SIGQUIT) }

// freeze stops the server's processes where they are. They go on with thaw, or at the end of the
// test.
func (c *cluster) freeze(t *testing.T) (thaw func()) {
	t.Helper()
	pid := c.server.Process.Pid
	frozen := []int{pid}
	// The first begins no new ones once it has stopped.
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "PostgreSQL to stop", func() bool { return strings.HasPrefix(stateOf(pid), "T") })
	for _, child := range childrenOf(pid) {
		frozen = append(frozen, child)
		_ = syscall.Kill(child, syscall.SIGSTOP) // fails where it has ended
	}
	thaw = sync.OnceFunc(func() {
		for _, pid := range frozen {
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
	})
	t.Cleanup(thaw)
	return thaw
}

// stateOf returns the state of a process and what follows in /proc/PID/stat, "" if there is none.
func stateOf(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	return rest
}

func childrenOf(parent int) (children []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if fields := strings.Fields(stateOf(pid)); len(fields) > 1 && fields[1] == strconv.Itoa(parent) {
			children = append(children, pid)
		}
	}
	return children
}

// standby starts a server that follows c.
func (c *cluster) standby(t *testing.T) *cluster {
	t.Helper()
	s := clusterIn(t)
	t.Cleanup(func() { os.RemoveAll(s.dir) })
	s.run(t, filepath.Join(template.bin, "pg_basebackup"), "-D", s.data, "-h", "127.0.0.1", "-p", strconv.Itoa(c.port), "-U", superuser,
		"-X", "stream", "-c", "fast", "--no-sync", "-R")
	s.start(t)
	waitFor(t, "the standby to follow", func() bool { return c.query(t, "postgres", "SELECT count(*) FROM pg_stat_replication") != "0" })
	return s
}

// promote makes a primary of a standby.
func (c *cluster) promote(t *testing.T) {
	t.Helper()
	c.exec(t, "postgres", "SELECT pg_promote(true, 20)")
}

// follow starts c, which was stopped, as a standby of another server.
func (c *cluster) follow(t *testing.T, primary *cluster) {
	t.Helper()
	settings := fmt.Sprintf("\nprimary_conninfo = 'host=127.0.0.1 port=%d user=%s password=''%s'''\n", primary.port, superuser, superPassword)
	file, err := os.OpenFile(filepath.Join(c.data, "postgresql.auto.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.WriteString(settings)
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	c.run(t, "touch", filepath.Join(c.data, "standby.signal"))
	c.start(t)
}

var databases atomic.Int64

// newDatabase makes a database that belongs to the role.
func (c *cluster) newDatabase(t *testing.T) database {
	t.Helper()
	d := database{c, fmt.Sprintf("lb_%d", databases.Add(1))}
	c.exec(t, "postgres", "CREATE DATABASE "+d.name+" OWNER "+role)
	return d
}

// address is where the server listens.
func (c *cluster) address() string { return balancer.Loopback(c.port) }

// url is the database's for the role.
func (d database) url() string { return d.at(d.address()) }

// at is url by way of other addresses, with parameters.
func (d database) at(addresses string, parameters ...string) string {
	return urlOf(role, rolePassword, addresses, d.name, parameters...)
}

func urlOf(user, password, addresses, name string, parameters ...string) string {
	parameters = append(parameters, "sslmode=disable")
	return "postgres://" + url.UserPassword(user, password).String() + "@" + addresses + "/" + name + "?" + strings.Join(parameters, "&")
}

// withConn connects as the superuser.
func (c *cluster) withConn(name string, use func(ctx context.Context, conn *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	conn, err := pgx.Connect(ctx, urlOf(superuser, superPassword, c.address(), name))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	return use(ctx, conn)
}

func (c *cluster) tryExec(name, statements string) error {
	return c.withConn(name, func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.PgConn().Exec(ctx, statements).ReadAll()
		return err
	})
}

func (c *cluster) exec(t *testing.T, name, statements string) {
	t.Helper()
	if err := c.tryExec(name, statements); err != nil {
		t.Fatalf("%s: %v", statements, err)
	}
}

// query returns the only value that a statement results in, as text; "" is NULL or no row.
func (c *cluster) query(t *testing.T, name, statement string) (value string) {
	t.Helper()
	err := c.withConn(name, func(ctx context.Context, conn *pgx.Conn) error {
		results, err := conn.PgConn().Exec(ctx, statement).ReadAll()
		if err == nil && len(results) > 0 && len(results[0].Rows) > 0 {
			value = string(results[0].Rows[0][0])
		}
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	return value
}

// sql executes statements in the database, as the superuser.
func (d database) sql(t *testing.T, statements string) {
	t.Helper()
	d.exec(t, d.name, statements)
}

// psql executes statements with the program that people use.
func (d database) psql(t *testing.T, statements string) {
	t.Helper()
	d.run(t, filepath.Join(template.bin, "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", strconv.Itoa(d.port),
		"-U", superuser, "-d", d.name, "-c", statements)
}

// capacity returns that of a stored client, "" if there is none.
func (d database) capacity(t *testing.T, address string) string {
	t.Helper()
	return d.query(t, d.name, "SELECT capacity FROM clients WHERE ip_address = '"+address+"'")
}

// endSessions ends all connections to the database but the caller's.
func (d database) endSessions(t *testing.T) {
	t.Helper()
	d.exec(t, "postgres", "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '"+d.name+"'")
}

// values is what an INSERT into clients needs for an address.
func values(address string, capacity int64) string {
	return fmt.Sprintf("('%s', %d, 1, now(), now())", address, capacity)
}

const insertInto = "INSERT INTO clients (ip_address, capacity, rate_per_second, created_at, updated_at) VALUES "

// TestCluster checks that servers can be frozen, followed and promoted.
func TestCluster(t *testing.T) {
	t.Parallel()
	a := newCluster(t)
	d := a.newDatabase(t)
	thaw := a.freeze(t)
	answered := make(chan error, 1)
	go func() { answered <- a.tryExec(d.name, "SELECT 1") }()
	select {
	case err := <-answered:
		t.Fatalf("a frozen server answered: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	thaw()
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
	b := a.standby(t)
	a.exec(t, d.name, "CREATE TABLE written (at int); INSERT INTO written VALUES (1)")
	onB := database{b, d.name}
	waitFor(t, "the row at the standby", func() bool { return onB.tryExec(d.name, "SELECT 1/at FROM written") == nil })
	if err := b.tryExec(d.name, "INSERT INTO written VALUES (2)"); err == nil {
		t.Error("the standby can be written to")
	}
	a.stop()
	b.promote(t)
	a.follow(t, b)
	b.exec(t, d.name, "INSERT INTO written VALUES (2)")
	waitFor(t, "the new row at the old primary", func() bool { return a.query(t, d.name, "SELECT count(*) FROM written") == "2" })
	if err := a.tryExec(d.name, "INSERT INTO written VALUES (3)"); err == nil {
		t.Error("the demoted server can be written to")
	}
}
