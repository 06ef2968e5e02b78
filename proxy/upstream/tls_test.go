package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509/pkix"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"loadbalancer/proxy/certtest"
	"loadbalancer/proxy/reason"
)

// tlsServer is a server of TLS that answers each line with itself.
type tlsServer struct {
	address netip.AddrPort
	config  atomic.Pointer[tls.Config] // of the connections from now on
	shaken  chan tls.ConnectionState   // of each handshake that succeeds
	open    atomic.Int64
}

func startTLS(t *testing.T, c *tls.Config) *tlsServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &tlsServer{address: netip.MustParseAddrPort(ln.Addr().String()), shaken: make(chan tls.ConnectionState, 100)}
	s.config.Store(c)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() { s.serve(conn) })
		}
	})
	t.Cleanup(func() { ln.Close(); running.Wait() })
	return s
}

func (s *tlsServer) serve(conn net.Conn) {
	s.open.Add(1)
	defer s.open.Add(-1)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	secure := tls.Server(conn, s.config.Load())
	if secure.Handshake() != nil {
		return
	}
	s.shaken <- secure.ConnectionState()
	for in := bufio.NewReader(secure); ; {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		_, _ = io.WriteString(secure, line)
	}
}

// at returns the URL of the server by a host.
func (s *tlsServer) at(host string) string {
	return "https://" + net.JoinHostPort(host, netip.AddrPortFrom(s.address.Addr(), s.address.Port()).String()[len("127.0.0.1:"):])
}

// newTLSPool makes a pool of one backend, and closes its connections at the end of the test.
func newTLSPool(t *testing.T, url string, c TLSConfig, log zerolog.Logger) *Pool {
	t.Helper()
	p := NewPool("main", tlsPoolConfig(url, c), log)
	t.Cleanup(p.CloseUnused)
	return p
}

func tlsPoolConfig(url string, c TLSConfig) PoolConfig {
	config := DefaultPoolConfig()
	config.TLS = c
	config.Backends = []BackendConfig{{URL: mustURL(url), Weight: 1}}
	return config
}

// talk sends a line on a new connection of the pool and reads it back, so that session tickets are
// read. The connection stays open.
func talk(t *testing.T, p *Pool) (*Conn, error) {
	t.Helper()
	conn, err := p.all()[0].Connect(time.Now(), true)
	if err != nil {
		return nil, err
	}
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, "hello\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, len("hello\n"))); err != nil {
		conn.Discard()
		return nil, err
	}
	return conn, nil
}

// mustTalk is talk with a connection that is made and closed again.
func mustTalk(t *testing.T, p *Pool) {
	t.Helper()
	conn, err := talk(t, p)
	if err != nil {
		t.Fatal(err)
	}
	conn.Discard()
}

// TestServerName: which name is sent, and which the certificate must be for.
func TestServerName(t *testing.T) {
	authority := certtest.NewAuthority(t)
	ca := authority.Write(t.TempDir(), "ca.pem")
	for _, test := range []struct {
		name, host, serverName, certificate string
		sent, cause                         string
	}{
		{"name", "localhost", "", "localhost", "localhost", ""},
		{"name in capital letters", "LocalHost", "", "localhost", "localhost", ""},
		{"another name", "localhost", "", "a.internal", "localhost", "certificate is valid for a.internal, not localhost"},
		{"address", "127.0.0.1", "", "127.0.0.1", "", ""},
		{"address, with the certificate of a name", "127.0.0.1", "", "localhost", "", "doesn't contain any IP SANs"},
		{"server_name", "127.0.0.1", "a.internal", "a.internal", "a.internal", ""},
		{"server_name, with the certificate of the URL", "localhost", "a.internal", "localhost", "a.internal", "certificate is valid for localhost, not a.internal"},
		{"address as server_name", "localhost", "127.0.0.1", "127.0.0.1", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := authority.Issue([]string{test.certificate})
			sent := make(chan string, 1)
			s := startTLS(t, &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
				sent <- hello.ServerName
				return &c, nil
			}})
			p := newTLSPool(t, s.at(test.host), TLSConfig{CA: ca, ServerName: test.serverName}, zerolog.Nop())
			conn, err := talk(t, p)
			if err == nil {
				conn.Discard()
			}
			if (err == nil) != (test.cause == "") || err != nil && (!strings.Contains(err.Error(), test.cause) || ConnectReason(err) != reason.ConnectFailed) {
				t.Errorf("got %v, want %q", err, test.cause)
			}
			select {
			case got := <-sent:
				if got != test.sent {
					t.Errorf("%q was sent, want %q", got, test.sent)
				}
			default:
				t.Error("no handshake has begun")
			}
		})
	}
}

