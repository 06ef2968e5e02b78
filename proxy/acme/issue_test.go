package acme

import (
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"loadbalancer/proxy/acme/acmetest"
)

var both = Offers{HTTP01: true, TLSALPN01: true}

// Each kind of challenge leads to a certificate that verifies.
func TestIssue(t *testing.T) {
	for _, c := range []struct {
		name     string
		offers   Offers
		answered int
	}{{"HTTP-01", Offers{HTTP01: true}, 0}, {"TLS-ALPN-01", Offers{TLSALPN01: true}, 1}} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			a := acmetest.Start(t, acmetest.Options{HTTPPort: s.httpPort, TLSPort: s.tlsPort})
			leaks := goleak.IgnoreCurrent()
			i := run(t, a, Config{Domains: []string{"WWW.example.test"}, Email: "admin@example.test"}, c.offers, NewFolder(t.TempDir()))
			s.answers.Store(i.Manager)
			i.awaitCertificate(t, "www.example.test")
			_ = s.dial(t, a, "www.example.test").Close()
			if n := s.answered[c.answered].Load(); n == 0 {
				t.Errorf("no challenge was answered by %s:\n%s", c.name, i.log)
			}
			if faults := i.Faults(); len(faults) > 0 {
				t.Errorf("faults: %q", faults)
			}
			i.stop()
			time.Sleep(300 * time.Millisecond)
			a.Close()
			if err := goleak.Find(leaks, goleak.IgnoreAnyFunction("crypto/tls.(*Conn).Handshake")); err != nil {
				t.Errorf("left after the end: %v", err)
			}
			for line := range strings.Lines(i.log.String()) {
				if !strings.HasPrefix(line, `{"level":"`) {
					t.Errorf("a line in another form: %s", line)
				}
			}
		})
	}
}
