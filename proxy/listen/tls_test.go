package listen

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"loadbalancer/proxy/certtest"
)

// logText is a log that may be read while it is written.
type logText struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

func (l *logText) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.all.String(), text)
}

// secured is a TLS with certificates in files, and a listener that it serves.
type secured struct {
	*TLS
	t         *testing.T
	authority *certtest.Authority
	folder    string
	address   string
	log       logText
}

func newSecured(t *testing.T) *secured {
	t.Helper()
	s := &secured{t: t, authority: certtest.NewAuthority(t), folder: t.TempDir()}
	s.TLS = NewTLS(nil, zerolog.New(&s.log))
	ln, err := tls.Listen("tcp", "127.0.0.1:0", s.ServerConfig())
	if err != nil {
		t.Fatal(err)
	}
	s.address = ln.Addr().String()
	var serving sync.WaitGroup
	t.Cleanup(serving.Wait)
	t.Cleanup(func() { ln.Close() })
	serving.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
				_, _ = io.Copy(conn, conn)
			})
		}
	})
	return s
}

// write writes a certificate, and returns its entry of the config.
func (s *secured) write(name string, names []string, options ...certtest.Option) CertificateConfig {
	s.t.Helper()
	cert, key := certtest.Write(s.t, s.authority.Issue(names, options...), s.folder, name)
	return CertificateConfig{cert, key}
}

// apply applies a config of these certificates.
func (s *secured) apply(all ...CertificateConfig) {
	s.t.Helper()
	c := DefaultTLSConfig()
	c.Certificates = all
	if err := s.Apply(c, false); err != nil {
		s.t.Fatal(err)
	}
}

// run has changed files taken up until the test ends.
func (s *secured) run() {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { s.Run(ctx) })
	s.t.Cleanup(func() {
		cancel()
		running.Wait()
	})
}

// dial does a handshake, and returns the connection.
func (s *secured) dial(name string, change func(*tls.Config)) (*tls.Conn, error) {
	c := &tls.Config{ServerName: name, InsecureSkipVerify: true}
	if change != nil {
		change(c)
	}
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", s.address, c)
	if err == nil {
		s.t.Cleanup(func() { conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	}
	return conn, err
}

// leaf returns the certificate that a client gets.
func (s *secured) leaf(name string, change func(*tls.Config)) *x509.Certificate {
	s.t.Helper()
	conn, err := s.dial(name, change)
	if err != nil {
		s.t.Fatal(err)
	}
	return conn.ConnectionState().PeerCertificates[0]
}

// within waits for a condition for as long as files may take to be taken up, on a busy machine.
func within(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited 10 s for %s", what)
		}
	}
}

// onlyRSA makes a client understand no other signatures.
func onlyRSA(c *tls.Config) {
	c.MaxVersion = tls.VersionTLS12
	c.CipherSuites = []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
}

// A client gets the certificate of the name that it asks for, with a key that it understands.
func TestCertificateOfAName(t *testing.T) {
	s := newSecured(t)
	s.apply(
		s.write("first", []string{"first.example", "also.example"}),
		s.write("first RSA", []string{"first.example"}, certtest.RSA(t)),
		s.write("rsa", []string{"both.example"}, certtest.RSA(t)),
		s.write("ecdsa", []string{"both.example"}),
		s.write("wildcard", []string{"*.wild.example"}),
		s.write("exact", []string{"exact.wild.example"}),
		s.write("address", []string{"127.0.0.1"}),
	)
	for _, test := range []struct {
		name    string
		change  func(*tls.Config)
		subject string
		key     x509.PublicKeyAlgorithm
	}{
		{"first.example", nil, "first.example", x509.ECDSA},
		{"FIRST.example", nil, "first.example", x509.ECDSA},
		{"also.example", nil, "first.example", x509.ECDSA},
		{"first.example", onlyRSA, "first.example", x509.RSA},
		{"both.example", nil, "both.example", x509.ECDSA},
		{"both.example", onlyRSA, "both.example", x509.RSA},
		{"a.wild.example", nil, "*.wild.example", x509.ECDSA},
		{"exact.wild.example", nil, "exact.wild.example", x509.ECDSA},
		{"a.b.wild.example", nil, "first.example", x509.ECDSA},
		{"wild.example", nil, "first.example", x509.ECDSA},
		{"unknown.example", nil, "first.example", x509.ECDSA},
		{"unknown.example", onlyRSA, "first.example", x509.RSA},
		{"", nil, "first.example", x509.ECDSA},
		{"", onlyRSA, "first.example", x509.RSA},
		{"com", nil, "first.example", x509.ECDSA},
	} {
		got := s.leaf(test.name, test.change)
		if got.Subject.CommonName != test.subject || got.PublicKeyAlgorithm != test.key {
			t.Errorf("%s (RSA only: %v) gets %s with %s, want %s with %s", test.name, test.change != nil, got.Subject.CommonName, got.PublicKeyAlgorithm, test.subject, test.key)
		}
	}
	if _, err := s.dial("a.wild.example", onlyRSA); err == nil {
		t.Error("a client without ECDSA got a certificate of another name")
	}
	var names []string
	for name := range s.Expiries() {
		names = append(names, name)
	}
	slices.Sort(names)
	if want := []string{"*.wild.example", "127.0.0.1", "also.example", "both.example", "exact.wild.example", "first.example"}; !slices.Equal(names, want) {
		t.Errorf("there are expiries of %q, want %q", names, want)
	}
}

