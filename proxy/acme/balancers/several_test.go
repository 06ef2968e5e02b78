package balancers

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"loadbalancer/bench/balancer"
	"loadbalancer/clients/store/pgtest"
	"loadbalancer/proxy/acme/acmetest"
)

// relay passes connections on to one of several ports, by its turn.
func relay(t *testing.T, to ...int) (port int) {
	t.Helper()
	open := make(chan struct{})
	close(open)
	return relayOnce(t, open, to...)
}

// relayOnce is relay once a channel is closed.
func relayOnce(t *testing.T, open <-chan struct{}, to ...int) (port int) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for turn := 0; ; turn++ {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer client.Close()
				select {
				case <-open:
				case <-t.Context().Done():
					return
				}
				server, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", to[turn%len(to)]))
				for i := 1; err != nil && i < len(to); i++ { // that one has not started yet
					server, err = net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", to[(turn+i)%len(to)]))
				}
				if err != nil {
					return
				}
				defer server.Close()
				go func() {
					_, _ = io.Copy(server, client)
					_ = server.(*net.TCPConn).CloseWrite()
				}()
				_, _ = io.Copy(client, server)
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		running.Wait()
	})
	return ln.Addr().(*net.TCPAddr).Port
}

// Three instances on one PostgreSQL order one certificate for each domain, whichever of them the
// authority asks, and all serve it. One that starts later takes it. With PostgreSQL away, they serve
// what they have.
func TestSeveral(t *testing.T) {
	t.Parallel()
	database := pgtest.NewDatabase(t)
	gate, through := pgtest.NewGate(t, database)
	var all []*instance
	var plain, secure []int
	for range 3 {
		plain, secure = append(plain, balancer.FreePort(t)), append(secure, balancer.FreePort(t))
	}
	a := acmetest.Start(t, acmetest.Options{HTTPPort: relay(t, plain...), TLSPort: relay(t, secure...)})
	domains := []string{"www.example.test", "example.test", "shop.example.test"}
	at := func(i int) setting {
		return setting{plain: plain[i], secure: secure[i], domains: domains, more: ", storage: postgres", store: through}
	}
	for i := range 2 {
		all = append(all, start(t, a, "", at(i)))
	}
	all = append(all, start(t, a, "", at(2)))
	for _, name := range domains {
		first := all[0].await(t, a, name)
		for _, b := range all[1:] {
			if got := b.await(t, a, name); !got.Equal(first) {
				t.Errorf("the instances serve different certificates for %s", name)
			}
		}
		if n := a.Orders(name); n != 1 {
			t.Errorf("%d orders for %s", n, name)
		}
	}
	if n := a.Accounts(); n != 1 {
		t.Errorf("%d registrations", n)
	}
	gate.Freeze()
	if _, err := all[0].ask(all[0].client(t, a, domains[0])); err != nil {
		t.Errorf("with PostgreSQL away: %v", err)
	}
	began := time.Now()
	all[0].end(t)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("with PostgreSQL away, the end took %v", took)
	}
	gate.Thaw()
	for i, b := range all {
		if i > 0 { // the first has ended
			b.end(t)
		}
		if text := b.Log.String(); strings.Contains(text, "BEGIN EC PRIVATE KEY") || strings.Contains(text, "PRIVATE KEY") {
			t.Error("a private key in the log")
		}
	}
}

// An instance that is killed in an order leaves a lock, which ends after 30 seconds, and an order that
// was begun, which is not repeated for a minute. Then another instance has the certificate.
func TestKilledInOrder(t *testing.T) {
	if !*long {
		t.Skip("takes more than a minute; run with -long")
	}
	t.Parallel()
	database, open := pgtest.NewDatabase(t), make(chan struct{})
	var all []setting
	for range 2 {
		all = append(all, setting{secure: balancer.FreePort(t), domains: []string{"www.example.test"}, more: ", storage: postgres", store: database})
	}
	a := acmetest.Start(t, acmetest.Options{HTTPPort: balancer.FreePort(t), TLSPort: relayOnce(t, open, all[1].secure)})
	killed := start(t, a, "", all[0])
	eventually(t, "an order is under way", func() bool { return strings.Contains(killed.Log.String(), "trying to solve challenge") })
	other := start(t, a, "", all[1])
	killed.kill(t)
	close(open)
	began := time.Now()
	for time.Since(began) < 2*time.Minute {
		if _, err := other.ask(other.client(t, a, "www.example.test")); err == nil {
			break
		}
		time.Sleep(time.Second)
	}
	other.await(t, a, "www.example.test")
	if took := time.Since(began); took < 30*time.Second {
		t.Errorf("it took %v: the lock was not respected", took)
	}
	if n := a.Orders("www.example.test"); n != 2 {
		t.Errorf("%d orders", n)
	}
	other.end(t)
}
