package acme

import (
	"strings"
	"testing"

	"loadbalancer/proxy/acme/acmetest"
)

// A domain that the authority refuses is told with its words, and the others get their certificates.
func TestRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := acmetest.Start(t, acmetest.Options{HTTPPort: s.httpPort, TLSPort: s.tlsPort, Blocked: []string{"refused.test"}})
	i := run(t, a, Config{Domains: []string{"refused.test", "www.example.test"}}, both, NewFolder(t.TempDir()))
	s.answers.Store(i.Manager)
	i.awaitCertificate(t, "www.example.test")
	eventually(t, "told", func() bool {
		faults := strings.Join(i.Faults(), "\n")
		return strings.HasPrefix(faults, "the certificate for refused.test is missing: ") &&
			strings.Contains(faults, "rejectedIdentifier") && strings.Contains(faults, "; next try at ")
	})
	if !strings.Contains(i.log.String(), `"level":"warn","component":"acme","domain":"refused.test"`) {
		t.Errorf("not told in the log:\n%s", i.log)
	}
	if i.certificate("refused.test") != nil {
		t.Error("a certificate for a refused domain")
	}
}

// A domain whose challenge cannot be answered is told, too: what the authority found there.
func TestUnanswered(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := acmetest.Start(t, acmetest.Options{HTTPPort: s.httpPort, TLSPort: s.tlsPort})
	i := run(t, a, Config{Domains: []string{"www.example.test"}}, Offers{HTTP01: true}, NewFolder(t.TempDir()))
	eventually(t, "told", func() bool { return strings.Contains(strings.Join(i.Faults(), "\n"), "404") })
	if n := a.Orders("www.example.test"); n != 1 {
		t.Errorf("%d orders", n)
	}
}

// An authority that does not answer is asked again, and meanwhile told of.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := acmetest.Start(t, acmetest.Options{HTTPPort: s.httpPort, TLSPort: s.tlsPort})
	a.Close()
	i := run(t, a, Config{Domains: []string{"www.example.test"}}, both, NewFolder(t.TempDir()))
	s.answers.Store(i.Manager)
	eventually(t, "told", func() bool { return strings.Contains(strings.Join(i.Faults(), "\n"), "connection refused") })
	a.Open()
	i.awaitCertificate(t, "www.example.test")
	eventually(t, "no fault", func() bool { return len(i.Faults()) == 0 })
}
