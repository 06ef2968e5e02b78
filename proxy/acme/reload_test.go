package acme

import (
	"testing"

	"loadbalancer/proxy/acme/acmetest"
)

// A reload adds and removes domains, and keeps the certificates of the others.
func TestReloadDomains(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := acmetest.Start(t, acmetest.Options{HTTPPort: s.httpPort, TLSPort: s.tlsPort})
	i := run(t, a, Config{}, both, NewFolder(t.TempDir()))
	s.answers.Store(i.Manager)
	i.Apply(Config{Domains: []string{"one.test", "two.test"}, Directory: a.Directory}, both)
	one := i.awaitCertificate(t, "one.test")
	i.awaitCertificate(t, "two.test")
	i.Apply(Config{Domains: []string{"one.test", "three.test"}, Directory: a.Directory, Email: "admin@example.test"}, both)
	if i.certificate("two.test") != nil {
		t.Error("a domain that the config no longer has is served")
	}
	i.awaitCertificate(t, "three.test")
	if got := i.awaitCertificate(t, "one.test"); !got.Equal(one) || a.Orders("one.test") != 1 {
		t.Error("a domain that stays was ordered anew")
	}
}

// Another authority issues its own certificates. Until then those of the first are served.
func TestReloadDirectory(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	o := acmetest.Options{HTTPPort: s.httpPort, TLSPort: s.tlsPort}
	staging, production := acmetest.Start(t, o), acmetest.Start(t, o)
	staging.TrustPool.AddCert(production.TrustCertificate())
	production.Close()
	c := Config{Domains: []string{"www.example.test"}}
	i := run(t, staging, c, both, NewFolder(t.TempDir()))
	s.answers.Store(i.Manager)
	first := i.awaitCertificate(t, "www.example.test")
	c.Directory = production.Directory
	i.Apply(c, both)
	eventually(t, "told", func() bool { return len(i.Faults()) == 1 })
	if got := i.certificate("www.example.test"); got == nil || !got.Leaf.Equal(first) {
		t.Error("while the other authority is away, the certificate of the first is not served")
	}
	production.Open()
	eventually(t, "issued by the other authority", func() bool { return !i.certificate("www.example.test").Leaf.Equal(first) })
	_ = s.dial(t, production, "www.example.test")
}
