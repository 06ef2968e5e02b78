package acme

import (
	"strings"
	"testing"

	"loadbalancer/clients/store/pgtest"
	"loadbalancer/proxy/acme/acmetest"
)

// Two instances on one database order one certificate, by one account, and both serve it. The
// challenge is answered by the one that has not asked for it, however the authority checks.
func TestInstances(t *testing.T) {
	for name, offers := range map[string]Offers{"HTTP-01": {HTTP01: true}, "TLS-ALPN-01": {TLSALPN01: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			a := acmetest.Start(t, acmetest.Options{HTTPPort: s.httpPort, TLSPort: s.tlsPort})
			open := newDatabase(t)
			c := Config{Domains: []string{"www.example.test"}}
			var one, two *instance
			started := make(chan struct{})
			s.elect = func() *Manager {
				<-started
				if strings.Contains(two.log.String(), "trying to solve challenge") {
					return one.Manager
				}
				return two.Manager
			}
			one, two = run(t, a, c, offers, open()), run(t, a, c, offers, open())
			close(started)
			first := one.awaitCertificate(t, "www.example.test")
			if got := two.awaitCertificate(t, "www.example.test"); !got.Equal(first) {
				t.Error("the instances serve different certificates")
			}
			if s.answered[0].Load()+s.answered[1].Load() == 0 {
				t.Error("no challenge was answered")
			}
			if n := a.Orders("www.example.test"); n != 1 {
				t.Errorf("%d orders", n)
			}
			if n := a.Accounts(); n != 1 {
				t.Errorf("%d registrations", n)
			}
		})
	}
}

// With PostgreSQL away, an instance tells so, and orders nothing that it could not keep. What it has,
// it serves.
func TestPostgresAway(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := acmetest.Start(t, acmetest.Options{HTTPPort: s.httpPort, TLSPort: s.tlsPort})
	gate, url := pgtest.NewGate(t, pgtest.NewSchema(t))
	gate.Freeze()
	c := Config{Domains: []string{"www.example.test"}, Directory: a.Directory}
	i := run(t, a, c, both, openDatabase(t, url))
	s.answers.Store(i.Manager)
	eventually(t, "told", func() bool { return strings.Contains(strings.Join(i.Faults(), "\n"), "the storage in PostgreSQL: ") })
	if n := a.Orders("www.example.test"); n != 0 {
		t.Errorf("%d orders", n)
	}
	gate.Thaw()
	first := i.awaitCertificate(t, "www.example.test")
	gate.Freeze()
	gate.Cut()
	i.Apply(c, both)
	if got := i.awaitCertificate(t, "www.example.test"); !got.Equal(first) {
		t.Error("another certificate")
	}
	gate.Thaw()
}
