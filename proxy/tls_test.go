package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"flag"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
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
	// Those that are skipped send a PROXY header, which belongs before the handshake, have clients
	// of their own, or read less than a record at a time.
	command := exec.CommandContext(t.Context(), os.Args[0], "-tls", "-test.timeout=5m", "-test.skip=Proxy|HTTP2|GRPC|SlowClients|SlowBackendHolds|AnswerBeforeMore|Steady",
		"-test.run=WebSocket|Tunnel|Upgrade|Upload|Continue|Buffer|Client(s)?Leave|Shutdown|Trailers|Interim|Stream|Bod(y|ies)|Chunk|Pipelin|KeepAlive|Timeout")
	if out, err := command.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// transport sends requests to a proxy, over TLS where it speaks that.
func transport(address string) *http.Transport {
	return &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return connect(address) }}
}

// securely is startProxy with TLS.
func securely(t testing.TB, o Options) (*Proxy, string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := New(o)
	serveFrontUntilEnd(t, p, secureFront(t, ln))
	return p, ln.Addr().String()
}

// pieces writes what it is given in two parts, cut at a position, and then as it comes.
type pieces struct {
	net.Conn
	first []byte // comes before
	cut   int
}

func (p *pieces) Write(b []byte) (int, error) {
	if p.first == nil {
		return p.Conn.Write(b)
	}
	all := append(p.first, b...)
	p.first = nil
	for _, part := range [][]byte{all[:p.cut], all[p.cut:]} {
		if _, err := p.Conn.Write(part); err != nil {
			return 0, err
		}
		time.Sleep(time.Millisecond) // a segment of its own, in most runs
	}
	return len(b), nil
}

// The PROXY header stands before the handshake, wherever the two are cut.
func TestProxyHeaderInOneSegmentWithTheHandshake(t *testing.T) {
	var told atomic.Value
	o := tellingOptions(startBackend(t, func(w http.ResponseWriter, r *http.Request) { told.Store(r.Header.Get("X-Forwarded-For")) }))
	p, address := securely(t, o)
	for _, header := range []string{proxyV1, proxyV2} {
		for _, cut := range []int{0, 1, 10, len(header) - 1, len(header), len(header) + 1, len(header) + 5, len(header) + 100} {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			config, _ := secured.Load(address)
			c := tls.Client(&pieces{conn, []byte(header), cut}, config.(*tls.Config))
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			told.Store("")
			if _, err := io.WriteString(c, get("/")); err != nil {
				t.Fatalf("cut at %d: %v", cut, err)
			}
			r, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil || r.StatusCode != 200 || told.Load() != "192.0.2.1" {
				t.Errorf("cut at %d: got %v, %v; the backend is told of %q", cut, r, err, told.Load())
			}
			c.Close()
		}
	}
	for _, wrong := range []string{"PROXY nonsense\r\n", "\x16\x03\x01\x00\xf0"} {
		conn := dialRaw(t, address)
		if _, err := io.WriteString(conn, wrong); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(conn); len(got) > 0 || err != nil {
			t.Errorf("%q got %q, %v", wrong, got, err)
		}
	}
	eventually(t, "the faults to be counted", func() bool { return metric(p, `lb_tls_handshake_errors_total{cause="proxy_header"}`) == "2" })
}

// dialRaw connects, without a handshake.
func dialRaw(t testing.TB, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn
}

// A thousand connections without a handshake, and handshakes as fast as they go, leave a connection
// that stands served. Those without a handshake end in time.
func TestHandshakeFlood(t *testing.T) {
	o := testOptions(startBackend(t, func(http.ResponseWriter, *http.Request) {}))
	o.Server.ReadHeaderTimeout = 2 * time.Second
	p, address := securely(t, o)
	w := newWire(t, address)
	var halves []net.Conn
	began := time.Now()
	for i := range 1000 {
		conn := dialRaw(t, address)
		if i%2 == 0 {
			_, _ = io.WriteString(conn, "\x16\x03\x01\x02\x00\x01\x00")
		}
		halves = append(halves, conn)
	}
	stop := make(chan struct{})
	var flood sync.WaitGroup
	var shaken atomic.Int64
	for range 8 {
		flood.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if conn, err := connect(address); err == nil {
					shaken.Add(1)
					reset(conn)
				}
			}
		})
	}
	var took []time.Duration
	for range 200 {
		at := time.Now()
		w.send(withHost("GET / HTTP/1.1"))
		if a := w.receive("GET"); a.StatusCode != 200 {
			t.Fatalf("got %d", a.StatusCode)
		}
		took = append(took, time.Since(at))
		time.Sleep(5 * time.Millisecond)
	}
	close(stop)
	flood.Wait()
	slices.Sort(took)
	t.Logf("%d handshakes in %s; requests took %s in the middle, %s at the 99th percentile, %s at most", shaken.Load(), time.Since(began), took[len(took)/2], took[len(took)*99/100], took[len(took)-1])
	if p99 := took[len(took)*99/100]; p99 > time.Second {
		t.Errorf("the 99th percentile is %s", p99)
	}
	for _, conn := range halves {
		if got, err := io.ReadAll(conn); len(got) > 0 || isTimeout(err) {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	eventually(t, "the time-outs to be counted", func() bool { return metric(p, `lb_tls_handshake_errors_total{cause="timeout"}`) == "1000" })
}
