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
	"strings"
	"testing"
	"time"

	"loadbalancer/bench/balancer"
	"loadbalancer/clients/store/pgtest"
	"loadbalancer/proxy/acme/acmetest"
)

var long = flag.Bool("long", false, "run the tests that take more than a minute")

// deadline bounds what a test waits for.
const deadline = 30 * time.Second

// binary is the path of the balancer: that of LB_BINARY, or one that is built here.
var binary string

func TestMain(m *testing.M) {
	balancer.Main(func(_, path string) int {
		binary = path
		defer pgtest.Start()()
		return m.Run()
	})
}

// instance is a process in a folder of its own.
type instance struct {
	*balancer.Server
	dir                       string
	plain, secure, management int // ports; plain 0: TLS alone, on secure
	stderr                    *balancer.Journal
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
func start(t *testing.T, a *acmetest.Authority, dir string, s setting) *instance {
	t.Helper()
	if dir == "" {
		dir = t.TempDir()
	}
	b := &instance{dir: dir, plain: s.plain, secure: s.secure, management: balancer.FreePort(t), stderr: &balancer.Journal{}}
	command := balancer.Command(t, binary, dir, s.text(a, b.management, backend(t)))
	command.Stderr, command.Env = b.stderr, append(os.Environ(), "SSL_CERT_FILE="+a.Trust)
	b.Server = balancer.Start(t, command)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the balancer said:\n%s%s", b.Log, b.stderr)
		}
	})
	eventually(t, "the balancer serves", func() bool { return strings.Contains(b.readyz(), "ready\n") })
	return b
}

// configure writes the config file.
func (b *instance) configure(t *testing.T, a *acmetest.Authority, s setting) {
	t.Helper()
	balancer.Configure(t, b.dir, s.text(a, b.management, backend(t)))
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

// end ends the balancer by SIGTERM, and checks what it said.
func (b *instance) end(t *testing.T) {
	t.Helper()
	b.End(t, deadline)
	if code := b.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	b.checkSaid(t)
}

// kill ends the balancer by SIGKILL, and checks what it said.
func (b *instance) kill(t *testing.T) {
	t.Helper()
	b.Kill()
	b.checkSaid(t)
}

// checkSaid holds the log to its form, and stderr to nothing.
func (b *instance) checkSaid(t *testing.T) {
	t.Helper()
	for line := range strings.Lines(b.Log.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("a log line in another form: %s", line)
		}
	}
	if got := b.stderr.String(); got != "" {
		t.Errorf("on stderr: %s", got)
	}
}

func (b *instance) get(path string) string {
	return balancer.Page("http://" + balancer.Loopback(b.management) + path)
}

func (b *instance) readyz() string { return b.get("/readyz") }

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	balancer.WaitFor(t, deadline, what, holds)
}

// client returns one that finds a name at the balancer, and verifies its certificates.
func (b *instance) client(t *testing.T, a *acmetest.Authority, name string) *http.Client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.Roots, ServerName: name}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 5 * time.Second}
}

// ask sends a request by TLS and returns the certificate that it got.
func (b *instance) ask(c *http.Client) (*x509.Certificate, error) {
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
func (b *instance) await(t *testing.T, a *acmetest.Authority, name string) (certificate *x509.Certificate) {
	t.Helper()
	eventually(t, "a certificate for "+name, func() bool {
		var err error
		certificate, err = b.ask(b.client(t, a, name))
		return err == nil
	})
	return certificate
}
