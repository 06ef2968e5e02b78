package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"loadbalancer/proxy/certtest"
)

// edge is an authority and a folder for certificates.
type edge struct {
	*certtest.Authority
	t      *testing.T
	folder string
}

func newEdge(t *testing.T) edge {
	t.Helper()
	return edge{certtest.NewAuthority(t), t, t.TempDir()}
}

// write writes a certificate for names, and returns its entry of the config.
func (e edge) write(name string, names ...string) string {
	e.t.Helper()
	cert, key := certtest.Write(e.t, e.Issue(names), e.folder, name)
	return fmt.Sprintf("{certificate: %s, key: %s}", cert, key)
}

// transport trusts the authority, and asks for localhost.
func (e edge) transport() *http.Transport {
	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: e.Pool, ServerName: "localhost"}}
}

// get sends a GET on a new connection, and returns the body and the server's certificate.
func (e edge) get(address string) (body string, leaf *x509.Certificate, err error) {
	c := http.Client{Timeout: deadline, Transport: e.transport()}
	defer c.CloseIdleConnections()
	r, err := c.Get("https://" + address)
	if err != nil {
		return "", nil, err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	return string(text), r.TLS.PeerCertificates[0], err
}

// curl runs curl, which trusts the authority, and returns its output.
func (e edge) curl(arguments ...string) string {
	e.t.Helper()
	path := tool(e.t, "curl")
	arguments = append([]string{"-sS", "--max-time", "20", "--cacert", e.Write(e.folder, "ca.pem")}, arguments...)
	out, err := exec.Command(path, arguments...).CombinedOutput()
	if err != nil {
		e.t.Errorf("curl %q: %v: %s", arguments, err, out)
	}
	return string(out)
}

// TestTLSBesideHTTP serves both, with its certificate in the metrics and what it says in the log.
func TestTLSBesideHTTP(t *testing.T) {
	e, backend := newEdge(t), freeAddresses(t, 1)[0]
	serveBackend(t, backend)
	in := startInstance(t, testConfig(t, []string{backend}, "server:\n  listen: 127.0.0.1:0\n  tls:\n    listen: 127.0.0.1:0\n    certificates: ["+e.write("a", "localhost", "127.0.0.1")+"]\n"))
	secure, _ := in.log.find("proxy")["tls"].(string)
	if body, _, err := e.get(secure); err != nil || body != "backend "+backend+"\n" {
		t.Errorf("over TLS got %q, %v", body, err)
	}
	if a := call(t, "GET", in.proxy, ""); a.status != 200 {
		t.Errorf("in the clear got %+v", a)
	}
	if a := call(t, "GET", "http://"+secure, ""); a.status != 400 || !strings.Contains(a.body, "use https") {
		t.Errorf("in the clear on the port of TLS got %+v", a)
	}
	for _, version := range []string{"--tlsv1.2 --tls-max 1.2", "--tlsv1.3", "--http1.0", "--http1.1"} {
		if got := e.curl(append(strings.Fields(version), "https://"+secure)...); got != "backend "+backend+"\n" {
			t.Errorf("curl %s got %q", version, got)
		}
	}
	metrics := call(t, "GET", in.management+"/metrics", "").body
	for _, want := range []string{`lb_certificate_expiry_seconds{name="localhost"} `, `lb_certificate_faults 0`, `lb_tls_handshake_errors_total{cause="not_tls"} 1`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

// TestTLSOfTheListener serves TLS on server.listen itself, with openssl as the client.
func TestTLSOfTheListener(t *testing.T) {
	e, backend := newEdge(t), freeAddresses(t, 1)[0]
	serveBackend(t, backend)
	in := startInstance(t, testConfig(t, []string{backend}, "server:\n  listen: 127.0.0.1:0\n  tls: {certificates: ["+e.write("a", "localhost")+", "+e.write("b", "*.b.example")+"], min_version: 1.3}\n"))
	address := strings.TrimPrefix(in.proxy, "http://")
	if body, _, err := e.get(address); err != nil || body != "backend "+backend+"\n" {
		t.Errorf("got %q, %v", body, err)
	}
	openssl := tool(t, "openssl")
	client := func(arguments ...string) (string, error) {
		c := exec.CommandContext(t.Context(), openssl, append([]string{"s_client", "-connect", address, "-CAfile", e.Write(e.folder, "ca.pem"), "-ign_eof"}, arguments...)...)
		c.Stdin = strings.NewReader("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		out, err := c.CombinedOutput()
		return string(out), err
	}
	got, err := client("-servername", "x.b.example", "-verify_hostname", "x.b.example")
	for _, want := range []string{"Verify return code: 0 (ok)", "subject=CN = *.b.example", "New, TLSv1.3", "backend " + backend} {
		if err != nil || !strings.Contains(got, want) {
			t.Errorf("openssl says %v: %q is missing in %s", err, want, got)
		}
	}
	if got, err := client("-tls1_2"); err == nil || !strings.Contains(got, "protocol version") {
		t.Errorf("with TLS 1.2 openssl says %v: %s", err, got)
	}
	session := filepath.Join(e.folder, "session")
	if got, err := client("-sess_out", session); err != nil {
		t.Fatalf("%v: %s", err, got)
	}
	if got, err := client("-sess_in", session); err != nil || !strings.Contains(got, "Reused, TLSv1.3") {
		t.Errorf("the session is not resumed: %v: %s", err, got)
	}
}

// TestReloadTLS turns TLS on, moves it, changes its certificates and turns it off, while clients
// send requests on kept connections.
func TestReloadTLS(t *testing.T) {
	e, addresses := newEdge(t), freeAddresses(t, 3)
	serveBackend(t, addresses[0])
	in := startInstance(t, testConfig(t, addresses[:1], "server:\n  listen: 127.0.0.1:0\n  tls: {}\n"))
	a, b := e.write("a", "localhost"), e.write("b", "localhost", "b.example")
	first := addresses[1] + ", certificates: [" + a + "]}"
	if got := in.reload(t, "tls: {}", "tls: {listen: "+first); len(got) != 2 {
		t.Errorf("TLS turned on: changed %q", got)
	}
	kept := &http.Client{Timeout: deadline, Transport: e.transport()}
	defer kept.CloseIdleConnections()
	var failed, served atomic.Int64
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			default:
			}
			r, err := kept.Get("https://" + addresses[1])
			if err != nil {
				failed.Add(1)
				t.Logf("a request got %v", err)
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			r.Body.Close()
			served.Add(1)
		}
	}()
	if got := in.reload(t, "certificates: ["+a, "min_version: 1.3, certificates: ["+b+", "+a); len(got) != 2 {
		t.Errorf("another certificate: changed %q", got)
	}
	_, leaf, err := e.get(addresses[1])
	if err != nil || !slices.Contains(leaf.DNSNames, "b.example") {
		t.Errorf("after the reload got %v, %v", leaf, err)
	}
	e.write("b", "localhost", "later.example") // the config stays as it is
	waitFor(t, "the changed files", func() bool {
		_, leaf, err := e.get(addresses[1])
		return err == nil && slices.Contains(leaf.DNSNames, "later.example")
	})
	e.write("b", "localhost", "at-once.example")
	in.reload(t)
	if _, leaf, err := e.get(addresses[1]); err != nil || !slices.Contains(leaf.DNSNames, "at-once.example") {
		t.Errorf("after a reload of the same config got %v, %v", leaf, err)
	}
	if got := in.reload(t, "listen: "+addresses[1], "listen: "+addresses[2]); len(got) != 1 {
		t.Errorf("another address: changed %q", got)
	}
	if _, _, err := e.get(addresses[2]); err != nil {
		t.Errorf("at the new address got %v", err)
	}
	if _, _, err := e.get(addresses[1]); err == nil {
		t.Error("the address before still accepts")
	}
	enough := served.Load() + 100
	waitFor(t, "requests on the kept connection", func() bool { return served.Load() > enough || failed.Load() > 0 })
	close(stop)
	<-ended
	if failed.Load() > 0 {
		t.Error("a request on the kept connection has failed")
	}
	in.reload(t, "tls: {listen: "+addresses[2]+", min_version: 1.3, certificates: ["+b+", "+a+"]}", "tls: {}")
	if _, _, err := e.get(addresses[2]); err == nil {
		t.Error("TLS is turned off, and still accepts")
	}
	if a := call(t, "GET", in.proxy, ""); a.status != 200 {
		t.Errorf("in the clear got %+v", a)
	}
}

// TestReloadTLSRefuses has files and keys that a reload does not take up: nothing changes.
func TestReloadTLSRefuses(t *testing.T) {
	e, addresses := newEdge(t), freeAddresses(t, 2)
	serveBackend(t, addresses[0])
	a := e.write("a", "localhost")
	e.write("b", "localhost")
	in := startInstance(t, testConfig(t, addresses[:1], "server:\n  listen: 127.0.0.1:0\n  tls:\n    listen: "+addresses[1]+"\n    certificates:\n      - "+a+"\n"))
	refused := func(what, want string, edit ...string) {
		t.Helper()
		in.edit(t, edit...)
		if got := call(t, "POST", in.management+"/v1/api/reload", ""); got.status != 422 || !strings.Contains(got.body, want) {
			t.Errorf("%s: got %+v, want %q in it", what, got, want)
		}
		for i := len(edit) - 2; i >= 0; i -= 2 {
			in.edit(t, edit[i+1], edit[i])
		}
		if _, _, err := e.get(addresses[1]); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused("a key of another certificate", ".yaml:11: server.tls.certificates[0].key: ", "a.key", "b.key")
	refused("no file", ".yaml:11: server.tls.certificates[0].certificate: ", "a.pem", "none.pem")
	refused("server.listen becomes secure", ".yaml:9: server.tls.listen: "+addresses[1]+` → \"\" changes whether server.listen speaks TLS: this change needs a restart`, "listen: "+addresses[1], `listen: ""`)
	if err := os.Rename(filepath.Join(e.folder, "b.key"), filepath.Join(e.folder, "a.key")); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "/readyz to tell", func() bool {
		got := call(t, "GET", in.management+"/readyz", "")
		return got.status == 200 && strings.HasPrefix(got.body, "ready\n") && strings.Contains(got.body, "a.pem cannot be used, and the one before stays in use: ")
	})
	if got := metricOf(t, in, "lb_certificate_faults"); got != "1" {
		t.Errorf("%s faults are counted", got)
	}
	waitFor(t, "the log", func() bool {
		return in.log.find("a certificate cannot be used, and the one before stays in use") != nil
	})
	if _, _, err := e.get(addresses[1]); err != nil {
		t.Error(err)
	}
	time.Sleep(time.Second)
	if n := strings.Count(in.log.String(), "a certificate cannot be used"); n != 1 {
		t.Errorf("it is told %d times", n)
	}
	call(t, "POST", in.management+"/v1/api/backends/main/"+addresses[0]+"/drain", "")
	if a := call(t, "GET", in.management+"/readyz", ""); a.status != 503 || !strings.HasPrefix(a.body, "not ready: pool main has no backend that takes requests\nwarning: the certificate ") {
		t.Errorf("without a backend /readyz says %+v", a)
	}
}

// tool returns the path of a program, or skips the test. With REQUIRE_TOOLS it fails instead.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv("REQUIRE_TOOLS") != "" {
		t.Fatal(err)
	}
	if err != nil {
		t.Skip(err)
	}
	return path
}
