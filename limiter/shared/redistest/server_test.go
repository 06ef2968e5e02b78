package redistest

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"loadbalancer/bench/balancer"
	"loadbalancer/proxy/certtest"
)

func TestServers(t *testing.T) {
	folder := t.TempDir()
	certificate, key := certtest.Write(t, certtest.NewAuthority(t).Issue([]string{"127.0.0.1"}), folder, "server")
	for name, o := range map[string]Options{
		"port":       {},
		"socket":     {Unix: true},
		"password":   {Password: "secret p@ss"},
		"TLS":        {Certificate: certificate, Key: key},
		"persistent": {Persist: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := Start(t, o)
			if got := s.Do("SET", "key", "value"); got != "OK" {
				t.Fatal(got)
			}
			pid, address := s.PID(), s.Address
			s.Restart()
			if want := map[bool]string{true: "value"}[o.Persist]; s.Do("GET", "key") != want {
				t.Errorf("after a restart, key is %q, want %q", s.Do("GET", "key"), want)
			}
			if s.PID() == pid || s.Address != address {
				t.Errorf("process %d at %s became %d at %s", pid, address, s.PID(), s.Address)
			}
			s.Kill()
			if reply, err := s.Try("PING"); err == nil {
				t.Errorf("once killed, it says %q", reply)
			}
		})
	}
}

// TestNothingStays runs a test of its own, after whose end neither the process nor the folder may be
// there.
func TestNothingStays(t *testing.T) {
	var pid int
	var dir string
	t.Run("server", func(t *testing.T) {
		s := Start(t, Options{})
		pid, dir = s.PID(), s.dir
		s.Freeze()
	})
	if pid == 0 {
		t.Skip("no server")
	}
	if err := syscall.Kill(pid, 0); err == nil {
		t.Errorf("process %d is still there", pid)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Errorf("%s is still there", dir)
	}
}

func TestFreeze(t *testing.T) {
	s := Start(t, Options{})
	s.Freeze()
	if _, err := s.Try("PING"); err == nil {
		t.Error("frozen, it answers")
	}
	s.Thaw()
	s.Do("PING")
}

func TestReplica(t *testing.T) {
	primary := Start(t, Options{Password: "secret"})
	primary.Do("SET", "key", "value")
	replica := Start(t, Options{Password: "secret", ReplicaOf: primary})
	if got := replica.Do("GET", "key"); got != "value" {
		t.Errorf("the replica has %q", got)
	}
	if _, err := replica.Try("SET", "key", "other"); err == nil {
		t.Error("a replica is written to")
	}
	replica.Promote()
	replica.Do("SET", "key", "other")
}

func TestSentinel(t *testing.T) {
	primary := Start(t, Options{})
	replica := Start(t, Options{ReplicaOf: primary})
	s := StartSentinel(t, primary, 1)
	if s.Primary() != primary.Address {
		t.Errorf("the primary is %s, want %s", s.Primary(), primary.Address)
	}
	primary.Kill()
	balancer.WaitFor(t, 20*time.Second, "the sentinel to fail over", func() bool { return s.Primary() == replica.Address })
	balancer.WaitFor(t, 5*time.Second, "the replica to be promoted", func() bool { return strings.Contains(replica.Do("ROLE"), "master") })
}

func TestCluster(t *testing.T) {
	for _, s := range StartCluster(t, 3) {
		if got := s.Do("CLUSTER", "INFO"); !strings.Contains(got, "cluster_slots_ok:16384") {
			t.Error(got)
		}
	}
}
