package balancers

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"loadbalancer/bench/balancer"
	"loadbalancer/proxy/acme/acmetest"
	"loadbalancer/proxy/certtest"
)

// ports returns one for requests in the clear and one for TLS, and an authority that checks there.
func ports(t *testing.T, o acmetest.Options) (plain, secure int, a *acmetest.Authority) {
	t.Helper()
	plain, secure = balancer.FreePort(t), balancer.FreePort(t)
	o.HTTPPort, o.TLSPort = plain, secure
	return plain, secure, acmetest.Start(t, o)
}

// Without TLS elsewhere, the handshake answers the challenge; a domain is told until it has its
// certificate, and a refused one after that.
func TestTLSAlone(t *testing.T) {
	t.Parallel()
	_, secure, a := ports(t, acmetest.Options{Blocked: []string{"refused.test"}})
	b := start(t, a, "", setting{secure: secure, domains: []string{"www.example.test", "refused.test"}})
	b.await(t, a, "www.example.test")
	eventually(t, "/readyz tells of the refused domain alone", func() bool {
		ready := b.readyz()
		return strings.HasPrefix(ready, "ready\nwarning: the certificate for refused.test is missing: ") &&
			strings.Contains(ready, "rejectedIdentifier") && strings.Count(ready, "warning:") == 1
	})
	if metrics := b.get("/metrics"); !strings.Contains(metrics, `lb_certificate_expiry_seconds{name="www.example.test"} `) || strings.Contains(metrics, `name="refused.test"`) {
		t.Errorf("the metrics do not tell when certificates expire:\n%s", metrics)
	}
	if _, err := b.ask(b.client(t, a, "refused.test")); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
		t.Errorf("a handshake for a domain without a certificate: %v", err)
	}
	eventually(t, "the log tells of the handshake", func() bool {
		for line := range strings.Lines(b.Log.String()) {
			if strings.Contains(line, `"domain":"refused.test","cause":"`) && strings.Contains(line, "a client asks for a domain that has no certificate yet") {
				return true
			}
		}
		return false
	})
	// A connection for a challenge takes no request.
	conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", secure), &tls.Config{InsecureSkipVerify: true, ServerName: "www.example.test", NextProtos: []string{"acme-tls/1"}})
	if err == nil {
		_ = conn.Close()
		t.Error("a handshake for a challenge that does not exist succeeds")
	}
	b.end(t)
}

// Where requests come in the clear, too, the challenge may come as one of them; a token that is not
// known goes on to the backend. After a kill the certificate is taken from the folder, at once.
func TestPlainAndKill(t *testing.T) {
	t.Parallel()
	plain, secure, a := ports(t, acmetest.Options{})
	a.Close() // until both ways to answer are known to be there
	s := setting{plain: plain, secure: secure, domains: []string{"www.example.test"}, more: ", email: admin@example.test, storage: kept"}
	b := start(t, a, "", s)
	eventually(t, "/readyz tells of the unreachable authority", func() bool { return strings.Contains(b.readyz(), "connection refused") })
	a.Open()
	first := b.await(t, a, "www.example.test")
	res, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/.well-known/acme-challenge/unknown", plain))
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if string(text) != "from the backend: /.well-known/acme-challenge/unknown" {
		t.Errorf("a token that is not known: %s", text)
	}
	b.kill(t)
	a.Close()
	again := start(t, a, b.dir, s)
	got, err := again.ask(again.client(t, a, "www.example.test"))
	if err != nil || !got.Equal(first) {
		t.Errorf("after a kill, the first handshake: %v", err)
	}
	a.Open()
	s.domains = append(s.domains, "more.example.test")
	again.configure(t, a, s)
	_ = again.Process.Signal(syscall.SIGHUP)
	again.await(t, a, "more.example.test")
	if n := a.Orders("www.example.test"); n != 1 {
		t.Errorf("%d orders", n)
	}
	again.end(t)
}

// A certificate is renewed while a client keeps its connection and asks on it.
func TestRenewal(t *testing.T) {
	t.Parallel()
	_, secure, a := ports(t, acmetest.Options{Validity: 15 * time.Second})
	b := start(t, a, "", setting{secure: secure, domains: []string{"www.example.test"}})
	first := b.await(t, a, "www.example.test")
	kept := b.client(t, a, "www.example.test")
	dials := 0
	kept.Transport.(*http.Transport).DialTLSContext = func(_ context.Context, network, address string) (net.Conn, error) {
		dials++
		return tls.Dial(network, address, &tls.Config{RootCAs: a.Roots, ServerName: "www.example.test"})
	}
	eventually(t, "renewed", func() bool {
		if _, err := b.ask(kept); err != nil {
			t.Fatal(err)
		}
		now, err := b.ask(b.client(t, a, "www.example.test"))
		if err != nil {
			t.Fatal(err)
		}
		return !now.Equal(first)
	})
	if got, err := b.ask(kept); err != nil || !got.Equal(first) || dials != 1 {
		t.Errorf("the kept connection: %v, after %d handshakes", err, dials)
	}
	b.end(t)
}

// Until a domain has its certificate, its clients get the first one of one's own.
func TestOwnMeanwhile(t *testing.T) {
	t.Parallel()
	_, secure, a := ports(t, acmetest.Options{})
	a.Close()
	own := certtest.NewAuthority(t)
	certificate, key := certtest.Write(t, own.Issue([]string{"www.example.test", "own.test"}), t.TempDir(), "own")
	b := start(t, a, "", setting{secure: secure, domains: []string{"www.example.test", "new.example.test"}, own: fmt.Sprintf("{certificate: '%s', key: '%s'}", certificate, key)})
	dial := func(name string) string {
		conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", secure), &tls.Config{InsecureSkipVerify: true, ServerName: name})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return strings.Join(conn.ConnectionState().PeerCertificates[0].DNSNames, " ")
	}
	if got := dial("new.example.test"); got != "www.example.test own.test" {
		t.Errorf("before it is issued, the certificate is for %s", got)
	}
	a.Open()
	b.await(t, a, "new.example.test")
	if got := dial("www.example.test"); got != "www.example.test own.test" {
		t.Errorf("with one of a file, the certificate is for %s", got)
	}
	b.end(t)
}
