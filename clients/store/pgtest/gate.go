package pgtest

import (
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"loadbalancer/bench/nettest"
)

// NewGate returns a gate to the server of a database, and the URL through it. It ends with the test.
func NewGate(t testing.TB, database string) (*nettest.Gate, string) {
	t.Helper()
	config, err := pgconn.ParseConfig(database)
	if err != nil {
		t.Fatal(err)
	}
	network, server := pgconn.NetworkAddress(config.Host, config.Port)
	g := nettest.NewGate(t, network, server)
	return g, Through(t, database, g.Address)
}

// Through returns the URL of a database with other addresses, separated by commas.
func Through(t testing.TB, database, addresses string) string {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	query.Del("host")
	query.Set("sslmode", "disable")
	var hosts, ports []string
	for address := range strings.SplitSeq(addresses, ",") {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			t.Fatal(err)
		}
		hosts, ports = append(hosts, host), append(ports, port)
	}
	query.Set("host", strings.Join(hosts, ","))
	query.Set("port", strings.Join(ports, ","))
	u.RawQuery = query.Encode()
	return u.String()
}
