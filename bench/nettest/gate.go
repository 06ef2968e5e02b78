// Package nettest gives tests a network that fails.
package nettest

import (
	"bytes"
	"context"
	"net"
	"sync"
	"testing"
	"time"
)

// Gate stands between a test and a server, and can do what networks and servers do. Its methods are
// safe for concurrent use.
type Gate struct {
	Address string // host:port

	listener net.Listener
	running  sync.WaitGroup

	mu      sync.Mutex
	network string // of the server
	server  string
	conns   map[net.Conn]bool
	sends   valve // from clients to the server
	answers valve
	cutOn   string
	before  bool
}

// valve holds data back while it is closed, and for a while otherwise.
type valve struct {
	open  chan struct{} // closed while data passes
	delay time.Duration
}

// NewGate returns a gate to the server at an address. It ends with the test.
func NewGate(t testing.TB, network, server string) *Gate {
	t.Helper()
	g := &Gate{conns: map[net.Conn]bool{}, network: network, server: server}
	g.sends.open, g.answers.open = make(chan struct{}), make(chan struct{})
	close(g.sends.open)
	close(g.answers.open)
	var err error
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
	return g
}

// Freeze lets no data pass, until Thaw. Connections are still accepted.
func (g *Gate) Freeze() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sends.freeze()
	g.answers.freeze()
}

// FreezeAnswers lets no data pass from the server, until Thaw.
func (g *Gate) FreezeAnswers() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.answers.freeze()
}

// Thaw undoes Freeze and FreezeAnswers. It may be called twice.
func (g *Gate) Thaw() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sends.thaw()
	g.answers.thaw()
}

func (v *valve) freeze() {
	if v.isOpen() {
		v.open = make(chan struct{})
	}
}

func (v *valve) thaw() {
	if !v.isOpen() {
		close(v.open)
	}
}

func (v *valve) isOpen() bool {
	select {
	case <-v.open:
		return true
	default:
		return false
	}
}

// Delay has what the server sends arrive later by d, from now on. Data that arrives meanwhile waits
// for its turn, so that it is late by up to 2d.
func (g *Gate) Delay(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.answers.delay = d
}

// Cut ends all connections.
func (g *Gate) Cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for conn := range g.conns {
		conn.Close()
	}
}

// Redirect leads connections to another server from now on. Those that are open stay as they are.
func (g *Gate) Redirect(network, server string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.network, g.server = network, server
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
		g.mu.Lock()
		network, address := g.network, g.server
		g.mu.Unlock()
		server, err := new(net.Dialer).DialContext(context.Background(), network, address)
		if err != nil {
			client.Close()
			continue
		}
		g.mu.Lock()
		g.conns[client], g.conns[server] = true, true
		g.mu.Unlock()
		lost := make(chan struct{}) // closed when answers are not to arrive
		var cut sync.Once
		g.running.Go(func() {
			g.pass(server, client, &g.sends, func(data []byte) bool { return g.maySend(data, &cut, lost) })
		})
		g.running.Go(func() {
			g.pass(client, server, &g.answers, func([]byte) bool {
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

// maySend reports whether the data may go on to the server.
func (g *Gate) maySend(data []byte, cut *sync.Once, lost chan struct{}) bool {
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
func (g *Gate) pass(to, from net.Conn, through *valve, may func([]byte) bool) {
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
		v := *through
		g.mu.Unlock()
		time.Sleep(v.delay)
		select {
		case <-v.open:
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
