package acme

import (
	"bytes"
	"crypto/tls"
	"io"
	"strings"
	"testing"
	"time"

	"loadbalancer/proxy/acme/acmetest"
)

// A certificate is renewed before it expires, and a client with a connection notices nothing.
func TestRenew(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := acmetest.Start(t, acmetest.Options{HTTPPort: s.httpPort, TLSPort: s.tlsPort, Validity: 15 * time.Second})
	i := run(t, a, Config{Domains: []string{"www.example.test"}}, both, NewFolder(t.TempDir()))
	s.answers.Store(i.Manager)
	first := i.awaitCertificate(t, "www.example.test")
	kept := s.dial(t, a, "www.example.test")
	echo(t, kept)
	eventually(t, "renewed", func() bool {
		echo(t, kept)
		return !i.certificate("www.example.test").Leaf.Equal(first)
	})
	if now := time.Now(); now.After(first.NotAfter) {
		t.Errorf("renewed at %v, after %v", now, first.NotAfter)
	}
	echo(t, kept)
	if got := s.dial(t, a, "www.example.test").ConnectionState().PeerCertificates[0]; got.Equal(first) {
		t.Error("a new connection gets the old certificate")
	}
	for name, at := range i.Expiries() {
		if !at.After(first.NotAfter) {
			t.Errorf("%s is said to expire at %v", name, at)
		}
	}
}

func echo(t *testing.T, conn *tls.Conn) {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	sent, got := []byte("still there\n"), make([]byte, 12)
	_, err := conn.Write(sent)
	if err == nil {
		_, err = io.ReadFull(conn, got)
	}
	if err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("the kept connection: %q, %v", got, err)
	}
}

// A restart takes what is stored: certificate, account, and when the next order is due.
func TestRestart(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := acmetest.Start(t, acmetest.Options{HTTPPort: s.httpPort, TLSPort: s.tlsPort, Blocked: []string{"refused.test"}})
	folder := t.TempDir() + "/acme"
	c := Config{Domains: []string{"www.example.test", "refused.test"}}
	i := run(t, a, c, both, NewFolder(folder))
	s.answers.Store(i.Manager)
	first := i.awaitCertificate(t, "www.example.test")
	eventually(t, "refused", func() bool { return a.Orders("refused.test") == 1 && len(i.Faults()) == 1 })
	i.stop()
	private(t, folder)
	for range 2 {
		again := run(t, a, c, both, NewFolder(folder))
		if got := again.awaitCertificate(t, "www.example.test"); !got.Equal(first) {
			t.Error("another certificate after a restart")
		}
		eventually(t, "told", func() bool { return len(again.Faults()) == 1 })
		again.stop()
	}
	if n := a.Orders("www.example.test"); n != 1 {
		t.Errorf("%d orders for www.example.test", n)
	}
	if n := a.Orders("refused.test"); n != 1 {
		t.Errorf("%d orders for refused.test", n)
	}
	if n := a.Accounts(); n != 1 {
		t.Errorf("%d registrations", n)
	}
}

// A certificate that was due while the process was away is served at the start, and renewed.
func TestRenewAfterRestart(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := acmetest.Start(t, acmetest.Options{HTTPPort: s.httpPort, TLSPort: s.tlsPort, Validity: 4 * time.Second})
	folder, c := t.TempDir(), Config{Domains: []string{"www.example.test"}}
	i := run(t, a, c, both, NewFolder(folder))
	s.answers.Store(i.Manager)
	i.awaitCertificate(t, "www.example.test")
	a.Close()
	i.stop()
	last := i.awaitCertificate(t, "www.example.test")
	time.Sleep(time.Until(last.NotAfter.Add(time.Second)))
	again := run(t, a, c, both, NewFolder(folder))
	s.answers.Store(again.Manager)
	if got := again.awaitCertificate(t, "www.example.test"); !got.Equal(last) {
		t.Error("at the start, another certificate than the one in the storage")
	}
	eventually(t, "told", func() bool { return strings.Contains(strings.Join(again.Faults(), ""), ", is not renewed: ") })
	a.Open()
	eventually(t, "renewed", func() bool { return again.certificate("www.example.test").Leaf.NotAfter.After(time.Now()) })
}
