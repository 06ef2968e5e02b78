package balancers

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"loadbalancer/proxy/acme/acmetest"
)

// put puts a challenge into the folder of a balancer, as another process that shares it does.
func put(t *testing.T, b *instance, kind string) {
	t.Helper()
	folder := filepath.Join(b.dir, "acme", "challenges")
	err := os.MkdirAll(folder, 0o700)
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, "www.example.test-"+kind+".json"), []byte(`{"type": "`+kind+`", "status": "pending", "token": "known",
			"keyAuthorization": "known.thumbprint", "identifier": {"type": "dns", "value": "www.example.test"}}`), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A challenge by request is answered for its host and its token alone, on the listener that sends
// clients to https and on one that forwards requests.
func TestChallengeByRequest(t *testing.T) {
	t.Parallel()
	for name, redirect := range map[string]bool{"redirect_from": true, "listen": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plain, secure, a := ports(t, acmetest.Options{})
			a.Close()
			b := start(t, a, "", setting{plain: plain, secure: secure, redirect: redirect, domains: []string{"www.example.test"}})
			put(t, b, "http-01")
			other := map[bool]int{true: http.StatusPermanentRedirect, false: http.StatusOK}[redirect]
			for _, c := range []struct {
				method, host, token string
				known               bool
			}{
				{"GET", "www.example.test", "known", true},
				{"GET", fmt.Sprintf("WWW.example.test:%d", plain), "known", true},
				{"GET", "www.example.test", "unknown", false},
				{"GET", "www.example.test", "known/more", false},
				{"GET", "other.test", "known", false},
				{"POST", "www.example.test", "known", false},
			} {
				r, err := http.NewRequest(c.method, fmt.Sprintf("http://127.0.0.1:%d/.well-known/acme-challenge/%s", plain, c.token), nil)
				if err != nil {
					t.Fatal(err)
				}
				r.Host = c.host
				res, err := http.DefaultTransport.RoundTrip(r)
				if err != nil {
					t.Fatal(err)
				}
				text, _ := io.ReadAll(res.Body)
				_ = res.Body.Close()
				if c.known && (res.StatusCode != 200 || string(text) != "known.thumbprint") || !c.known && (res.StatusCode != other || string(text) == "known.thumbprint") {
					t.Errorf("%+v: status %d, %q", c, res.StatusCode, text)
				}
			}
			b.end(t)
		})
	}
}

// A challenge by handshake is answered by its certificate, and the connection ends: no request is
// served on it.
func TestChallengeByHandshake(t *testing.T) {
	t.Parallel()
	_, secure, a := ports(t, acmetest.Options{})
	a.Close()
	b := start(t, a, "", setting{secure: secure, domains: []string{"www.example.test"}})
	put(t, b, "tls-alpn-01")
	dial := func(name string) (*tls.Conn, error) {
		return tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", secure), &tls.Config{InsecureSkipVerify: true, ServerName: name, NextProtos: []string{"acme-tls/1"}})
	}
	conn, err := dial("www.example.test")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	state := conn.ConnectionState()
	if names := state.PeerCertificates[0].DNSNames; len(names) != 1 || names[0] != "www.example.test" || state.NegotiatedProtocol != "acme-tls/1" {
		t.Errorf("the certificate is for %q, the protocol %q", names, state.NegotiatedProtocol)
	}
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	_, _ = io.WriteString(conn, "GET /path HTTP/1.1\r\nHost: www.example.test\r\n\r\n")
	if text, err := io.ReadAll(conn); len(text) > 0 || os.IsTimeout(err) {
		t.Errorf("after the handshake: %q, %v", text, err)
	}
	if conn, err := dial("other.test"); err == nil {
		_ = conn.Close()
		t.Error("a handshake for a domain that is none of the config's succeeds")
	}
	b.end(t)
}

// A flood of handshakes for challenges that do not exist, each of which is looked for in the storage,
// holds up no handshake of a client.
func TestFloodOfChallenges(t *testing.T) {
	t.Parallel()
	_, secure, a := ports(t, acmetest.Options{})
	b := start(t, a, "", setting{secure: secure, domains: []string{"www.example.test"}})
	b.await(t, a, "www.example.test")
	ctx, cancel := context.WithCancel(t.Context())
	var flood sync.WaitGroup
	for range 50 {
		flood.Go(func() {
			dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, ServerName: "www.example.test", NextProtos: []string{"acme-tls/1"}}}
			for ctx.Err() == nil {
				if conn, err := dialer.DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", secure)); err == nil {
					_ = conn.Close()
					t.Error("a handshake for a challenge that does not exist succeeds")
				}
			}
		})
	}
	time.Sleep(200 * time.Millisecond) // so that some are under way
	began := time.Now()
	for range 20 {
		if _, err := b.ask(b.client(t, a, "www.example.test")); err != nil {
			t.Error(err)
		}
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("20 clients took %v", took)
	}
	cancel()
	flood.Wait()
	b.end(t)
}