// issuer is one that manages a name.
type issuer struct{ managed *tls.Certificate }

func (i issuer) Certificate(name string, _ *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if name == "managed.example" {
		return i.managed, nil
	}
	return nil, nil
}

func (i issuer) Expiries() map[string]time.Time {
	return map[string]time.Time{"managed.example": i.managed.Leaf.NotAfter, "file.example": i.managed.Leaf.NotAfter}
}
func (i issuer) Faults() []string { return []string{"managed.example cannot be renewed"} }

// An issuer is asked for names that no file has a certificate for, and counts where it is earlier.
func TestIssuer(t *testing.T) {
	s := newSecured(t)
	end := time.Now().Add(time.Hour).Truncate(time.Second)
	managed := s.authority.Issue([]string{"managed.example"}, certtest.Expires(end))
	s.issuer = issuer{&managed}
	for _, first := range []string{"no file", "a file"} {
		if first == "a file" {
			s.apply(s.write("file", []string{"file.example"}))
			if got := s.leaf("file.example", nil).Subject.CommonName; got != "file.example" {
				t.Errorf("got %s", got)
			}
			if got := s.leaf("unknown.example", nil).Subject.CommonName; got != "file.example" {
				t.Errorf("got %s", got)
			}
		} else if _, err := s.dial("unknown.example", nil); err == nil {
			t.Error("there is a certificate for an unknown name")
		}
		if got := s.leaf("Managed.example", nil).Subject.CommonName; got != "managed.example" {
			t.Errorf("with %s, got %s", first, got)
		}
		if got := s.Expiries(); !got["managed.example"].Equal(end) || !got["file.example"].Equal(end) {
			t.Errorf("with %s, got %v", first, got)
		}
		if got := s.Faults(); !slices.Equal(got, []string{"managed.example cannot be renewed"}) {
			t.Errorf("with %s, got %q", first, got)
		}
	}
}