// TestLookedUpName: the certificate is for the name, and not for the address that it leads to.
func TestLookedUpName(t *testing.T) {
	authority := certtest.NewAuthority(t)
	s := startTLS(t, &tls.Config{Certificates: []tls.Certificate{authority.Issue([]string{"api.internal"})}})
	by := newCredentials(TLSConfig{CA: authority.Write(t.TempDir(), "ca.pem")})
	b := newBackend(mustURL("https://API.internal.").at(s.address), "")
	c := DefaultPoolConfig()
	b.configure(place{}, &c, by)
	conn, err := b.Connect(time.Now(), false)
	if err != nil {
		t.Fatal(err)
	}
	conn.Discard()
	if got := (<-s.shaken).ServerName; got != "api.internal" {
		t.Errorf("%q was sent", got)
	}
	if got, want := b.Name(), "https://"+s.address.String(); got != want {
		t.Errorf("the backend is named %s, want %s", got, want)
	}
}

// TestFailedHandshakes: what does not verify, or is no TLS, is connect_failed with its cause.
func TestFailedHandshakes(t *testing.T) {
	authority, stranger := certtest.NewAuthority(t), certtest.NewAuthority(t)
	good := TLSConfig{CA: authority.Write(t.TempDir(), "ca.pem")}
	config := func(c tls.Certificate) *tls.Config { return &tls.Config{Certificates: []tls.Certificate{c}} }
	valid := authority.Issue([]string{"127.0.0.1"})
	for _, test := range []struct {
		name   string
		server *tls.Config
		client TLSConfig
		why    reason.Code
		cause  string
	}{
		{"unknown authority", config(stranger.Issue([]string{"127.0.0.1"})), good, reason.ConnectFailed, "certificate signed by unknown authority"},
		{"the system's authorities", config(valid), TLSConfig{}, reason.ConnectFailed, "certificate signed by unknown authority"},
		{"expired", config(authority.Issue([]string{"127.0.0.1"}, certtest.Expires(time.Now().Add(-time.Minute)))), good, reason.ConnectFailed, "certificate has expired"},
		{"no common version", &tls.Config{Certificates: config(valid).Certificates, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}, good, reason.ConnectFailed, "protocol version"},
		{"nothing is verified", config(stranger.Issue([]string{"a"}, certtest.Expires(time.Now().Add(-time.Minute)))), TLSConfig{InsecureSkipVerify: true}, reason.None, ""},
		{"RSA", config(authority.Issue([]string{"127.0.0.1"}, certtest.RSA(t))), good, reason.None, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newTLSPool(t, startTLS(t, test.server).at("127.0.0.1"), test.client, zerolog.Nop())
			checkConnect(t, p, test.why, test.cause)
		})
	}
	for _, test := range []struct {
		name  string
		serve func(net.Conn)
		why   reason.Code
		cause string
	}{
		{"in the clear", func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }, reason.ConnectFailed, "TLS handshake: what the backend sent is not TLS"},
		{"closed", func(net.Conn) {}, reason.ConnectFailed, "TLS handshake: the backend closed the connection"},
		{"closed within a record", func(c net.Conn) { _, _ = c.Write([]byte{22, 3, 3, 0, 9, 2}) }, reason.ConnectFailed, "TLS handshake: the backend closed the connection"},
		{"silent", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, reason.ConnectTimeout, "TLS handshake: "},
		{"drips", func(c net.Conn) {
			_, _ = c.Write([]byte{22, 3, 3, 10, 0})
			for _, err := c.Write([]byte{2}); err == nil; _, err = c.Write([]byte{2}) {
				time.Sleep(20 * time.Millisecond)
			}
		}, reason.ConnectTimeout, "TLS handshake: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			go func() {
				for conn, err := ln.Accept(); err == nil; conn, err = ln.Accept() {
					_, _ = conn.Read(make([]byte, 4096)) // or closing resets
					test.serve(conn)
					conn.Close()
				}
			}()
			c := tlsPoolConfig("https://"+ln.Addr().String(), good)
			if c.Timeouts.Connect = 10 * time.Second; test.why == reason.ConnectTimeout {
				c.Timeouts.Connect = 200 * time.Millisecond
			}
			p := NewPool("main", c, zerolog.Nop())
			began := time.Now()
			checkConnect(t, p, test.why, test.cause)
			if took := time.Since(began); took > 5*time.Second { // for two handshakes
				t.Errorf("it took %s", took)
			}
		})
	}
}

