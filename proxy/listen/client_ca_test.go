package listen

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"loadbalancer/proxy/certtest"
)

// clientTLS is a server of TLS whose clients have to show certificates.
type clientTLS struct {
	*TLS
	t       testing.TB
	config  TLSConfig
	servers *certtest.Authority
	address string
}

// startClientTLS answers each connection with a byte once its handshake has succeeded.
func startClientTLS(t testing.TB, authority *certtest.Authority) *clientTLS {
	t.Helper()
	folder := t.TempDir()
	c := &clientTLS{TLS: NewTLS(nil, zerolog.Nop()), t: t, servers: certtest.NewAuthority(t)}
	cert, key := certtest.Write(t, c.servers.Issue([]string{"a.example"}), folder, "server")
	c.config = TLSConfig{MinVersion: tls.VersionTLS12, Certificates: []CertificateConfig{{cert, key}}, ClientCA: authority.Write(folder, "clients.pem")}
	if err := c.Apply(c.config, false); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.address = ln.Addr().String()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			secure := tls.Server(conn, c.ServerConfig())
			if secure.Handshake() == nil {
				_, _ = io.WriteString(secure, "a")
			}
			_ = secure.Close()
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		<-done
	})
	return c
}

// connect reports whether a client with this certificate gets a connection, and whether it has
// resumed a session of the cache.
func (c *clientTLS) connect(own tls.Certificate, sessions tls.ClientSessionCache) (ok, resumed bool) {
	c.t.Helper()
	conn, err := tls.Dial("tcp", c.address, &tls.Config{RootCAs: c.servers.Pool, ServerName: "a.example", ClientSessionCache: sessions,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own, nil }})
	if err != nil {
		return false, false
	}
	defer conn.Close()
	_, err = conn.Read(make([]byte, 1))
	return err == nil, conn.ConnectionState().DidResume
}

// The authorities are those of the file as it is: while it is faulty, those before.
func TestClientCAChanges(t *testing.T) {
	first, second := certtest.NewAuthority(t), certtest.NewAuthority(t)
	c := startClientTLS(t, first)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { c.Run(ctx); close(ended) }()
	t.Cleanup(func() { cancel(); <-ended })
	one, two := first.Issue([]string{"one"}), second.Issue([]string{"two"})
	want := func(step string, wantOne, wantTwo bool) {
		t.Helper()
		gotOne, _ := c.connect(one, nil)
		gotTwo, _ := c.connect(two, nil)
		if gotOne != wantOne || gotTwo != wantTwo {
			t.Errorf("%s: %v and %v, want %v and %v", step, gotOne, gotTwo, wantOne, wantTwo)
		}
	}
	within := func(what string, is func() bool) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("waited in vain for " + what)
			}
		}
	}
	want("at first", true, false)
	if ok, _ := c.connect(tls.Certificate{}, nil); ok {
		t.Error("a client without a certificate gets a connection")
	}
	before := c.Authorities()
	if err := c.Apply(c.config, false); err != nil || c.Authorities() != before {
		t.Errorf("another reload of the same file: %v", err)
	}

	second.Write(filepath.Dir(c.config.ClientCA), "clients.pem")
	within("the second authority", func() bool { return c.Authorities() != before })
	want("replaced", false, true)

	if err := os.WriteFile(c.config.ClientCA, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	within("the fault", func() bool { return strings.Contains(strings.Join(c.Faults(), "\n"), c.config.ClientCA) })
	want("faulty", false, true)
	if err := c.Apply(c.config, false); err == nil || !strings.Contains(err.Error(), "server.tls.client_ca") {
		t.Errorf("a reload with a faulty file: %v", err)
	}
	if err := os.Remove(c.config.ClientCA); err != nil {
		t.Fatal(err)
	}
	within("the next fault", func() bool { return strings.Contains(strings.Join(c.Faults(), "\n"), "no such file") })
	want("missing", false, true)

	both := first.PEM() + second.PEM()
	if err := os.WriteFile(c.config.ClientCA, []byte("# two\n"+both), 0o600); err != nil {
		t.Fatal(err)
	}
	within("no fault", func() bool { return len(c.Faults()) == 0 })
	want("both", true, true)

	without := c.config
	without.ClientCA = ""
	if err := c.Apply(without, false); err != nil || c.Authorities() != nil {
		t.Errorf("without client_ca: %v", err)
	}
	want("none asked for", true, true)
	if ok, _ := c.connect(tls.Certificate{}, nil); !ok {
		t.Error("a client without a certificate gets no connection")
	}
}

// A session is not resumed once the authority of its certificate counts no more, and counts again
// with it.
func TestSessionsOfAnAuthority(t *testing.T) {
	first, second := certtest.NewAuthority(t), certtest.NewAuthority(t)
	c := startClientTLS(t, first)
	own, sessions := first.Issue([]string{"one"}), tls.NewLRUClientSessionCache(1)
	for i, want := range []bool{false, true} {
		if ok, resumed := c.connect(own, sessions); !ok || resumed != want {
			t.Fatalf("connection %d: %v, resumed %v", i, ok, resumed)
		}
	}
	second.Write(filepath.Dir(c.config.ClientCA), "clients.pem")
	c.Look()
	if ok, resumed := c.connect(own, sessions); ok || resumed {
		t.Errorf("after the change: %v, resumed %v", ok, resumed)
	}
}

func TestParseAuthorities(t *testing.T) {
	a := certtest.NewAuthority(t)
	_, key := certtest.Write(t, a.Issue([]string{"a"}), t.TempDir(), "a")
	private, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ text, want string }{
		"one":        {a.PEM(), ""},
		"a comment":  {"# ours\n" + a.PEM() + "# end", ""},
		"nothing":    {"", "no certificate"},
		"no PEM":     {"nonsense", "no certificate"},
		"a key":      {a.PEM() + string(private), "PRIVATE KEY"},
		"broken DER": {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "x509"},
	} {
		_, err := parseAuthorities([]byte(test.text))
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}
