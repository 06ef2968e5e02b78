// Package redistest gives tests real servers of Redis or Valkey: single ones, replicas, sentinels and
// clusters. All are of this machine's valkey-server or redis-server, listen on loopback or on a unix
// socket, keep nothing, and end with the test.
package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"loadbalancer/bench/balancer"

	"github.com/redis/rueidis"
)

// Options are those of a server. The zero value is a server without a password or persistence on a
// TCP port.
type Options struct {
	Unix     bool   // listens on a socket in place of a port
	Password string // of the default user
	Persist  bool   // Restart finds the data that was there, by an append-only file

	// ReplicaOf makes the server a replica, which has the data of that server when Start returns.
	ReplicaOf *Server

	// Certificate and Key are files. With them, the port is one for TLS.
	Certificate, Key string

	// Arguments are more of the command line, such as "--maxmemory", "10mb".
	Arguments []string
}

// Server is a server that runs, or that has been stopped. Its methods are not safe for concurrent
// use. They fail the test where the server does not do what they ask for.
type Server struct {
	Network string // tcp or unix
	Address string // host:port, or the socket's path

	t       testing.TB
	options Options
	binary  string
	dir     string
	mode    []string // of the command line: sentinel or cluster
	process *exec.Cmd
	log     balancer.Journal
}

// Start starts a server and waits until it answers. Without a valkey-server or redis-server it
// skips the test, or fails it if REQUIRE_TOOLS is set.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	return start(t, o)
}

func start(t testing.TB, o Options, mode ...string) *Server {
	t.Helper()
	s := &Server{Network: "tcp", t: t, options: o, binary: need(t), mode: mode}
	var err error
	if s.dir, err = os.MkdirTemp("", "redistest-"); err != nil { // t.TempDir may be too long for a socket
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Kill()
		_ = os.RemoveAll(s.dir)
	})
	if o.Unix {
		s.Network, s.Address = "unix", filepath.Join(s.dir, "socket")
	} else {
		s.Address = freeAddress(t)
	}
	s.run()
	if o.ReplicaOf != nil {
		s.wait("synchronized", func() error {
			info, err := s.Try("INFO", "replication")
			if err == nil && !strings.Contains(info, "master_link_status:up") {
				err = errors.New(info)
			}
			return err
		})
	}
	return s
}

// need returns the path of the server's program.
func need(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("valkey-server")
	if err != nil {
		path, err = exec.LookPath("redis-server")
	}
	if err != nil && os.Getenv("REQUIRE_TOOLS") != "" {
		t.Fatalf("REQUIRE_TOOLS is set, but there is no valkey-server or redis-server: %v", err)
	}
	if err != nil {
		t.Skipf("no valkey-server or redis-server: %v", err)
	}
	return path
}

// freeAddress returns an address on loopback that was free, with a port that has room for that of a
// cluster's bus, 10,000 above it.
func freeAddress(t testing.TB) string {
	t.Helper()
	for range 1000 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		if port := l.Addr().(*net.TCPAddr).Port; port < 55_000 {
			return l.Addr().String()
		}
	}
	t.Fatal("no free port below 55000")
	return ""
}

// run starts the process, and waits until it answers.
func (s *Server) run() {
	s.t.Helper()
	s.process = exec.Command(s.binary, s.arguments()...)
	s.process.Dir, s.process.Stdout, s.process.Stderr = s.dir, &s.log, &s.log
	// If this process is killed, the server must not stay behind.
	s.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.process.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.wait("ready", func() error {
		_, err := s.Try("PING")
		return err
	})
}

