package proxy

import (
	"context"
	"crypto/tls"
	"flag"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"loadbalancer/proxy/certtest"
)

var everywhere = flag.Bool("tls", false, "have the clients of all proxies speak TLS")

// secured has the addresses of proxies that speak TLS, with what their clients go by.
var secured sync.Map

// overTLS returns the front of a listener, which speaks TLS with -tls.
func overTLS(t testing.TB, ln net.Listener) Front {
	t.Helper()
	if !*everywhere || ln.Addr().Network() != "tcp" {
		return Front{Listener: ln}
	}
	return secureFront(t, ln)
}

// secureFront returns a front that speaks TLS.
func secureFront(t testing.TB, ln net.Listener) Front {
	t.Helper()
	authority := certtest.NewAuthority(t)
	address := ln.Addr().String()
	secured.Store(address, &tls.Config{RootCAs: authority.Pool, ServerName: "a.example"})
	t.Cleanup(func() { secured.Delete(address) })
	return Front{Listener: ln, TLS: &tls.Config{
		Certificates:                []tls.Certificate{authority.Issue([]string{"a.example"})},
		DynamicRecordSizingDisabled: true,
	}}
}

// connect connects to an address, and does a handshake where a proxy speaks TLS.
func connect(address string) (net.Conn, error) {
	conn, err := net.Dial("tcp", address)
	if config, ok := secured.Load(address); ok && err == nil {
		c := tls.Client(conn, config.(*tls.Config))
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		if err := c.Handshake(); err != nil {
			conn.Close()
			return nil, err
		}
		_ = conn.SetDeadline(time.Time{})
		return c, nil
	}
	return conn, err
}

// socketOf returns the socket of a client's connection.
func socketOf(conn net.Conn) *net.TCPConn {
	if c, ok := conn.(*tls.Conn); ok {
		conn = c.NetConn()
	}
	return conn.(*net.TCPConn)
}

// closeWrite tells the peer that nothing follows.
func closeWrite(conn net.Conn) error {
	if c, ok := conn.(*tls.Conn); ok {
		if err := c.CloseWrite(); err != nil {
			return err
		}
	}
	return socketOf(conn).CloseWrite()
}

// TestOverTLS runs tests again, of what reads, writes, waits on or ends a client's connection, with
// clients that speak TLS.
func TestOverTLS(t *testing.T) {
	t.Parallel()
	if *everywhere || *backendsOverTLS {
		t.Skip("all do")
	}
	// The last send a PROXY header, which belongs before the handshake, or have clients of their own.
	command := exec.CommandContext(t.Context(), os.Args[0], "-tls", "-test.timeout=2m", "-test.skip=Proxy|SlowClients|SlowBackendHolds|AnswerBeforeMore",
		"-test.run=WebSocket|Tunnel|Upgrade|Upload|Continue|Buffer|Client(s)?Leave|Shutdown|Trailers|Interim|Stream|Bod(y|ies)|Chunk|Pipelin|KeepAlive|Timeout|IsNotCut")
	if out, err := command.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// transport sends requests to a proxy, over TLS where it speaks that.
func transport(address string) *http.Transport {
	return &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return connect(address) }}
}
