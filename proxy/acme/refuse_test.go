package acme

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	rfc8555 "github.com/mholt/acmez/v3/acme"

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

// An order that is not due is not made, unless what is known of the last one is deleted. That is found
// out without a restart.
func TestDeletedAttempt(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := acmetest.Start(t, acmetest.Options{HTTPPort: s.httpPort, TLSPort: s.tlsPort})
	storage := NewFolder(t.TempDir())
	c := Config{Domains: []string{"www.example.test"}, Directory: a.Directory}
	past := attempts{storage: storage, authority: authorityKey(a.Directory), after: pauseAfter}
	_ = past.failed(t.Context(), "www.example.test", attempt{}, rfc8555.Problem{Type: rfc8555.ProblemTypeRateLimited, Detail: "too many"}, time.Now())
	i := run(t, a, c, both, storage)
	s.answers.Store(i.Manager)
	eventually(t, "told", func() bool { return strings.Contains(strings.Join(i.Faults(), "\n"), "too many; next try at ") })
	if err := storage.Delete(t.Context(), "attempts"); err != nil {
		t.Fatal(err)
	}
	i.Apply(c, both) // as a reload does, or a minute
	i.awaitCertificate(t, "www.example.test")
	if n := a.Orders("www.example.test"); n != 1 {
		t.Errorf("%d orders", n)
	}
}

// unkept is a storage that keeps no certificate.
type unkept struct{ certmagic.Storage }

func (u unkept) Store(ctx context.Context, key string, value []byte) error {
	if strings.HasPrefix(key, "certificates/") {
		return syscall.ENOSPC
	}
	return u.Storage.Store(ctx, key, value)
}

// A certificate that cannot be stored is told, and not ordered again at once.
func TestUnstored(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := acmetest.Start(t, acmetest.Options{HTTPPort: s.httpPort, TLSPort: s.tlsPort})
	i := run(t, a, Config{Domains: []string{"www.example.test"}}, both, unkept{NewFolder(t.TempDir())})
	s.answers.Store(i.Manager)
	eventually(t, "told", func() bool { return strings.Contains(strings.Join(i.Faults(), "\n"), unfinished) })
	if !strings.Contains(i.log.String(), syscall.ENOSPC.Error()) {
		t.Errorf("the log has no cause:\n%s", i.log)
	}
	if n := a.Orders("www.example.test"); n != 1 {
		t.Errorf("%d orders", n)
	}
}
