package proxy

import (
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"loadbalancer/limiter"
	"loadbalancer/proxy/upstream"
)

// TestHTTP2ProxyHeader takes the client's address from the PROXY header before the preface, and
// reads HTTP/1 behind one, or without one, as before.
func TestHTTP2ProxyHeader(t *testing.T) {
	url, got := startRecordingBackend(t)
	o := http2Options(url)
	o.Server.TrustedProxies, o.Server.ProxyProtocol = prefixes("127.0.0.1"), true
	_, address := startProxy(t, o)
	for _, test := range []struct{ preface, list string }{
		{http2.ClientPreface, "\x00\x00\x00\x04\x00\x00\x00\x00\x00" + "\x00\x00\x0f\x01\x05\x00\x00\x00\x01" + "\x82\x86\x84\x41\x8a\x08\x9d\x5c\x0b\x81\x70\xdc\x78\x0f\x03"},
		{"", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"},
	} {
		for _, cut := range []int{0, 1, 20, 40, 50} {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			all := "PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\n" + test.preface + test.list
			_, _ = io.WriteString(conn, all[:cut])
			time.Sleep(5 * time.Millisecond) // so that it comes in two pieces
			_, _ = io.WriteString(conn, all[cut:])
			if header := <-got; !strings.Contains(header, "X-Forwarded-For: 192.0.2.7\r\n") {
				t.Errorf("preface %q, cut at %d: the backend got %q", test.preface, cut, header)
			}
			conn.Close()
		}
	}
}

// TestHTTP2Preface tells the protocols apart, however the first bytes come, and holds a preface that
// does not come to its end to server.read_header_timeout.
func TestHTTP2Preface(t *testing.T) {
	t.Parallel()
	o := http2Options(startBackend(t, mirror))
	o.Server.ReadHeaderTimeout = 500 * time.Millisecond
	_, address := startProxy(t, o)
	plain := withHost("GET / HTTP/1.1", "Connection: close")
	for _, test := range []struct{ first, rest, want string }{
		{"", plain, "HTTP/1.1 200"},
		{"G", plain[1:], "HTTP/1.1 200"},
		{"P", withHost("POST / HTTP/1.1", "Connection: close", "Content-Length: 0")[1:], "HTTP/1.1 200"},
		{"PR", withHost("PROPFIND / HTTP/1.1", "Connection: close")[2:], "HTTP/1.1 200"},
		{"PRI", withHost("PRI / HTTP/1.1", "Connection: close")[3:], "HTTP/1.1 200"},
		{"PRI * HTTP/2.0\r\n", "\r\nSX", "HTTP/1.1 400"},
		{"PRI * HTTP/2.0\r\n\r\n", "", "HTTP/1.1 400"},
		{"PRI", "", "HTTP/1.1 408"},
		{"", "", ""},
		{"PRI * HTTP/2.0\r\n\r\n", "SM\r\n\r\n", "\x00\x00"}, // SETTINGS
	} {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.WriteString(conn, test.first)
		time.Sleep(5 * time.Millisecond) // so that it comes in two pieces
		_, _ = io.WriteString(conn, test.rest)
		got := make([]byte, len(test.want))
		if test.want == "" {
			got = make([]byte, 1)
		}
		n, err := io.ReadFull(conn, got)
		if string(got[:n]) != test.want || test.want == "" && err != io.EOF {
			t.Errorf("%q, then %q: got %q, %v, want %q", test.first, test.rest, got[:n], err, test.want)
		}
		conn.Close()
	}
	// Where it is off, the preface is a request like others, which is refused.
	_, address = startProxy(t, testOptions(startBackend(t, mirror)))
	if got := exchangeRaw(t, address, http2.ClientPreface); !strings.HasPrefix(got, "HTTP/1.1 400") {
		t.Errorf("with h2c off: %q", got)
	}
}

// exchangeRaw sends bytes, and returns all that comes back.
func exchangeRaw(t *testing.T, address, send string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(conn, send)
	got, _ := io.ReadAll(conn)
	return string(got)
}

// TestHTTP2Drain ends a proxy under load: clients get a GOAWAY, what is under way ends, and no
// request is lost: each gets its response, or the client knows that it was not taken.
func TestHTTP2Drain(t *testing.T) {
	t.Parallel()
	o := http2Options(startBackend(t, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(20 * time.Millisecond) // requests are under way at any time
		_, _ = io.WriteString(w, "ok")
	}))
	s := serve(t, o)
	var done, lost atomic.Int64
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		client := http2Client(t)
		for range 5 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					response, err := client.Get("http://" + s.address)
					if err != nil {
						if !errors.Is(err, errRefused(err)) {
							lost.Add(1)
							t.Errorf("lost: %v", err)
						}
						return
					}
					body, err := io.ReadAll(response.Body)
					response.Body.Close()
					if err != nil || string(body) != "ok" {
						lost.Add(1)
						t.Errorf("lost in its body: %q, %v", body, err)
					}
					done.Add(1)
				}
			})
		}
	}
	eventually(t, "some requests", func() bool { return done.Load() > 100 })
	s.stop()
	if err := s.ended(t, 5*time.Second); err != nil {
		t.Error(err)
	}
	close(stop)
	wg.Wait()
	if requestsUnderWay(s.Proxy) != 0 || lost.Load() > 0 {
		t.Errorf("%d requests are under way, %d of %d are lost", requestsUnderWay(s.Proxy), lost.Load(), done.Load())
	}
}

