// Package acmetest gives tests a real ACME authority on loopback: Let's Encrypt's pebble.
package acmetest

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"

	"loadbalancer/proxy/certtest"
)

// Options are what an authority goes by.
type Options struct {
	HTTPPort int           // that HTTP-01 is checked at
	TLSPort  int           // that TLS-ALPN-01 is checked at
	Validity time.Duration // of the certificates; 0: 90 days
	Blocked  []string      // domains that are refused
}

// Authority is an ACME server that finds every name at 127.0.0.1.
type Authority struct {
	// Directory is its URL.
	Directory string
	// Trust is a file with what the server's own certificate is verified by, for SSL_CERT_FILE.
	Trust string
	// TrustPool is the same for clients in this process.
	TrustPool *x509.CertPool
	// Roots verify the certificates that it issues.
	Roots *x509.CertPool

	t        testing.TB
	handler  http.Handler
	own      *certtest.Authority
	mu       sync.Mutex
	server   *httptest.Server
	address  string
	accounts atomic.Int64
	orders   sync.Map // domain → *atomic.Int64
}

// quiet has pebble answer at once and refuse nothing at random.
var quiet = sync.OnceFunc(func() {
	for name, value := range map[string]string{
		"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0", "PEBBLE_AUTHZREUSE": "0",
	} {
		_ = os.Setenv(name, value)
	}
})

// Start starts an authority, which ends with the test.
func Start(t testing.TB, o Options) *Authority {
	t.Helper()
	quiet()
	a := &Authority{t: t, own: certtest.NewAuthority(t)}
	a.Trust, a.TrustPool = a.own.Write(t.TempDir(), "trust.pem"), a.own.Pool
	logger := log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	for _, name := range o.Blocked {
		if err := store.AddBlockedDomain(name); err != nil {
			t.Fatal(err)
		}
	}
	profiles := map[string]ca.Profile{"default": {Description: "the only one", ValidityPeriod: uint64(o.Validity / time.Second)}}
	authority := ca.New(logger, store, "", "ecdsa", 0, 1, profiles)
	validator := va.New(logger, o.HTTPPort, o.TLSPort, false, serveNames(t), store)
	front := wfe.New(logger, store, validator, authority, []string{"pebble.letsencrypt.org"}, false, false, 1, 1)
	a.handler = a.counted(front.Handler())
	a.Roots = rootsOf(t, front.ManagementHandler())
	a.address = "127.0.0.1:0"
	a.Open()
	t.Cleanup(a.Close)
	a.Directory = "https://" + a.address + wfe.DirectoryPath
	return a
}

// Open has the authority answer, again or for the first time.
func (a *Authority) Open() {
	a.mu.Lock()
	defer a.mu.Unlock()
	ln, err := net.Listen("tcp", a.address)
	if err != nil {
		a.t.Fatal(err)
	}
	a.address = ln.Addr().String()
	server := httptest.NewUnstartedServer(a.handler)
	_ = server.Listener.Close()
	server.Listener = ln
	server.TLS = &tls.Config{Certificates: []tls.Certificate{a.own.Issue([]string{"127.0.0.1"})}}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	a.server = server
}

// Close has connections to the authority refused.
func (a *Authority) Close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.server != nil {
		a.server.CloseClientConnections()
		a.server.Close()
		a.server = nil
	}
}

// TrustCertificate is the one in TrustPool.
func (a *Authority) TrustCertificate() *x509.Certificate { return a.own.Certificate() }

// Orders returns how many orders for a domain it was asked for, granted or not.
func (a *Authority) Orders(domain string) int {
	n, ok := a.orders.Load(domain)
	if !ok {
		return 0
	}
	return int(n.(*atomic.Int64).Load())
}

// Accounts returns how many registrations it was asked for.
func (a *Authority) Accounts() int { return int(a.accounts.Load()) }

// counted counts what is asked for.
func (a *Authority) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.Contains(r.URL.Path, "sign-me-up"):
			a.accounts.Add(1)
		case strings.Contains(r.URL.Path, "order-plz"):
			body, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(strings.NewReader(string(body)))
			for _, domain := range ordered(body) {
				n, _ := a.orders.LoadOrStore(domain, new(atomic.Int64))
				n.(*atomic.Int64).Add(1)
			}
		}
		next.ServeHTTP(w, r)
	})
}

// ordered returns the domains of an order, in its envelope.
func ordered(body []byte) (domains []string) {
	var envelope struct{ Payload string }
	var order struct{ Identifiers []struct{ Value string } }
	if json.Unmarshal(body, &envelope) == nil && json.Unmarshal(payload(envelope.Payload), &order) == nil {
		for _, i := range order.Identifiers {
			domains = append(domains, i.Value)
		}
	}
	return domains
}

// rootsOf returns the certificates that the authority signs by.
func rootsOf(t testing.TB, management http.Handler) *x509.CertPool {
	t.Helper()
	answer := httptest.NewRecorder()
	management.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, wfe.RootCertPath+"0", nil))
	block, _ := pem.Decode(answer.Body.Bytes())
	if block == nil {
		t.Fatalf("the authority has no root: %s", answer.Body)
	}
	root, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	return pool
}

// serveNames answers that every name is at 127.0.0.1, and returns where.
func serveNames(t testing.TB) string {
	t.Helper()
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, question *dns.Msg) {
		answer := new(dns.Msg).SetReply(question)
		for _, q := range question.Question {
			if q.Qtype == dns.TypeA {
				answer.Answer = append(answer.Answer, &dns.A{
					Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(127, 0, 0, 1),
				})
			}
		}
		_ = w.WriteMsg(answer)
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0") // pebble asks by TCP
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{Listener: ln, Handler: handler}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.ActivateAndServe()
	}()
	t.Cleanup(func() {
		_ = server.Shutdown()
		<-served
	})
	return ln.Addr().String()
}

func payload(encoded string) []byte {
	text, _ := base64.RawURLEncoding.DecodeString(encoded)
	return text
}
