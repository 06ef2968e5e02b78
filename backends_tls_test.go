package main

import (
	"bytes"
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"loadbalancer/proxy/certtest"
)

// TestBackendOverTLS: what an operator sees of a backend that speaks TLS, from a start to
// certificates that change, with a reload and without one.
func TestBackendOverTLS(t *testing.T) {
	folder := t.TempDir()
	authority, other := certtest.NewAuthority(t), certtest.NewAuthority(t)
	ca := authority.Write(folder, "ca.pem")
	var certificate atomic.Pointer[tls.Certificate]
	show := func(by *certtest.Authority) {
		c := by.Issue([]string{"127.0.0.1"})
		certificate.Store(&c)
	}
	show(authority)
	backend := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	backend.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return &tls.Config{Certificates: []tls.Certificate{*certificate.Load()}, SessionTicketsDisabled: true}, nil
	}}
	backend.Config.SetKeepAlivesEnabled(false)
	backend.Config.ErrorLog = log.New(io.Discard, "", 0)
	backend.StartTLS()
	defer backend.Close()
	address := backend.Listener.Addr().String()
	config := strings.Replace(testConfig(t, []string{address}, "limiter: {enabled: false}", "log: {access: errors}"), "http://"+address, backend.URL, 1) +
		"    tls:\n      ca: " + ca + "\n"
	in := startInstance(t, config)
	ask := func(status int) {
		t.Helper()
		waitFor(t, "its answer", func() bool { return call(t, "GET", in.proxy, "").status == status })
	}
	ask(200)
	if b := backendsOf(t, in.management)[address]; b.Backend != backend.URL || b.State != "up" || b.LastError != "" {
		t.Errorf("got %+v", b)
	}
	if text := call(t, "GET", in.management+"/metrics", "").body; !strings.Contains(text, `lb_backend_up{pool="main",backend="`+backend.URL+`"} 1`) {
		t.Errorf("the metrics do not name it by its URL:\n%s", text)
	}

	show(other)
	waitFor(t, "its checks to fail", func() bool { return backendsOf(t, in.management)[address].State != "up" })
	if b := backendsOf(t, in.management)[address]; b.Cause != "refused" || !strings.Contains(b.LastError, "certificate signed by unknown authority") {
		t.Errorf("got %+v", b)
	}
	other.Write(folder, "ca.pem")
	waitFor(t, "the file to be read again", func() bool { return backendsOf(t, in.management)[address].State == "up" })
	ask(200)

	in.edit(t, ca, filepath.Join(folder, "none.pem"))
	if a := call(t, "POST", in.management+"/v1/api/reload", ""); a.status != 422 || !strings.Contains(a.body, "pools.main.tls.ca: ") || !strings.Contains(a.body, "no such file") {
		t.Errorf("a reload with a file that does not exist got %+v", a)
	}
	ask(200)
	authority.Write(folder, "none.pem")
	changed := in.reload(t)
	if want := "pools.main.tls.ca: " + ca + " → " + filepath.Join(folder, "none.pem"); len(changed) != 1 || changed[0] != want {
		t.Errorf("the reload changed %q, want %q", changed, want)
	}
	waitFor(t, "the cause in the log", func() bool {
		_ = call(t, "GET", in.proxy, "")
		line := in.log.find("request")
		cause, _ := line["cause"].(string)
		return line["backend"] == backend.URL && line["reason"] == "connect_failed" && strings.HasPrefix(cause, "TLS handshake: tls: failed to verify certificate: x509: ")
	})
	in.reload(t, "    tls:\n", "    tls:\n      insecure_skip_verify: true\n")
	ask(200)
	waitFor(t, "the warning", func() bool {
		return in.log.find("the certificates of backends are not verified: anything on the way can read and change what is sent") != nil
	})
	var stdout bytes.Buffer
	if err := check(in.path, &stdout); err != nil || !strings.Contains(stdout.String(), "warning: pools.main.tls.insecure_skip_verify: ") {
		t.Errorf("lb check says %q, %v", stdout.String(), err)
	}
}
