package proxy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/rs/zerolog"

	"loadbalancer/proxy/message"
)

// TestWebSocket echoes 10,000 messages of up to 1 MiB over a few connections.
func TestWebSocket(t *testing.T) {
	const connections, messages = 8, 1250
	p, address := startProxy(t, testOptions(startBackend(t, func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"echo"}})
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.SetReadLimit(2 << 20)
		for {
			kind, message, err := c.Read(r.Context())
			if err != nil {
				return
			}
			if err := c.Write(r.Context(), kind, message); err != nil {
				return
			}
		}
	})))
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	content := randomBytes(1 << 20)
	done := make(chan error, connections)
	for i := range connections {
		go func() { done <- echo(ctx, address, content, messages, rand.New(rand.NewPCG(uint64(i), 1))) }()
	}
	for range connections {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	eventually(t, "no tunnel is left", func() bool { return metric(p, "lb_tunnels") == "0" })
	eventually(t, "each tunnel to be counted", func() bool {
		return metric(p, `lb_requests_total{pool="main",code="101"}`) == fmt.Sprint(connections)
	})
}

// echo sends messages, most of them small and some of up to the whole content, and wants each back.
func echo(ctx context.Context, address string, content []byte, messages int, random *rand.Rand) error {
	c, _, err := websocket.Dial(ctx, "ws://"+address+"/chat", &websocket.DialOptions{Subprotocols: []string{"echo"}, HTTPClient: &http.Client{Transport: transport(address)}})
	if err != nil {
		return err
	}
	defer c.CloseNow()
	c.SetReadLimit(2 << 20)
	if c.Subprotocol() != "echo" {
		return fmt.Errorf("the subprotocol is %q", c.Subprotocol())
	}
	for i := range messages {
		size := random.IntN(2 << 10)
		switch i % 250 {
		case 0:
			size = len(content)
		case 1:
			size = random.IntN(len(content))
		}
		if err := c.Write(ctx, websocket.MessageBinary, content[:size]); err != nil {
			return fmt.Errorf("message %d of %d bytes: %w", i, size, err)
		}
		if _, got, err := c.Read(ctx); err != nil || !bytes.Equal(got, content[:size]) {
			return fmt.Errorf("message %d of %d bytes came back with %d, %w", i, size, len(got), err)
		}
	}
	return c.Close(websocket.StatusNormalClosure, "")
}

const upgradeRequest = "GET /chat HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: talk/2, talk/1\r\n\r\n"

const switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: talk/1\r\n\r\n"

// startTalk is a backend that changes to a protocol of its own.
func startTalk(t testing.TB, talk func(in *bufio.Reader, conn net.Conn)) string {
	return startRawBackend(t, func(conn net.Conn) {
		in := bufio.NewReader(conn)
		if _, err := readRequestHeader(in); err != nil {
			return
		}
		if _, err := io.WriteString(conn, switched); err == nil {
			talk(in, conn)
		}
	})
}

// openTunnel asks for one and reads the 101.
func openTunnel(t testing.TB, address string) *rawClient {
	t.Helper()
	w := newWire(t, address)
	w.send(upgradeRequest)
	if a := w.receive("GET"); a.StatusCode != message.SwitchingProtocols || a.Header.Get("Upgrade") != "talk/1" || a.Header.Get("Connection") != "Upgrade" {
		t.Fatalf("got %d, %v", a.StatusCode, a.Header)
	}
	return w
}

func TestTunnelHalfClose(t *testing.T) {
	t.Run("the client has said all", func(t *testing.T) {
		_, address := startProxy(t, testOptions(startTalk(t, func(in *bufio.Reader, conn net.Conn) {
			all, err := io.ReadAll(in)
			_, _ = fmt.Fprintf(conn, "%d bytes, %v", len(all), err)
		})))
		w := openTunnel(t, address)
		w.send(strings.Repeat("x", 100_000))
		_ = closeWrite(w.Conn)
		if got, err := io.ReadAll(w.in); string(got) != "100000 bytes, <nil>" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	})
	t.Run("the backend has said all", func(t *testing.T) {
		heard := make(chan string, 1)
		_, address := startProxy(t, testOptions(startTalk(t, func(in *bufio.Reader, conn net.Conn) {
			_, _ = io.WriteString(conn, "bye")
			_ = conn.(interface{ CloseWrite() error }).CloseWrite()
			all, err := io.ReadAll(in)
			heard <- fmt.Sprint(string(all), err)
		})))
		w := openTunnel(t, address)
		if got, err := io.ReadAll(w.in); string(got) != "bye" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		w.send("and more")
		_ = w.Conn.Close()
		if got := <-heard; got != "and more<nil>" {
			t.Errorf("the backend heard %q", got)
		}
	})
}

