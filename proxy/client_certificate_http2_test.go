package proxy

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"loadbalancer/proxy/certtest"
)

// certifiedClient is a client of HTTP/2 that shows a certificate, which may change.
type certifiedClient struct {
	*http.Client
	own       atomic.Pointer[tls.Certificate]
	connected atomic.Int64 // connections made
}

func (e *edge) http2Client(t *testing.T, own tls.Certificate) *certifiedClient {
	t.Helper()
	c := new(certifiedClient)
	c.own.Store(&own)
	transport := &http.Transport{
		ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{RootCAs: e.servers.Pool, ServerName: "example.com", GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return c.own.Load(), nil
		}},
	}
	dialer := net.Dialer{}
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		c.connected.Add(1)
		return dialer.DialContext(ctx, network, address)
	}
	t.Cleanup(transport.CloseIdleConnections)
	c.Client = &http.Client{Transport: transport, Timeout: 20 * time.Second}
	return c
}

// forge sends a request for a host, with fields and trailers that are the balancer's to write.
func (c *certifiedClient) forge(address, host string) (status int, err error) {
	r, err := http.NewRequest("POST", "https://"+address+"/", struct{ io.Reader }{strings.NewReader("hi")})
	if err != nil {
		return 0, err
	}
	r.Host = host
	forged := []string{"CN=mallory"}
	r.Header = http.Header{"X-Client-Subject": forged, "X_client_subject": forged, "X.client.subject": forged, "X-Forwarded-Proto": {"ftp"}}
	r.Trailer = http.Header{"X-Client-Subject": forged, "X_client-Subject": forged}
	return c.send(r)
}

// send returns the status of the response to a request.
func (c *certifiedClient) send(r *http.Request) (status int, err error) {
	res, err := c.Do(r)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	if _, err = io.Copy(io.Discard, res.Body); err == nil && res.ProtoMajor != 2 {
		err = http.ErrNotSupported
	}
	return res.StatusCode, err
}

// Over HTTP/2 the subject is told in the same way, and nothing forges it. A request for another name
// is misdirected, and the connection goes on serving its own.
func TestClientSubjectOverHTTP2(t *testing.T) {
	url, got := startVerbatimBackend(t)
	var log logLines
	o := testOptions(url)
	o.Access, o.Log = AccessAll, zerolog.New(&log)
	e := startEdge(t, o, true)
	c := e.http2Client(t, e.certificate(alice))
	for _, test := range []struct {
		host string
		want int
	}{{"example.com", 204}, {"other.example", 421}, {"127.0.0.1", 421}, {"EXAMPLE.com:8443", 204}} {
		status, err := c.forge(e.secure, test.host)
		if err != nil || status != test.want {
			t.Fatalf("%s: %d, %v, want %d", test.host, status, err, test.want)
		}
		if test.want != 204 {
			continue
		}
		r := <-got
		requireFields(t, r.header, "X-Client-Subject", "X-Client-Subject: "+alicesText)
		requireFields(t, r.header, "X-Forwarded-Proto", "X-Forwarded-Proto: https")
		if strings.Contains(r.header+r.body, "mallory") {
			t.Errorf("a forged field goes on: %q", r)
		}
	}
	if n := c.connected.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
	waitIdle(t, e.Proxy)
	for _, line := range log.parsed(t) {
		checkLine(t, line, map[string]any{"client_subject": alicesText, "proto": "HTTP/2.0"})
	}
}

// Streams at once find other authorities. The connection then ends, and the client makes another.
func TestAuthoritiesChangeUnderHTTP2(t *testing.T) {
	e := startEdge(t, testOptions(startBackend(t, mirror)), true)
	c := e.http2Client(t, e.certificate(alice))
	get := func() (status int, err error) {
		r, err := http.NewRequest("GET", "https://"+e.secure+"/", nil)
		if err != nil {
			return 0, err
		}
		r.Host = "example.com"
		return c.send(r)
	}
	if status, err := get(); err != nil || status != 200 {
		t.Fatal(status, err)
	}
	others := certtest.NewAuthority(t)
	next := others.Issue([]string{"bob"})
	c.own.Store(&next)
	var streams sync.WaitGroup
	var refused atomic.Int64
	stop := make(chan struct{})
	for range 8 {
		streams.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				switch status, err := get(); {
				case status == 421:
					refused.Add(1)
				case err != nil || status != 200:
					t.Errorf("%d, %v", status, err)
				}
			}
		})
	}
	time.Sleep(20 * time.Millisecond)
	e.signers.Store(others.Pool)
	another := func() bool { return c.connected.Load() > 1 }
	for end := time.Now().Add(10 * time.Second); !another() && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	close(stop)
	streams.Wait()
	if status, err := get(); err != nil || status != 200 || refused.Load() == 0 || !another() {
		t.Errorf("%d, %v, %d refused", status, err, refused.Load())
	}
}

// A client of gRPC is told to try again, on another connection.
func TestAuthoritiesChangeUnderGRPC(t *testing.T) {
	e := startEdge(t, testOptions(startBackend(t, mirror)), true)
	c := e.http2Client(t, e.certificate(alice))
	others := certtest.NewAuthority(t)
	next := others.Issue([]string{"bob"})
	call := func() (fields http.Header, err error) {
		r, err := http.NewRequest("POST", "https://"+e.secure+"/a.B/C", http.NoBody)
		if err != nil {
			return nil, err
		}
		r.Host = "example.com"
		r.Header = http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}}
		res, err := c.Do(r)
		if err != nil {
			return nil, err
		}
		defer res.Body.Close()
		_, err = io.Copy(io.Discard, res.Body)
		return res.Header, err
	}
	if _, err := call(); err != nil {
		t.Fatal(err)
	}
	c.own.Store(&next)
	e.signers.Store(others.Pool)
	if got, err := call(); err != nil || got.Get("Grpc-Status") != "14" {
		t.Errorf("got %v, %v, want the status 14", got, err)
	}
	eventually(t, "another connection", func() bool {
		got, err := call()
		return err == nil && got.Get("Grpc-Status") == "" && c.connected.Load() > 1
	})
}
