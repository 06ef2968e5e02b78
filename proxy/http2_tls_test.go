package proxy

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// startSecureHTTP2 starts a proxy whose clients speak HTTP/2 over TLS, and returns what they go by.
func startSecureHTTP2(t *testing.T, o Options) (s *serving, client *tls.Config) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	front := secureFront(t, ln)
	front.TLS.NextProtos = []string{"h2"}
	config, _ := secured.Load(ln.Addr().String())
	client = config.(*tls.Config).Clone()
	client.NextProtos = []string{"h2"}
	return serveFront(t, o, front), client
}

// TestHTTP2DeadlinesOverTLS has streams outlast server.idle_timeout, for which the connection's
// deadline passes within what TLS reads, and then a connection without a stream, which does not.
func TestHTTP2DeadlinesOverTLS(t *testing.T) {
	t.Parallel()
	o := testOptions(startBackend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			time.Sleep(time.Second)
		}
		_, _ = io.WriteString(w, "ok")
	}))
	o.Server.IdleTimeout = 300 * time.Millisecond
	s, client := startSecureHTTP2(t, o)
	conn, err := tls.Dial("tcp", s.address, client)
	if err != nil {
		t.Fatal(err)
	}
	f := framesOn(t, conn)
	slow := f.open(true, request("GET", "/slow")...)
	if a := f.wait(slow); a.String() != "200" {
		t.Errorf("a stream that takes longer than server.idle_timeout: %s", a)
	}
	for range 3 {
		time.Sleep(200 * time.Millisecond)
		if a := f.wait(f.open(true, request("GET", "/")...)); a.String() != "200" {
			t.Fatalf("a stream after a pause: %s", a)
		}
	}
	began := time.Now()
	for {
		frame, err := f.write.ReadFrame()
		if err != nil {
			t.Fatalf("no GOAWAY came: %v", err)
		}
		if g, ok := frame.(*http2.GoAwayFrame); ok {
			if took := time.Since(began); g.ErrCode != http2.ErrCodeNo || g.LastStreamID != f.last || took < 150*time.Millisecond {
				t.Errorf("GOAWAY %d with %s after %s", g.LastStreamID, g.ErrCode, took)
			}
			break
		}
	}
	s.stop()
	if err := s.ended(t, 5*time.Second); err != nil {
		t.Error(err)
	}
}

// TestHTTP2DrainOverTLS ends a proxy under load: each POST gets its response, or none was made because
// there is no connection any more.
func TestHTTP2DrainOverTLS(t *testing.T) {
	t.Parallel()
	s, config := startSecureHTTP2(t, testOptions(startBackend(t, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(5 * time.Millisecond)
		_, _ = io.Copy(w, r.Body)
	})))
	var done atomic.Int64
	var wg sync.WaitGroup
	for range 3 {
		transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: config.Clone()}
		defer transport.CloseIdleConnections()
		client := &http.Client{Transport: transport, Timeout: 20 * time.Second}
		for range 10 {
			wg.Go(func() {
				for {
					response, err := client.Post("https://"+s.address, "", strings.NewReader("hello"))
					var op *net.OpError
					if errors.As(err, &op) && op.Op == "dial" {
						return
					}
					if err != nil {
						t.Errorf("lost: %v", err)
						return
					}
					body, err := io.ReadAll(response.Body)
					response.Body.Close()
					if err != nil || string(body) != "hello" {
						t.Errorf("lost in its body: %q, %v", body, err)
					}
					done.Add(1)
				}
			})
		}
	}
	eventually(t, "some requests", func() bool { return done.Load() > 100 })
	s.stop()
	if err := s.ended(t, 10*time.Second); err != nil {
		t.Error(err)
	}
	wg.Wait()
}
