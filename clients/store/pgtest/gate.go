package pgtest

import (
	"bytes"
	"context"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Gate stands between a test and the server, and can do what networks and servers do.
type Gate struct {
	Address string // host:port

	listener net.Listener
	network  string // of the server
	server   string
	running  sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]bool
	open   chan struct{} // closed while data passes
	cutOn  string
	before bool
}

// NewGate returns a gate to the server of a database, and the URL through it. It ends with the test.
func NewGate(t testing.TB, database string) (*Gate, string) {
	t.Helper()
	config, err := pgconn.ParseConfig(database)
	if err != nil {
		t.Fatal(err)
	}
	g := &Gate{conns: map[net.Conn]bool{}, open: make(chan struct{})}
	close(g.open)
	g.network, g.server = pgconn.NetworkAddress(config.Host, config.Port)
	if g.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	g.Address = g.listener.Addr().String()
	g.running.Go(g.accept)
	t.Cleanup(func() {
		g.listener.Close()
		g.Thaw()
		g.Cut()
		g.running.Wait()
	})
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

// Freeze lets no data pass, until Thaw. Connections are still accepted.
func (g *Gate) Freeze() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = make(chan struct{})
}

// Thaw undoes Freeze. It may be called twice.
func (g *Gate) Thaw() {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.open:
	default:
		close(g.open)
	}
}

// Cut ends all connections.
func (g *Gate) Cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for conn := range g.conns {
		conn.Close()
	}
}

// CutOn ends the next connection that sends a text, before the server gets it or once it has
// answered, which the client then does not see.
func (g *Gate) CutOn(text string, before bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cutOn, g.before = text, before
}

func (g *Gate) accept() {
	for {
		client, err := g.listener.Accept()
		if err != nil {
			return
		}
		server, err := new(net.Dialer).DialContext(context.Background(), g.network, g.server)
		if err != nil {
			client.Close()
			continue
		}
		g.mu.Lock()
		g.conns[client], g.conns[server] = true, true
		g.mu.Unlock()
		lost := make(chan struct{}) // closed when answers are not to arrive
		var cut sync.Once
		g.running.Go(func() { g.pass(server, client, func(data []byte) bool { return g.sends(data, &cut, lost) }) })
		g.running.Go(func() {
			g.pass(client, server, func([]byte) bool {
				select {
				case <-lost:
					return false
				default:
					return true
				}
			})
		})
	}
}

// sends reports whether the data may go on to the server.
func (g *Gate) sends(data []byte, cut *sync.Once, lost chan struct{}) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cutOn == "" || !bytes.Contains(data, []byte(g.cutOn)) {
		return true
	}
	g.cutOn = ""
	cut.Do(func() { close(lost) })
	return !g.before
}

// pass copies data until a connection ends, or may says no.
func (g *Gate) pass(to, from net.Conn, may func([]byte) bool) {
	defer func() {
		to.Close()
		from.Close()
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.conns, from)
	}()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		g.mu.Lock()
		open := g.open
		g.mu.Unlock()
		select {
		case <-open:
		case <-time.After(time.Minute):
			return
		}
		if !may(buffer[:n]) {
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}