// TestTunnelEarlyBytes has both sides speak before the tunnel stands.
func TestTunnelEarlyBytes(t *testing.T) {
	_, address := startProxy(t, testOptions(startRawBackend(t, func(conn net.Conn) {
		in := bufio.NewReader(conn)
		if _, err := readRequestHeader(in); err != nil {
			return
		}
		_, _ = io.WriteString(conn, switched+"server first, ")
		early := make([]byte, len("client first"))
		_, _ = io.ReadFull(in, early)
		_, _ = conn.Write(early)
	})))
	w := newWire(t, address)
	w.send(upgradeRequest + "client first")
	w.receive("GET")
	if got, err := io.ReadAll(w.in); string(got) != "server first, client first" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestBrokenTunnel cuts one side with RST: the other must not take it for an end.
func TestBrokenTunnel(t *testing.T) {
	t.Run("backend", func(t *testing.T) {
		_, address := startProxy(t, testOptions(startTalk(t, func(in *bufio.Reader, conn net.Conn) {
			_, _ = in.ReadByte()
			reset(conn)
		})))
		w := openTunnel(t, address)
		w.send("x")
		if _, err := io.ReadAll(w.in); err == nil || isTimeout(err) {
			t.Errorf("got %v, want a reset", err)
		}
	})
	t.Run("client", func(t *testing.T) {
		heard := make(chan error, 1)
		_, address := startProxy(t, testOptions(startTalk(t, func(in *bufio.Reader, conn net.Conn) {
			_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
			_, err := io.ReadAll(in)
			heard <- err
		})))
		w := openTunnel(t, address)
		reset(w.Conn)
		if err := <-heard; isTimeout(err) {
			t.Errorf("got %v, want an end", err)
		}
	})
}

// TestTunnelTimeout ends an idle tunnel, and no other.
func TestTunnelTimeout(t *testing.T) {
	o := testOptions(startTalk(t, func(in *bufio.Reader, conn net.Conn) { _, _ = io.Copy(conn, in) }))
	pool := o.Pools["main"]
	pool.Timeouts.Tunnel = 400 * time.Millisecond
	o.Pools["main"] = pool
	p, address := startProxy(t, o)
	w := openTunnel(t, address)
	for range 10 { // a second, in which only one of the ways is ever silent for long
		time.Sleep(pool.Timeouts.Tunnel / 4)
		w.send("x")
		if _, err := w.in.ReadByte(); err != nil {
			t.Fatalf("a tunnel in use: %v", err)
		}
	}
	silent := time.Now()
	w.mustEnd()
	if took := time.Since(silent); took < pool.Timeouts.Tunnel*3/4 || took > pool.Timeouts.Tunnel*3 {
		t.Errorf("it ended after %v, want %v", took, pool.Timeouts.Tunnel)
	}
	eventually(t, "tunnel_timeout", func() bool { return errorsWith(p, "tunnel_timeout") == "1" })
}

// TestTunnelWithoutReader bounds what a peer that does not read holds: memory by the sockets'
// buffers, time by the tunnel's timeout.
func TestTunnelWithoutReader(t *testing.T) {
	sent := make(chan int64, 1)
	o := testOptions(startTalk(t, func(_ *bufio.Reader, conn net.Conn) {
		n, _ := io.Copy(conn, io.LimitReader(zeros{}, 1<<30))
		sent <- n
	}))
	pool := o.Pools["main"]
	pool.Timeouts.Tunnel = 400 * time.Millisecond
	o.Pools["main"] = pool
	p, address := startProxy(t, o)
	openTunnel(t, address)
	if n := <-sent; n > 64<<20 {
		t.Errorf("the backend could send %d bytes", n)
	}
	eventually(t, "tunnel_timeout", func() bool { return errorsWith(p, "tunnel_timeout") == "1" })
}

// TestTunnelWithSteadyReader is not cut because it is slow. The reader would not notice a cut until
// it has read what the kernel holds, so the count is checked.
func TestTunnelWithSteadyReader(t *testing.T) {
	t.Parallel()
	start := func(t *testing.T, talk func(*bufio.Reader, net.Conn)) (*Proxy, *rawClient) {
		t.Parallel()
		o := testOptions(startTalk(t, talk))
		pool := o.Pools["main"]
		pool.Timeouts.Tunnel = steadyTimeout
		o.Pools["main"] = pool
		p, address := startProxy(t, o)
		return p, openTunnel(t, address)
	}
	check := func(t *testing.T, p *Proxy, err error) {
		if n := errorsWith(p, "tunnel_timeout"); err != nil || n != "0" {
			t.Errorf("while it reads: %v, tunnel_timeout counted %s times", err, n)
		}
	}
	t.Run("client", func(t *testing.T) {
		p, w := start(t, func(_ *bufio.Reader, conn net.Conn) { _, _ = io.Copy(conn, zeros{}) })
		check(t, p, readSteadily(w.Conn))
	})
	t.Run("backend", func(t *testing.T) {
		read := make(chan error, 1)
		p, w := start(t, func(in *bufio.Reader, conn net.Conn) {
			read <- readSteadily(in)
			_, _ = io.Copy(io.Discard, in)
		})
		go func() { _, _ = io.Copy(w, zeros{}) }()
		check(t, p, <-read)
	})
}

// TestTunnelsAtShutdown lets a tunnel end in its own time, up to the shutdown timeout, and then
// cuts it.
func TestTunnelsAtShutdown(t *testing.T) {
	for _, patient := range []bool{true, false} {
		t.Run(fmt.Sprint("patient ", patient), func(t *testing.T) {
			var log logLines
			o := testOptions(startTalk(t, func(in *bufio.Reader, conn net.Conn) { _, _ = io.Copy(conn, in) }))
			o.Access, o.Log = AccessAll, zerolog.New(&log)
			if !patient {
				o.Server.ShutdownTimeout = 100 * time.Millisecond
			}
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			p := New(o)
			ctx, cancel := context.WithCancel(context.Background())
			served := make(chan error, 1)
			front := overTLS(t, ln)
			go func() { served <- serveAndDrain(ctx, p, front) }()
			w := openTunnel(t, ln.Addr().String())
			cancel()
			eventually(t, "draining", func() bool { return len(log.parsed(t)) == 2 })
			if !patient {
				if err := <-served; err != nil {
					t.Errorf("a tunnel that was cut is a failure: %v", err)
				}
				w.mustEnd()
				requireMessages(t, &log, "shutting down", "draining", "cut what was still running at the shutdown timeout", "request")
				for _, line := range log.parsed(t)[1:3] {
					checkLine(t, line, map[string]any{"requests": 0., "tunnels": 1., "shutdown_timeout": "100ms"})
				}
				checkLine(t, log.parsed(t)[3], map[string]any{"status": 101., "duration_ms": interval{100, 5000}})
				return
			}
			w.send("still here")
			got := make([]byte, len("still here"))
			if _, err := io.ReadFull(w.in, got); err != nil || string(got) != "still here" {
				t.Errorf("got %q, %v", got, err)
			}
			_ = closeWrite(w.Conn)
			w.mustEnd()
			if err := <-served; err != nil {
				t.Error(err)
			}
			requireMessages(t, &log, "shutting down", "draining", "request")
		})
	}
}

// TestTunnelOverUnixSocket has no splice to rely on.
func TestTunnelOverUnixSocket(t *testing.T) {
	_, address := startProxy(t, testOptions(startUnixBackend(t, func(conn net.Conn) {
		in := bufio.NewReader(conn)
		if _, err := readRequestHeader(in); err == nil {
			_, _ = io.WriteString(conn, switched)
			_, _ = io.Copy(conn, in)
		}
	})))
	w := openTunnel(t, address)
	content := randomBytes(3 << 20)
	go func() {
		_, _ = w.Write(content)
		_ = closeWrite(w.Conn)
	}()
	if got, err := io.ReadAll(w.in); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes came back, %v", len(got), err)
	}
}

