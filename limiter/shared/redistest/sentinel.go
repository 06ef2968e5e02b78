package redistest

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Sentinel is a sentinel that watches a primary. It promotes a replica on its own.
type Sentinel struct {
	*Server
	Name string // of the primary
}

// StartSentinel starts a sentinel that takes the primary for gone after half a second, and waits
// until it knows as many replicas.
func StartSentinel(t testing.TB, primary *Server, replicas int) *Sentinel {
	t.Helper()
	config := filepath.Join(t.TempDir(), "sentinel.conf")
	const name = "buckets"
	host, port, _ := net.SplitHostPort(primary.Address)
	text := fmt.Sprintf("sentinel monitor %[1]s %[2]s %[3]s 1\nsentinel down-after-milliseconds %[1]s 500\n"+
		"sentinel failover-timeout %[1]s 3000\n", name, host, port)
	if password := primary.options.Password; password != "" {
		text += fmt.Sprintf("sentinel auth-pass %s %s\n", name, password)
	}
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &Sentinel{start(t, Options{}, config, "--sentinel"), name}
	s.wait("aware of the replicas", func() error {
		known, err := s.Try("SENTINEL", "replicas", name)
		if err == nil && strings.Count(known, "master-link-status ok") < replicas {
			err = errors.New(known)
		}
		return err
	})
	return s
}

// URL returns that of the primary, by the sentinel.
func (s *Sentinel) URL(password string) string {
	u := url.URL{Scheme: "redis", Host: s.Address, RawQuery: "master_set=" + s.Name}
	if password != "" {
		u.User = url.UserPassword("", password)
	}
	return u.String()
}

// Primary returns the address of the primary.
func (s *Sentinel) Primary() string {
	s.t.Helper()
	return strings.Join(strings.Fields(s.Do("SENTINEL", "get-master-addr-by-name", s.Name)), ":")
}

// StartCluster starts a cluster of primaries without replicas, which serves all slots.
func StartCluster(t testing.TB, nodes int) []*Server {
	t.Helper()
	const slots = 16384
	all := make([]*Server, nodes)
	for i := range all {
		all[i] = start(t, Options{}, "--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
		add := []string{"CLUSTER", "ADDSLOTS"} // Redis 6 takes no ranges
		for slot := i * slots / nodes; slot < (i+1)*slots/nodes; slot++ {
			add = append(add, strconv.Itoa(slot))
		}
		all[i].Do(add...)
		all[i].Do("CLUSTER", "SET-CONFIG-EPOCH", fmt.Sprint(i+1))
		host, port, _ := net.SplitHostPort(all[0].Address)
		if i > 0 {
			all[i].Do("CLUSTER", "MEET", host, port)
		}
	}
	for _, s := range all {
		s.wait("in the cluster", func() error {
			info, err := s.Try("CLUSTER", "INFO")
			ready := strings.Contains(info, "cluster_state:ok") && strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d", nodes))
			if err == nil && !ready {
				err = errors.New(info)
			}
			return err
		})
	}
	return all
}
