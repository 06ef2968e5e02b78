package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/rs/zerolog"

	"loadbalancer/proxy/acme/acmetest"
)

// site is where an authority checks challenges: a plain port and one of TLS, both answered by one of
// the instances.
type site struct {
	httpPort, tlsPort int
	answers           atomic.Pointer[Manager]
	elect             func() *Manager // in place of answers, unless nil
	answered          [2]atomic.Int64 // by HTTP-01, TLS-ALPN-01
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	secure, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{NextProtos: []string{ALPN}, GetCertificate: s.certificate})
	if err != nil {
		t.Fatal(err)
	}
	s.httpPort, s.tlsPort = plain.Addr().(*net.TCPAddr).Port, secure.Addr().(*net.TCPAddr).Port
	server := &http.Server{Handler: http.HandlerFunc(s.answer)}
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(plain) })
	running.Go(func() {
		for {
			conn, err := secure.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				_ = conn.SetDeadline(time.Now().Add(time.Minute))
				_ = conn.(*tls.Conn).Handshake()
				_, _ = io.Copy(conn, conn) // so that a client can tell that the connection lives
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = server.Close()
		_ = secure.Close()
		running.Wait()
	})
	return s
}

func (s *site) manager() *Manager {
	if s.elect != nil {
		return s.elect()
	}
	return s.answers.Load()
}

func (s *site) answer(w http.ResponseWriter, r *http.Request) {
	token, ok := strings.CutPrefix(r.URL.Path, "/.well-known/acme-challenge/")
	m := s.manager()
	if !ok || m == nil {
		http.NotFound(w, r)
		return
	}
	host, _, _ := net.SplitHostPort(r.Host)
	answer, ok := m.HTTP01(host, token)
	if !ok {
		http.NotFound(w, r)
		return
	}
	s.answered[0].Add(1)
	_, _ = io.WriteString(w, answer)
}

func (s *site) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	m := s.manager()
	c, err := m.Certificate(hello.ServerName, hello)
	if err == nil && c == nil {
		err = fmt.Errorf("no certificate for %s", hello.ServerName)
	}
	if err == nil && IsChallenge(hello) {
		s.answered[1].Add(1)
	}
	return c, err
}

// instance is a manager that runs.
type instance struct {
	*Manager
	log  *acmetest.Lines
	stop func()
}

// run starts a manager, which ends with the test or by stop.
func run(t *testing.T, a *acmetest.Authority, c Config, offers Offers, storage certmagic.Storage) *instance {
	t.Helper()
	log := &acmetest.Lines{}
	c.Directory = a.Directory
	client := newClient()
	client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: a.TrustPool}
	m := NewManager(c, offers, Options{
		Storage: storage, Log: zerolog.New(log), client: client,
		pauseAfter: func(_ int, refused, _ bool) time.Duration {
			if refused {
				return time.Hour
			}
			return 300 * time.Millisecond
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		m.Run(ctx)
	}()
	i := &instance{Manager: m, log: log, stop: func() {
		cancel()
		<-ended
	}}
	t.Cleanup(i.stop)
	return i
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in 20s, not: %s", what)
		}
	}
}

// awaitCertificate waits until an instance has a certificate.
func (i *instance) awaitCertificate(t *testing.T, name string) *x509.Certificate {
	t.Helper()
	end := time.Now().Add(20 * time.Second)
	for time.Now().Before(end) {
		if c := i.certificate(name); c != nil {
			return c.Leaf
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("no certificate for %s in 20s:\n%s", name, i.log)
	return nil
}

// dial handshakes for a name and verifies the certificate.
func (s *site) dial(t *testing.T, a *acmetest.Authority, name string) *tls.Conn {
	t.Helper()
	conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.tlsPort), &tls.Config{RootCAs: a.Roots, ServerName: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// private fails the test unless the folder is for its owner alone, with all that is in it.
func private(t *testing.T, folder string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (i *instance) certificate(name string) *tls.Certificate {
	c, _ := i.Certificate(name, nil)
	return c
}
