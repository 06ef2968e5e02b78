package balancers

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"loadbalancer/clients/store/pgtest"
	"loadbalancer/proxy/acme/acmetest"
)

var long = flag.Bool("long", false, "run the tests that take more than a minute")

// deadline bounds what a test waits for.
const deadline = 30 * time.Second

// binary is the path of the balancer: that of LB_BINARY, or one that is built here.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "acme-")
	if binary = os.Getenv("LB_BINARY"); err == nil && binary == "" {
		binary = filepath.Join(dir, "loadbalancer")
		if out, failed := exec.Command("go", "build", "-o", binary, "loadbalancer").CombinedOutput(); failed != nil {
			err = fmt.Errorf("go build: %w\n%s", failed, out)
		}
	}
	code := 1
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		stop := pgtest.Start()
		code = m.Run()
		stop()
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// balancer is a process in a folder of its own.
type balancer struct {
	*exec.Cmd
	dir                       string
	plain, secure, management int // ports; plain 0: TLS alone, on secure
	log, stderr               *acmetest.Lines
	ended                     chan struct{}
}

// setting is what a balancer is configured with.
type setting struct {
	plain, secure int      // ports of the listeners of clients; plain 0: none
	redirect      bool     // plain sends clients to https
	domains       []string // of acme
	more          string   // lines of acme
	own           string   // certificates of files
	store         string   // of the clients
}

func (s setting) text(a *acmetest.Authority, management int, backend string) string {
	listen, tls := s.secure, ""
	if s.redirect {
		tls = fmt.Sprintf(", redirect_from: '127.0.0.1:%d'", s.plain)
	} else if s.plain != 0 {
		listen, tls = s.plain, fmt.Sprintf(", listen: '127.0.0.1:%d'", s.secure)
	}
	if s.store == "" {
		s.store = "memory"
	}
	return fmt.Sprintf(`server:
  listen: 127.0.0.1:%d
  tls: {acme: {domains: [%s], directory: '%s'%s}, certificates: [%s]%s}
management: {listen: '127.0.0.1:%d'}
pools: {main: {backends: [{url: '%s'}]}}
clients: {store: '%s'}
limiter: {default: {capacity: 100000, rate_per_second: 100000}}
`, listen, strings.Join(s.domains, ", "), a.Directory, s.more, s.own, tls, management, backend, s.store)
}

// start starts a balancer, in a folder of an earlier one unless that is "".
func start(t *testing.T, a *acmetest.Authority, dir string, s setting) *balancer {
	t.Helper()
	if dir == "" {
		dir = t.TempDir()
	}
	b := &balancer{dir: dir, plain: s.plain, secure: s.secure, management: acmetest.FreePort(t), log: &acmetest.Lines{}, stderr: &acmetest.Lines{}, ended: make(chan struct{})}
	b.configure(t, a, s)
	b.Cmd = exec.Command(binary, "--path=lb.yaml")
	b.Dir, b.Stdout, b.Stderr = dir, b.log, b.stderr
	b.Env = append(os.Environ(), "SSL_CERT_FILE="+a.Trust)
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(b.ended)
		_ = b.Wait()
	}()
	t.Cleanup(func() {
		_ = b.Process.Kill()
		<-b.ended
		if t.Failed() {
			t.Logf("the balancer said:\n%s%s", b.log, b.stderr)
		}
	})
	eventually(t, "the balancer serves", func() bool { return strings.Contains(b.readyz(), "ready\n") })
	return b
}

// configure writes the config file.
func (b *balancer) configure(t *testing.T, a *acmetest.Authority, s setting) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, "lb.yaml"), []byte(s.text(a, b.management, backend(t))), 0o600); err != nil {
		t.Fatal(err)
	}
}

// backend starts one that answers every request.
func backend(t *testing.T) (url string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "from the backend: "+r.URL.Path)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// end ends the balancer by a signal, and checks what it said.
func (b *balancer) end(t *testing.T, by syscall.Signal) {
	t.Helper()
	_ = b.Process.Signal(by)
	select {
	case <-b.ended:
	case <-time.After(deadline):
		t.Fatal("the balancer does not end")
	}
	if code := b.ProcessState.ExitCode(); by == syscall.SIGTERM && code != 0 {
		t.Errorf("exit code %d", code)
	}
	for line := range strings.Lines(b.log.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("a log line in another form: %s", line)
		}
	}
	if got := b.stderr.String(); got != "" {
		t.Errorf("on stderr: %s", got)
	}
}

func (b *balancer) get(path string) string {
	res, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d%s", b.management, path))
	if err != nil {
		return ""
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	return string(text)
}

func (b *balancer) readyz() string { return b.get("/readyz") }

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in %v, not: %s", deadline, what)
		}
	}
}

// client returns one that finds a name at the balancer, and verifies its certificates.
func (b *balancer) client(t *testing.T, a *acmetest.Authority, name string) *http.Client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.Roots, ServerName: name}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 5 * time.Second}
}

// ask sends a request by TLS and returns the certificate that it got.
func (b *balancer) ask(c *http.Client) (*x509.Certificate, error) {
	res, err := c.Get(fmt.Sprintf("https://127.0.0.1:%d/path", b.secure))
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && (res.StatusCode != 200 || string(text) != "from the backend: /path") {
		err = fmt.Errorf("status %d: %s", res.StatusCode, text)
	}
	return res.TLS.PeerCertificates[0], err
}

// await returns the certificate for a name once the balancer has one.
func (b *balancer) await(t *testing.T, a *acmetest.Authority, name string) (certificate *x509.Certificate) {
	t.Helper()
	eventually(t, "a certificate for "+name, func() bool {
		var err error
		certificate, err = b.ask(b.client(t, a, name))
		return err == nil
	})
	return certificate
}