func (s *Server) arguments() []string {
	o := &s.options
	arguments := append([]string{}, s.mode...)
	add := func(more ...string) { arguments = append(arguments, more...) }
	add("--dir", s.dir, "--bind", "127.0.0.1", "--loglevel", "notice")
	_, port, _ := net.SplitHostPort(s.Address)
	switch {
	case o.Unix:
		add("--port", "0", "--unixsocket", s.Address)
	case o.Certificate != "":
		add("--port", "0", "--tls-port", port, "--tls-cert-file", o.Certificate, "--tls-key-file", o.Key,
			"--tls-ca-cert-file", o.Certificate, "--tls-auth-clients", "no")
	default:
		add("--port", port)
	}
	if len(s.mode) > 0 && s.mode[len(s.mode)-1] == "--sentinel" {
		return arguments
	}
	add("--save", "", "--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0")
	if o.Persist {
		add("--appendonly", "yes", "--appendfsync", "always")
	}
	if o.Password != "" {
		add("--requirepass", o.Password)
	}
	if primary := o.ReplicaOf; primary != nil {
		host, port, _ := net.SplitHostPort(primary.Address)
		add("--replicaof", host, port)
		if password := primary.options.Password; password != "" {
			add("--masterauth", password)
		}
	}
	return append(arguments, o.Arguments...)
}

// wait calls check until it succeeds, for at most 20 seconds.
func (s *Server) wait(state string, check func() error) {
	s.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("the server at %s is not %s: %v\n%s", s.Address, state, err, s.log.String())
		}
	}
}

// URL returns that of the server, with its password.
func (s *Server) URL() string {
	u := url.URL{Scheme: "redis", Host: s.Address}
	switch {
	case s.options.Unix:
		u.Scheme, u.Host, u.Path = "unix", "", s.Address
	case s.options.Certificate != "":
		u.Scheme = "rediss"
	}
	if s.options.Password != "" {
		u.User = url.UserPassword("", s.options.Password)
	}
	return u.String()
}

// PID returns the number of the server's process.
func (s *Server) PID() int { return s.process.Process.Pid }

// Kill ends the server at once. It may be called twice.
func (s *Server) Kill() {
	if s.process != nil && s.process.ProcessState == nil {
		_ = s.process.Process.Kill()
		_ = s.process.Wait()
	}
}

// Restart kills the server, if it runs, and starts it at the same address. Its data is gone, unless
// Options.Persist is set.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	s.run()
}

// Freeze stops the server's process until Thaw. The kernel still accepts connections for it.
func (s *Server) Freeze() { s.signal(syscall.SIGSTOP) }

// Thaw undoes Freeze.
func (s *Server) Thaw() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(which syscall.Signal) {
	s.t.Helper()
	if err := s.process.Process.Signal(which); err != nil {
		s.t.Fatal(err)
	}
}

// Promote makes a replica a primary.
func (s *Server) Promote() {
	s.t.Helper()
	s.Do("REPLICAOF", "NO", "ONE")
}

// Do sends a command over a connection of its own and returns the reply, of which the elements of an
// array are separated by spaces, and nil is "". An error fails the test.
func (s *Server) Do(command ...string) string {
	s.t.Helper()
	reply, err := s.Try(command...)
	if err != nil {
		s.t.Fatalf("%s: %v", strings.Join(command, " "), err)
	}
	return reply
}

// Try is Do that returns errors. It gives up after two seconds.
func (s *Server) Try(command ...string) (reply string, err error) {
	option, err := rueidis.ParseURL(s.URL())
	if err != nil {
		return "", err
	}
	if option.TLSConfig != nil {
		option.TLSConfig.InsecureSkipVerify = true
	}
	option.DisableCache, option.DisableRetry, option.ForceSingleClient = true, true, true
	option.AlwaysRESP2 = true // a sentinel of Redis 6 knows no other
	option.Dialer.Timeout, option.ConnWriteTimeout, option.PipelineMultiplex = 2*time.Second, 2*time.Second, -1
	option.ReadBufferEachConn, option.WriteBufferEachConn, option.RingScaleEachConn = 4<<10, 4<<10, 2
	client, err := rueidis.NewClient(option)
	if err != nil {
		return "", err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	value, err := client.Do(ctx, client.B().Arbitrary(command...).Build()).ToAny()
	if rueidis.IsRedisNil(err) {
		return "", nil
	}
	return text(value), err
}

func text(value any) string {
	switch value := value.(type) {
	case nil:
		return ""
	case string:
		return value
	case int64:
		return strconv.FormatInt(value, 10)
	case []any:
		parts := make([]string, len(value))
		for i := range value {
			parts[i] = text(value[i])
		}
		return strings.Join(parts, " ")
	}
	return fmt.Sprint(value)
}