// TestUpgradeRequests tells which Upgrade reaches the backend.
func TestUpgradeRequests(t *testing.T) {
	for _, test := range []struct{ name, request, want string }{
		{"WebSocket", "GET / HTTP/1.1\r\nHost: h\r\nconnection: UPGRADE\r\nuPGRADE: websocket\r\nSec-WebSocket-Key: k\r\n\r\n", "websocket"},
		{"among other options", "GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\nConnection: x, upgrade\r\nUpgrade: a, b/1\r\n\r\n", "a, b/1"},
		{"any method", "FOO / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: a\r\n\r\n", "a"},
		{"not named by Connection", "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n", ""},
		{"named without being there", "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n\r\n", ""},
		{"empty", "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade:\r\n\r\n", ""},
		{"twice", "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: a\r\nUpgrade: b\r\n\r\n", ""},
		{"HTTP/2", "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n\r\n", ""},
		{"HTTP/2 among others", "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket, H2C\r\n\r\n", ""},
		{"HTTP of another version", "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: HTTP/3.0\r\n\r\n", ""},
		{"HTTP/1.0", "GET / HTTP/1.0\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", ""},
		{"with a small body", "POST / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 2\r\n\r\nhi", "tcp"},
		{"with the largest small body", "POST / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 16384\r\n\r\n" + strings.Repeat("x", 16384), "tcp"},
		{"with a body that streams", "POST / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 16385\r\n\r\n" + strings.Repeat("x", 16385), ""},
		{"with a body of unknown length", "POST / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, address := startProxy(t, testOptions(startBackend(t, func(w http.ResponseWriter, r *http.Request) {
				fmt.Fprintf(w, "%q %q %q", r.Header["Upgrade"], r.Header["Connection"], r.Header["Http2-Settings"])
			})))
			w := newWire(t, address)
			w.send(test.request)
			want := `[] [] []`
			if test.want != "" {
				want = fmt.Sprintf("%q %q []", []string{test.want}, []string{"Upgrade"})
			}
			if a := w.receive("GET"); string(a.body) != want {
				t.Errorf("the backend saw %s, want %s", a.body, want)
			}
		})
	}
}

