package upstream

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"loadbalancer/proxy/certtest"
)

// TestFilesAreReadAgain: what has changed counts for the next connection, without a reload; what is
// bad is told once, and what was there before counts.
func TestFilesAreReadAgain(t *testing.T) {
	first, second, folder := certtest.NewAuthority(t), certtest.NewAuthority(t), t.TempDir()
	c := TLSConfig{CA: first.Write(folder, "ca.pem")}
	c.Certificate, c.Key = certtest.Write(t, first.Issue([]string{"one"}), folder, "client")
	server := func(a *certtest.Authority) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{a.Issue([]string{"127.0.0.1"})}, ClientAuth: tls.RequireAnyClientCert}
	}
	s := startTLS(t, server(first))
	var log strings.Builder
	p := newTLSPool(t, s.at("127.0.0.1"), c, zerolog.New(&log))
	mustShow := func(want string) {
		t.Helper()
		mustTalk(t, p)
		if got := (<-s.shaken).PeerCertificates[0].Subject.CommonName; got != want {
			t.Errorf("the balancer shows the certificate of %q, want %q", got, want)
		}
	}
	mustLog := func(step string, warnings, news int) {
		t.Helper()
		if w, n := strings.Count(log.String(), `"level":"warn"`), strings.Count(log.String(), "have changed"); w != warnings || n != news {
			t.Errorf("%s: logged %d warnings and %d changes, want %d and %d: %s", step, w, n, warnings, news, log.String())
		}
		log.Reset()
	}
	mustShow("one")
	mustLog("at first", 0, 0)

	certtest.Write(t, first.Issue([]string{"two"}), folder, "client")
	mustShow("two")
	mustLog("another certificate", 0, 1)

	key, err := os.ReadFile(c.Key)
	if err != nil {
		t.Fatal(err)
	}
	certtest.Write(t, first.Issue([]string{"three"}), folder, "client")
	good, err := os.ReadFile(c.Key)
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, c.Key, string(key)) // of the certificate before
	mustShow("two")
	mustShow("two")
	mustLog("a certificate without its key", 1, 0)
	mustWrite(t, c.Key, string(good))
	mustShow("three")
	mustLog("with its key", 0, 1)

	for _, bad := range []string{"", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"} {
		mustWrite(t, c.CA, bad)
		mustShow("three")
		mustShow("three")
		mustLog("no authority", 1, 0)
	}
	if err := os.Remove(c.CA); err != nil {
		t.Fatal(err)
	}
	mustShow("three")
	mustShow("three")
	mustLog("no file", 1, 0)

	s.config.Store(server(second))
	if _, err := talk(t, p); err == nil {
		t.Error("a certificate of another authority passes")
	}
	second.Write(folder, "ca.pem")
	mustShow("three")
	mustLog("the other authority", 0, 1)
	s.config.Store(server(first))
	if _, err := talk(t, p); err == nil {
		t.Error("a certificate of the authority before still passes")
	}
}

// TestFileChanged: a change is found also where it leaves the time and the size as they were.
func TestFileChanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	mustWrite(t, path, "one")
	old := time.Now().Add(-time.Hour)
	mustAge := func(at time.Time) {
		t.Helper()
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	f := tlsFile{key: "ca", path: path}
	read := func(want string) {
		t.Helper()
		if !f.changed() {
			t.Errorf("a file with %q counts as unchanged", want)
		}
		if err := f.read(); err != nil || string(f.text) != want {
			t.Errorf("got %q, %v, want %q", f.text, err, want)
		}
	}
	mustAge(old)
	read("one")
	if f.changed() {
		t.Error("an old file counts as changed")
	}
	now := time.Now()
	mustAge(now)
	read("one")
	mustWrite(t, path, "two")
	mustAge(now) // as a file system of coarse times would have it
	read("two")
	mustAge(old)
	read("two")
	if err := os.Rename(path, path+".gone"); err != nil || !f.changed() || f.read() == nil || f.changed() {
		t.Error("a file that has gone is not noticed once")
	}
	mustWrite(t, path, "new")
	mustAge(old)
	read("new")
	mustWrite(t, path+".other", "two")
	if err := os.Chtimes(path+".other", old, old); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".other", path); err != nil {
		t.Fatal(err)
	}
	read("two")
}

// TestTLSFilesAreBounded: what is no file of a reasonable size is not read.
func TestTLSFilesAreBounded(t *testing.T) {
	large := filepath.Join(t.TempDir(), "large")
	mustWrite(t, large, "")
	if err := os.Truncate(large, maxTLSFile+1); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{large: "it is larger than 1 MiB", os.DevNull: "it is no regular file", large + "r": "no such file or directory"} {
		f := tlsFile{path: path}
		if err := f.read(); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", path, err, want)
		}
	}
}

// TestSubjects: the names and addresses that server_name takes.
func TestSubjects(t *testing.T) {
	for text, want := range map[string]bool{
		"a": true, "a.internal": true, "127.0.0.1": true, "::1": true,
		"a:443": false, "[::1]": false, "127.1": false, "*.a": false, "a b": false, "fe80::1%eth0": false, "https://a": false, "a..b": false,
	} {
		if got := isSubject(text); got != want {
			t.Errorf("%q: got %t", text, got)
		}
	}
}