// errRefused returns err if a client may send the request again: no connection could be made.
func errRefused(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return err
	}
	return nil
}

// TestHTTP2Eviction checks that a connection without a stream makes place for another, and one with
// a stream does not.
func TestHTTP2Eviction(t *testing.T) {
	t.Parallel()
	entered, release := make(chan bool, 1), make(chan bool)
	o := http2Options(startHoldingBackend(t, entered, release))
	o.Server.MaxConnections = 1
	_, address := startProxy(t, o)
	first := dialFrames(t, address)
	stream := first.open(true, request("GET", "/")...)
	<-entered
	if got := exchangeRaw(t, address, withHost("GET / HTTP/1.1")); !strings.HasPrefix(got, "HTTP/1.1 503") {
		t.Errorf("while a stream is open another connection gets %.20q", got)
	}
	release <- true
	if a := first.wait(stream); a.String() != "200" {
		t.Errorf("the stream gets %s", a)
	}
	eventually(t, "place for another connection", func() bool {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		_, _ = io.WriteString(conn, withHost("GET / HTTP/1.1", "Connection: close"))
		select {
		case <-entered:
			release <- true
		case <-time.After(200 * time.Millisecond): // it was turned away
		}
		got, _ := io.ReadAll(conn)
		return strings.HasPrefix(string(got), "HTTP/1.1 200")
	})
	if a := first.wait(stream + 2); !a.closed {
		t.Errorf("the idle connection gets %s", a)
	}

}

// TestHTTP2Reload changes the bounds of connections, the limits and the pools under load: requests go
// by the new ones, also on connections from before, and no request is lost.
func TestHTTP2Reload(t *testing.T) {
	t.Parallel()
	urls := []string{startBackend(t, mirror), startBackend(t, mirror)}
	o := http2Options(urls[0])
	p, address := startProxy(t, o)
	client := http2Client(t)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var done atomic.Int64
	for range 10 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				response, err := client.Get("http://" + address)
				if err != nil {
					t.Error(err)
					return
				}
				response.Body.Close()
				done.Add(1)
			}
		})
	}
	for i := range 20 {
		o.Server.IdleTimeout = time.Duration(20+i%3) * time.Second
		pool := upstream.DefaultPoolConfig()
		pool.Backends = backendConfigs(urls[i%2])
		o.Pools = map[string]upstream.PoolConfig{"main": pool}
		before := done.Load()
		p.Apply(o)
		eventually(t, "more requests", func() bool { return done.Load() > before+20 })
	}
	close(stop)
	wg.Wait()
	o.Limiter = limits(1, 0.001)
	o.LimitFields = limiter.DefaultConfig().Fields()
	p.Apply(o)
	statuses := make([]int, 2)
	for i := range statuses {
		response, err := client.Get("http://" + address)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		statuses[i] = response.StatusCode
	}
	if !slices.Equal(statuses, []int{200, 429}) {
		t.Errorf("with a limit of one request: %v", statuses)
	}
}