// Files that change are taken up, however they do; those that cannot be used are told once, and
// change nothing.
func TestFilesChange(t *testing.T) {
	t.Parallel()
	s := newSecured(t)
	files := s.write("a", []string{"0.example"})
	s.apply(files)
	s.run()
	gets := func(name string) bool { return s.leaf("", nil).Subject.CommonName == name }
	content := func(name string) (cert, key []byte) {
		t.Helper()
		c := s.write("other", []string{name})
		return readAll(t, c.Certificate), readAll(t, c.Key)
	}
	put := func(path string, text []byte) {
		t.Helper()
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const kept = "the one before stays in use"
	// in place, the key a moment after the certificate: nothing is told
	cert, key := content("1.example")
	put(files.Certificate, cert[:len(cert)/2])
	put(files.Certificate, cert)
	put(files.Key, key)
	within(t, "files written in place", func() bool { return gets("1.example") })
	// by a rename
	s.write("a", []string{"2.example"})
	within(t, "files that were renamed", func() bool { return gets("2.example") })
	before := s.log.count(kept)
	// a key of another certificate, then nothing at all
	for _, bad := range []struct {
		what string
		do   func()
	}{
		{"private key does not match public key", func() { put(files.Key, key) }},
		{"PEM data in key input", func() { put(files.Key, nil) }},
		{"no such file", func() { os.Remove(files.Key) }},
		{"no regular file", func() {
			if err := syscall.Mkfifo(files.Key, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		bad.do()
		within(t, bad.what, func() bool {
			return strings.Contains(strings.Join(s.Faults(), "\n"), kept) && s.log.count(bad.what) > 0
		})
		time.Sleep(2 * lookEvery) // it is not told again
		if got := s.log.count(kept); got != before+1 || !gets("2.example") {
			t.Errorf("%s: told %d times, want once; serves %v", bad.what, got-before, s.leaf("", nil).Subject)
		}
		before = s.log.count(kept)
	}
	if err := s.Apply(TLSConfig{Certificates: []CertificateConfig{files}}, false); err == nil || !gets("2.example") {
		t.Errorf("a config with the bad files is taken up: %v", err)
	}
	if err := os.Remove(files.Key); err != nil {
		t.Fatal(err)
	}
	s.write("a", []string{"3.example"})
	within(t, "good files after bad ones", func() bool { return gets("3.example") && len(s.Faults()) == 0 })
}

func readAll(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// A folder that a link leads to is replaced by another one, as Kubernetes does it.
func TestLinkedFolderChanges(t *testing.T) {
	t.Parallel()
	s := newSecured(t)
	root := s.folder
	for _, name := range []string{"0", "1"} {
		s.folder = filepath.Join(root, name)
		if err := os.Mkdir(s.folder, 0o700); err != nil {
			t.Fatal(err)
		}
		s.write("tls", []string{name + ".example"})
	}
	link := func(to, name string) {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("0", "..data")
	link("..data/tls.pem", "tls.pem")
	link("..data/tls.key", "tls.key")
	s.apply(CertificateConfig{filepath.Join(root, "tls.pem"), filepath.Join(root, "tls.key")})
	s.run()
	link("1", "..new")
	if err := os.Rename(filepath.Join(root, "..new"), filepath.Join(root, "..data")); err != nil {
		t.Fatal(err)
	}
	within(t, "the other folder", func() bool { return s.leaf("", nil).Subject.CommonName == "1.example" })
}

// A folder that disappears leaves what it held in use, and counts again once it is back.
func TestFolderDisappears(t *testing.T) {
	t.Parallel()
	s := newSecured(t)
	s.folder = filepath.Join(s.folder, "certificates")
	if err := os.Mkdir(s.folder, 0o700); err != nil {
		t.Fatal(err)
	}
	var all []CertificateConfig
	for _, name := range []string{"a.example", "b.example"} {
		all = append(all, s.write(name, []string{name}))
	}
	s.apply(all...)
	s.run()
	if err := os.RemoveAll(s.folder); err != nil {
		t.Fatal(err)
	}
	within(t, "both faults", func() bool { return len(s.Faults()) == 2 && s.log.count("no such file") == 2 })
	for _, name := range []string{"a.example", "b.example"} {
		if got := s.leaf(name, nil); got.Subject.CommonName != name {
			t.Errorf("%s gets the certificate of %s", name, got.Subject.CommonName)
		}
	}
	if err := os.Mkdir(s.folder, 0o700); err != nil {
		t.Fatal(err)
	}
	s.write("a.example", []string{"c.example"})
	s.write("b.example", []string{"b.example"})
	within(t, "the files that are back", func() bool { return len(s.Faults()) == 0 && s.leaf("c.example", nil).Subject.CommonName == "c.example" })
}

// A certificate that has expired, or will soon, is served, and warned of once.
func TestExpiry(t *testing.T) {
	t.Parallel()
	s := newSecured(t)
	s.apply(s.write("expired", []string{"expired.example"}, certtest.Expires(time.Now().Add(-time.Minute))),
		s.write("soon", []string{"soon.example"}, certtest.Expires(time.Now().Add(10*time.Minute))),
		s.write("fresh", []string{"fresh.example"}))
	s.run()
	within(t, "the warnings", func() bool { return s.log.count("has expired") > 0 && s.log.count("expires soon") > 0 })
	time.Sleep(2 * lookEvery)
	if got := s.log.count("expire"); s.log.count(`"message":"a certificate`) != 2 {
		t.Errorf("%d warnings, want 2: %s", got, s.log.all.String())
	}
	if got := strings.Join(s.Faults(), "\n"); strings.Count(got, "\n") != 1 || !strings.Contains(got, "expired.pem has expired") || !strings.Contains(got, "soon.pem expires soon") {
		t.Errorf("the faults are %s", got)
	}
	if got := s.leaf("expired.example", nil).Subject.CommonName; got != "expired.example" {
		t.Errorf("got %s", got)
	}
	s.write("expired", []string{"expired.example"})
	within(t, "the renewal", func() bool { return len(s.Faults()) == 1 })
}

// Sessions are resumed after a reload, and after the keys of tickets have been replaced.
func TestResumption(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			s := newSecured(t)
			var ahead time.Duration
			s.server.Time = func() time.Time { return time.Now().Add(ahead) }
			s.apply(s.write("a", []string{"a.example"}))
			cache := tls.NewLRUClientSessionCache(1)
			resumes := func() bool {
				t.Helper()
				conn, err := s.dial("a.example", func(c *tls.Config) {
					c.MaxVersion, c.ClientSessionCache = version, cache
					c.InsecureSkipVerify, c.RootCAs = false, s.authority.Pool
				})
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				_, _ = conn.Write([]byte("x"))
				if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil { // the ticket comes with it
					t.Fatal(err)
				}
				return conn.ConnectionState().DidResume
			}
			if resumes() {
				t.Error("the first connection is resumed")
			}
			if !resumes() {
				t.Error("the second is not")
			}
			s.apply(s.write("b", []string{"b.example"}), s.write("c", []string{"a.example"}))
			if !resumes() {
				t.Error("none is after a reload")
			}
			ahead = 25 * time.Hour // a new key, and the ticket is of the one before
			if !resumes() {
				t.Error("none is after the key was replaced")
			}
		})
	}
}

func TestMinVersion(t *testing.T) {
	s := newSecured(t)
	files := s.write("a", []string{"a.example"})
	for _, test := range []struct {
		min, most uint16
		ok        bool
	}{
		{tls.VersionTLS12, tls.VersionTLS13, true},
		{tls.VersionTLS12, tls.VersionTLS12, true},
		{tls.VersionTLS12, tls.VersionTLS11, false},
		{tls.VersionTLS13, tls.VersionTLS13, true},
		{tls.VersionTLS13, tls.VersionTLS12, false},
	} {
		if err := s.Apply(TLSConfig{Certificates: []CertificateConfig{files}, MinVersion: TLSVersion(test.min)}, false); err != nil {
			t.Fatal(err)
		}
		_, err := s.dial("a.example", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, test.most })
		if (err == nil) != test.ok {
			t.Errorf("with %s at least, %s at most: %v", tls.VersionName(test.min), tls.VersionName(test.most), err)
		}
	}
}

// A connection that stands is served while certificates change.
func TestConnectionsOutliveCertificates(t *testing.T) {
	t.Parallel()
	s := newSecured(t)
	s.apply(s.write("a", []string{"a.example"}))
	s.run()
	conn, err := s.dial("a.example", nil)
	if err != nil {
		t.Fatal(err)
	}
	s.write("a", []string{"b.example"})
	for changed := false; !changed; changed = s.leaf("", nil).Subject.CommonName == "b.example" {
		_, _ = conn.Write([]byte("x"))
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
}

// A thousand names cost no more than one to choose from.
func TestCertificateAllocations(t *testing.T) {
	authority := certtest.NewAuthority(t)
	one := authority.Issue([]string{"a.example"})
	k := newKeyring([]*tls.Certificate{&one})
	if n := testing.AllocsPerRun(100, func() { k.find("a.example"); k.find("b.example") }); n > 1 {
		t.Errorf("%g allocations", n)
	}
}