// checkConnect connects to the pool's backend. The reason and the cause are those of the failure, or
// none.
func checkConnect(t *testing.T, p *Pool, why reason.Code, cause string) {
	t.Helper()
	b := p.all()[0]
	conn, err := b.Connect(time.Now(), false)
	got := reason.None
	if err != nil {
		got = ConnectReason(err)
	} else {
		conn.Discard()
	}
	if got != why || err != nil && !strings.Contains(err.Error(), cause) {
		t.Errorf("got %s, %v, want %s, %q", got, err, why, cause)
	}
	if n := b.conns.opened(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
	if n := b.conns.slots.taken.Load(); n != 0 {
		t.Errorf("%d slots are taken", n)
	}
	if reached := b.reach() == nil; reached != (why == reason.None) {
		t.Errorf("to confirm that it cannot be reached: it can is %t", reached)
	}
}

// TestResumption: a connection resumes the session of the one before, unless a file has changed in
// between.
func TestResumption(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			authority, folder := certtest.NewAuthority(t), t.TempDir()
			c := TLSConfig{CA: authority.Write(folder, "ca.pem")}
			c.Certificate, c.Key = certtest.Write(t, authority.Issue([]string{"balancer"}), folder, "client")
			server := &tls.Config{
				Certificates: []tls.Certificate{authority.Issue([]string{"127.0.0.1"})}, MaxVersion: version,
				ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: authority.Pool,
			}
			s := startTLS(t, server)
			p := newTLSPool(t, s.at("127.0.0.1"), c, zerolog.Nop())
			for i, want := range []bool{false, true, true} {
				mustTalk(t, p)
				if got := <-s.shaken; got.DidResume != want || got.Version != version || got.PeerCertificates[0].Subject.CommonName != "balancer" {
					t.Errorf("connection %d: resumed is %t, with %s", i, got.DidResume, tls.VersionName(got.Version))
				}
			}
			certtest.Write(t, authority.Issue([]string{"another"}), folder, "client")
			mustTalk(t, p)
			if got := <-s.shaken; got.DidResume || got.PeerCertificates[0].Subject.CommonName != "another" {
				t.Errorf("with another certificate: resumed is %t, as %s", got.DidResume, got.PeerCertificates[0].Subject)
			}
		})
	}
}

// TestClientCertificate: a backend that asks for a certificate gets it, also if it names other
// authorities.
func TestClientCertificate(t *testing.T) {
	authority, stranger, folder := certtest.NewAuthority(t), certtest.NewAuthority(t), t.TempDir()
	with := TLSConfig{CA: authority.Write(folder, "ca.pem")}
	without := with
	with.Certificate, with.Key = certtest.Write(t, authority.Issue(nil, certtest.Subject(pkix.Name{CommonName: "lb"})), folder, "client")
	server := tls.Config{
		Certificates: []tls.Certificate{authority.Issue([]string{"127.0.0.1"})}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: authority.Pool,
	}
	other := server.Clone()
	other.ClientAuth, other.ClientCAs = tls.RequireAnyClientCert, stranger.Pool
	s, o := startTLS(t, &server), startTLS(t, other)
	for _, server := range []*tlsServer{s, o} {
		mustTalk(t, newTLSPool(t, server.at("127.0.0.1"), with, zerolog.Nop()))
		if got := (<-server.shaken).PeerCertificates[0].Subject.CommonName; got != "lb" {
			t.Errorf("got the certificate of %s", got)
		}
	}
	if _, err := talk(t, newTLSPool(t, s.at("127.0.0.1"), without, zerolog.Nop())); err == nil || !strings.Contains(err.Error(), "certificate required") {
		t.Errorf("without a certificate: got %v", err)
	}
	older := server.Clone() // the server may still read its own
	older.MaxVersion = tls.VersionTLS12
	checkConnect(t, newTLSPool(t, startTLS(t, older).at("127.0.0.1"), without, zerolog.Nop()), reason.ConnectFailed, "handshake failure")
}

