package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"loadbalancer/proxy/certtest"
)

// edge is a proxy with a listener in the clear, one of TLS and one that sends clients to it.
type edge struct {
	*Proxy
	clear, secure, plain string // addresses
	servers, clients     *certtest.Authority
	signers              atomic.Pointer[x509.CertPool] // of clients' certificates
	stop                 context.CancelFunc
}

// startEdge serves until the test ends. With certificates, clients of TLS have to show one.
func startEdge(t testing.TB, o Options, certificates bool) *edge {
	t.Helper()
	e := &edge{servers: certtest.NewAuthority(t), clients: certtest.NewAuthority(t)}
	if o.Edge.ClientCerts = certificates; certificates {
		e.signers.Store(e.clients.Pool)
	}
	own := []tls.Certificate{e.servers.Issue([]string{"example.com", "other.example", "127.0.0.1"})}
	config := &tls.Config{Certificates: own, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		c := &tls.Config{Certificates: own, NextProtos: []string{"h2", "http/1.1"}}
		if signers := e.signers.Load(); signers != nil {
			c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, signers
		}
		return c, nil
	}}
	var all [3]net.Listener
	for i := range all {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		all[i] = ln
	}
	e.clear, e.secure, e.plain = all[0].Addr().String(), all[1].Addr().String(), all[2].Addr().String()
	e.Proxy = New(o)
	ctx, cancel := context.WithCancel(context.Background())
	e.stop = cancel
	done := make(chan error, 1)
	go func() {
		err := e.Serve(ctx, Front{Listener: all[0]}, Front{Listener: all[1], TLS: config, Authorities: e.signers.Load}, Front{Listener: all[2], RedirectTo: all[1]})
		if err == nil {
			err = e.Drain()
		}
		done <- err
	}()
	t.Cleanup(func() {
		for end := time.Now().Add(30 * time.Millisecond); metric(e.Proxy, "lb_connections") != "0" && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return e
}

// alice is the subject of a client.
var alice = pkix.Name{CommonName: "alice", Organization: []string{"Example, Inc."}}

const alicesText = `CN=alice,O=Example\, Inc.`

// certificate returns one of the client authority.
func (e *edge) certificate(subject pkix.Name) tls.Certificate {
	return e.clients.Issue([]string{"client"}, certtest.Subject(subject))
}

// dial returns a connection of TLS for a name; "" sends none. The client shows the certificates.
func (e *edge) dial(t testing.TB, name string, certificates ...tls.Certificate) *rawClient {
	t.Helper()
	return e.over(t, dial(t, e.secure), name, certificates...)
}

// over is dial over a connection.
func (e *edge) over(t testing.TB, conn net.Conn, name string, certificates ...tls.Certificate) *rawClient {
	t.Helper()
	c := &tls.Config{RootCAs: e.servers.Pool, ServerName: name, Certificates: certificates}
	if name == "" {
		c.ServerName = "127.0.0.1" // an address is not sent
	}
	secure := tls.Client(conn, c)
	if err := secure.Handshake(); err != nil {
		t.Fatal(err)
	}
	return &rawClient{t, secure, bufio.NewReader(secure)}
}
