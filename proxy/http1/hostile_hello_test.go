package http1

import (
	"crypto/tls"
	"crypto/x509/pkix"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"loadbalancer/proxy/certtest"
)

// helloOf returns the first flight of a client.
func helloOf(t *testing.T, c *tls.Config) []byte {
	t.Helper()
	ours, theirs := net.Pipe()
	var sending sync.WaitGroup
	sending.Go(func() { _ = tls.Client(theirs, c).Handshake() })
	hello := make([]byte, 16<<10)
	n, err := io.ReadAtLeast(ours, hello, 100)
	if err != nil {
		t.Fatal(err)
	}
	ours.Close()
	sending.Wait()
	return hello[:n]
}

// descriptorsInUse returns how many the process has open.
func descriptorsInUse(t *testing.T) int {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("the open file descriptors are told on Linux alone")
	}
	return len(open)
}

// A thousand hellos that were cut, lengthened or damaged leave neither a connection, a goroutine nor a
// file descriptor, and the next client is served.
func TestHostileHellos(t *testing.T) {
	s := startSecure(t, Options{}, func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert })
	hello := helloOf(t, s.client(nil))
	random := rand.New(rand.NewPCG(1, 2))
	hostile := func(i int) []byte {
		b := slices.Clone(hello)
		switch i % 5 {
		case 0: // cut
			return b[:random.IntN(len(b))]
		case 1: // damaged beyond the header of the record
			for range 1 + random.IntN(8) {
				b[5+random.IntN(len(b)-5)] = byte(random.Uint32())
			}
		case 2: // a length that is not that of the record
			b[3], b[4] = byte(random.Uint32()), byte(random.Uint32())
		case 3: // any lengths within the hello
			for range 4 {
				at := 43 + random.IntN(len(b)-45)
				b[at], b[at+1] = 0xff, 0xff
			}
		case 4: // no certificate: the handshake goes on, and the answer is never read
		}
		return b
	}
	own := s.authority.Issue([]string{"client"})
	getServed := func() {
		conn, err := tls.Dial("tcp", s.address, s.client(func(c *tls.Config) { c.Certificates = []tls.Certificate{own} }))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		if err := getOn(conn); err != nil {
			t.Error(err)
		}
	}
	getServed() // the server has all then that it keeps open itself
	waitUntil(t, "the first connection to end", func() bool { return s.Connections() == 0 })
	goroutines, files := runtime.NumGoroutine(), descriptorsInUse(t)
	var clients sync.WaitGroup
	for worker := range 4 {
		all := make([][]byte, 250)
		for i := range all {
			all[i] = hostile(worker + i)
		}
		clients.Go(func() {
			for i, b := range all {
				conn, err := net.Dial("tcp", s.address)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = conn.Write(b)
				if i%2 == 0 {
					_ = conn.(*net.TCPConn).CloseWrite()
					_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
					_, _ = io.Copy(io.Discard, conn)
				}
				conn.Close()
			}
		})
	}
	clients.Wait()
	waitUntil(t, "the connections to end", func() bool { return s.Connections() == 0 })
	// fasthttp keeps goroutines for the next connections, as many as there were at once.
	waitUntil(t, "the file descriptors to be closed", func() bool { return descriptorsInUse(t) <= files })
	waitUntil(t, "the goroutines to end", func() bool { return runtime.NumGoroutine() <= goroutines+200 })
	getServed()
}

// Certificates of clients that are damaged, long or many harm no other client.
func TestHostileCertificates(t *testing.T) {
	s := startSecure(t, Options{}, func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert })
	own := s.authority.Issue([]string{"client"}, certtest.Subject(pkix.Name{CommonName: strings.Repeat("c", 60)}))
	random := rand.New(rand.NewPCG(3, 4))
	served, refused := 0, 0
	for i := range 300 {
		shown := tls.Certificate{Certificate: slices.Clone(own.Certificate), PrivateKey: own.PrivateKey}
		switch i % 3 {
		case 0: // damaged
			leaf := slices.Clone(own.Certificate[0])
			for range 1 + random.IntN(3) {
				leaf[random.IntN(len(leaf))] = byte(random.Uint32())
			}
			shown.Certificate = [][]byte{leaf}
		case 1: // cut, or nothing at all
			shown.Certificate = [][]byte{own.Certificate[0][:random.IntN(len(own.Certificate[0]))]}
		case 2: // many
			for range random.IntN(200) {
				shown.Certificate = append(shown.Certificate, own.Certificate[0])
			}
		}
		conn, err := tls.Dial("tcp", s.address, s.client(func(c *tls.Config) {
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &shown, nil }
		}))
		if err != nil {
			t.Fatal(err) // the client's handshake ends before the server looks at the certificate
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		if getOn(conn) == nil {
			served++
		} else {
			refused++
		}
		conn.Close()
	}
	if served == 0 || refused == 0 {
		t.Errorf("%d are served, %d refused: the certificates are no test", served, refused)
	}
	waitUntil(t, "the connections to end", func() bool { return s.Connections() == 0 })
}