// TestUpgradeWithABody joins the connections behind the body, as docker exec needs it, whose client
// may go on at once.
func TestUpgradeWithABody(t *testing.T) {
	const body, prompt, typed = `{"Detach":false,"Tty":true}`, "prompt$ ", "ls\n"
	request := withHost("POST /exec/84/start HTTP/1.1", "Content-Length: "+fmt.Sprint(len(body)), "Connection: Upgrade", "Upgrade: tcp")
	for _, test := range []struct {
		name   string
		pieces []string
	}{
		{"after the 101", []string{request + body, typed}},
		{"header and body apart", []string{request, body, typed}},
		{"at once", []string{request + body + typed}},
		{"100-continue", []string{strings.Replace(request, "Upgrade: tcp", "Upgrade: tcp\r\nExpect: 100-continue", 1), body, typed}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, address := startProxy(t, testOptions(startRawBackend(t, func(conn net.Conn) {
				in := bufio.NewReader(conn)
				if _, got, err := readRequest(in); err != nil || string(got) != body {
					t.Errorf("the backend got %q, %v", got, err)
				}
				_, _ = io.WriteString(conn, "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"+prompt)
				_, _ = io.CopyN(conn, in, int64(len(typed)))
			})))
			w := newWire(t, address)
			for i, piece := range test.pieces {
				if i == len(test.pieces)-1 && i > 0 {
					if a := w.receive("POST"); a.StatusCode != 101 {
						t.Fatalf("got %d", a.StatusCode)
					}
				}
				w.send(piece)
				if strings.Contains(piece, "100-continue") {
					_, _ = readRequestHeader(w.in)
				}
			}
			if len(test.pieces) == 1 {
				w.receive("POST")
			}
			if got, err := io.ReadAll(w.in); string(got) != prompt+typed || err != nil {
				t.Errorf("the tunnel gave %q, %v", got, err)
			}
		})
	}
}

// TestFalseSwitch refuses a 101 that is no answer to what was asked, and never joins the
// connections.
func TestFalseSwitch(t *testing.T) {
	for _, test := range []struct{ name, request, response string }{
		{"not asked for", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", switched},
		{"another protocol", upgradeRequest, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n"},
		{"no protocol", upgradeRequest, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, address := startProxy(t, testOptions(startRawBackend(t, answerAll(test.response))))
			w := newWire(t, address)
			w.send(test.request)
			if a := w.receive("GET"); a.StatusCode != 502 || !bytes.Contains(a.body, []byte("bad_response")) {
				t.Errorf("got %d %s", a.StatusCode, a.body)
			}
			eventually(t, "bad_response is counted", func() bool { return errorsWith(p, "bad_response") == "1" })
		})
	}
}

// TestRefusedUpgrade leaves the connection to HTTP.
func TestRefusedUpgrade(t *testing.T) {
	_, address := startProxy(t, testOptions(startRawBackend(t, answerAll("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno"))))
	w := newWire(t, address)
	for range 2 {
		w.send(upgradeRequest)
		if a := w.receive("GET"); a.StatusCode != 200 || string(a.body) != "no" {
			t.Errorf("got %d %s", a.StatusCode, a.body)
		}
	}
}