// TestTLSOfAReload: connections made by another tls section are not used any more, and those made by
// the same one are.
func TestTLSOfAReload(t *testing.T) {
	authority, folder := certtest.NewAuthority(t), t.TempDir()
	before := TLSConfig{CA: authority.Write(folder, "ca.pem")}
	after := TLSConfig{CA: authority.Write(folder, "other.pem")}
	s := startTLS(t, &tls.Config{Certificates: []tls.Certificate{authority.Issue([]string{"127.0.0.1"})}})
	p := newTLSPool(t, s.at("127.0.0.1"), before, zerolog.Nop())
	b := p.all()[0]
	idle, _ := talk(t, p)
	inUse, _ := talk(t, p)
	idle.Release(0)
	p.Apply(tlsPoolConfig(s.at("127.0.0.1"), before))
	if got, _ := b.Connect(time.Now(), false); got != idle {
		t.Fatal("the same config has another connection")
	}
	idle.Release(0)
	p.Apply(tlsPoolConfig(s.at("127.0.0.1"), after))
	if n := b.conns.opened(); n != 1 {
		t.Errorf("%d connections are open, want the one in use", n)
	}
	inUse.Release(0)
	if n := b.conns.opened(); n != 0 {
		t.Errorf("%d connections are open", n)
	}
	p.Apply(tlsPoolConfig("http"+strings.TrimPrefix(s.at("127.0.0.1"), "https"), TLSConfig{}))
	if got := p.all()[0]; got == b || got.Name() != s.address.String() {
		t.Errorf("in the clear it is the same backend, or %s", got.Name())
	}
}

// TestChecksOverTLS: checks go the way of requests, and tell why they do not get through.
func TestChecksOverTLS(t *testing.T) {
	authority, stranger, folder := certtest.NewAuthority(t), certtest.NewAuthority(t), t.TempDir()
	c := TLSConfig{CA: authority.Write(folder, "ca.pem"), ServerName: "a.internal"}
	c.Certificate, c.Key = certtest.Write(t, authority.Issue([]string{"lb"}), folder, "client")
	for _, test := range []struct {
		name, path, cause, words string
		certificate              tls.Certificate
	}{
		{"connect", "", "", "", authority.Issue([]string{"a.internal"})},
		{"GET", "/healthz", "", "", authority.Issue([]string{"a.internal"})},
		{"wrong name", "", "refused", "a.internal", authority.Issue([]string{"127.0.0.1"})},
		{"wrong name, GET", "/healthz", "refused", "a.internal", authority.Issue([]string{"127.0.0.1"})},
		{"unknown authority", "", "refused", "unknown authority", stranger.Issue([]string{"a.internal"})},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			shaken := make(chan tls.ConnectionState, 1)
			server := &tls.Config{Certificates: []tls.Certificate{test.certificate}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: authority.Pool}
			ln, err := tls.Listen("tcp", "127.0.0.1:0", server)
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			go func() {
				for conn, err := ln.Accept(); err == nil; conn, err = ln.Accept() {
					go func() {
						defer conn.Close()
						if conn.(*tls.Conn).Handshake() != nil {
							return
						}
						select {
						case shaken <- conn.(*tls.Conn).ConnectionState():
						default:
						}
						_, _ = conn.Read(make([]byte, 4096))
						_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
					}()
				}
			}()
			config := tlsPoolConfig("https://"+ln.Addr().String(), c)
			config.Health.Path, config.Health.Interval = test.path, 20*time.Millisecond
			config.Health.Timeout = 5 * time.Second
			p := NewPool("main", config, zerolog.Nop())
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() { p.Run(ctx); close(ended) }()
			defer func() { stop(); <-ended }()
			b := p.all()[0]
			for end := time.Now().Add(10 * time.Second); b.verdict.Load() == nil; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("no check has ended")
				}
			}
			state := p.States()[0]
			if state.Cause != test.cause || !strings.Contains(state.LastError, test.words) || (state.State == "up") != (test.cause == "") {
				t.Errorf("got %s, %q, %q", state.State, state.Cause, state.LastError)
			}
			if test.cause != "" {
				return
			}
			if got := <-shaken; got.ServerName != "a.internal" || len(got.PeerCertificates) == 0 {
				t.Errorf("the check has asked for %q, with %d certificates", got.ServerName, len(got.PeerCertificates))
			}
		})
	}
}

// TestWarn: what is dangerous is warned of at the start and at each reload.
func TestWarn(t *testing.T) {
	var log strings.Builder
	c := tlsPoolConfig("https://127.0.0.1:1", TLSConfig{InsecureSkipVerify: true})
	p := NewPool("main", c, zerolog.New(&log))
	p.Apply(c)
	c.TLS = TLSConfig{}
	p.Apply(c)
	if n := strings.Count(log.String(), `"level":"warn","key":"pools.main.tls.insecure_skip_verify"`); n != 2 {
		t.Errorf("%d warnings, want 2: %s", n, log.String())
	}
}

func mustWrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
