package management

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"loadbalancer/clients/rest"
	"loadbalancer/limiter"
	"loadbalancer/proxy"
	"loadbalancer/proxy/listen"
	"loadbalancer/proxy/upstream"
)

// apiListener serves the API on one of the two listeners.
type apiListener struct {
	name    string
	address string
	stop    func() error // ends it, and waits for that; may be called twice
	calls   *testCalls
}

// testCalls are calls of the API that streams are tested with.
type testCalls struct {
	download atomic.Pointer[func(w *bufio.Writer) error]
	ended    chan error // gets the result of each download
}

// journal takes log lines while they are read.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// eachListener runs a test on the management listener and on the proxy's, in parallel, with a
// timeout that is short enough to wait for.
func eachListener(t *testing.T, timeout time.Duration, test func(t *testing.T, on *apiListener)) {
	for name, serve := range map[string]func(net.Listener, *API, time.Duration) (func(context.Context) error, error){
		"management": onManagement, "proxy": onProxy,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, startListener(t, name, timeout, serve))
		})
	}
}

func startListener(t *testing.T, name string, timeout time.Duration, serve func(net.Listener, *API, time.Duration) (func(context.Context) error, error)) *apiListener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	calls := &testCalls{ended: make(chan error, 1)}
	api := NewAPI(Config{APIOnProxy: true}, proxy.NewTrust(proxy.DefaultServerConfig()), nil, Reload{}, nil, zerolog.Nop())
	calls.register(api)
	run, err := serve(ln, api, timeout)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	on := &apiListener{name: name, address: ln.Addr().String(), calls: calls}
	on.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() { _ = on.stop() })
	return on
}

func onManagement(ln net.Listener, api *API, timeout time.Duration) (func(context.Context) error, error) {
	m := &Server{router: newRouter(zerolog.Nop()), Parts: Parts{API: api, TLS: listen.NewTLS(nil, zerolog.Nop()), Starting: func() error { return nil }}}
	return func(ctx context.Context) error { return m.serve(ctx, newCallers(ln, timeout)) }, nil
}

func onProxy(ln net.Listener, api *API, timeout time.Duration) (func(context.Context) error, error) {
	url, err := upstream.ParseURL("http://127.0.0.1:1")
	if err != nil {
		return nil, err
	}
	pool := upstream.DefaultPoolConfig()
	pool.Backends = []upstream.BackendConfig{{URL: url, Weight: 1}}
	server := proxy.DefaultServerConfig()
	server.BodyTimeout, server.ShutdownTimeout = timeout, timeout
	server.MaxBodySize = 10 // is not for the API
	p := proxy.New(proxy.Options{
		Server: server, Pools: map[string]upstream.PoolConfig{"main": pool},
		LimitFields: limiter.DefaultConfig().Fields(), API: api.OnProxy(Config{APIOnProxy: true}), Logging: proxy.Logging{Access: proxy.AccessOff, Log: zerolog.Nop()},
	})
	return func(ctx context.Context) error {
		if err := p.Serve(ctx, proxy.Front{Listener: ln}); err != nil {
			return err
		}
		return p.Drain()
	}, nil
}

// register adds the calls below /v1/api/test/.
func (c *testCalls) register(api *API) {
	add := func(method, name string, call rest.Call) {
		api.router.Handle(method, apiPrefix+"test/"+name, rest.Handler(zerolog.Nop(), call))
	}
	add("POST", "upload", func(_ context.Context, r *fasthttp.RequestCtx) error {
		lines, size := rest.NewLines(r), 0
		for {
			line, err := lines.Next()
			if err == io.EOF {
				rest.WriteJSON(r, 200, fmt.Sprintf("%d lines, %d bytes", lines.Number(), size))
				return nil
			}
			if err != nil {
				return err
			}
			size += len(line)
		}
	})
	add("POST", "body", func(_ context.Context, r *fasthttp.RequestCtx) error {
		body, err := rest.ReadBody(r)
		if err == nil {
			rest.WriteJSON(r, 200, len(body))
		}
		return err
	})
	add("GET", "large", func(_ context.Context, r *fasthttp.RequestCtx) error {
		r.SetBody(make([]byte, largeSize))
		return nil
	})
	add("POST", "refuse", func(context.Context, *fasthttp.RequestCtx) error {
		return &rest.Fault{Code: rest.Unsupported, Message: "refused unread"}
	})
	add("GET", "caller", func(_ context.Context, r *fasthttp.RequestCtx) error {
		caller := rest.CallerOf(r)
		rest.WriteJSON(r, 200, caller.Name()+" from "+caller.Address.String())
		return nil
	})
	add("GET", "download", func(_ context.Context, r *fasthttp.RequestCtx) error {
		return rest.Stream(r, "text/csv", func(w *bufio.Writer) error {
			err := (*c.download.Load())(w)
			c.ended <- err
			return err
		})
	})
}

// downloads sets what a download writes.
func (on *apiListener) downloads(write func(w *bufio.Writer) error) { on.calls.download.Store(&write) }

// dial opens a connection, which is closed at the end of the test.
func (on *apiListener) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", on.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	return conn
}

// post sends the header of a POST.
func (on *apiListener) post(t *testing.T, call string, fields string) net.Conn {
	t.Helper()
	conn := on.dial(t)
	if _, err := fmt.Fprintf(conn, "POST /v1/api/test/%s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", call, fields); err != nil {
		t.Fatal(err)
	}
	return conn
}

// get sends a GET.
func (on *apiListener) get(t *testing.T, call string) net.Conn {
	t.Helper()
	conn := on.dial(t)
	if _, err := fmt.Fprintf(conn, "GET /v1/api/test/%s HTTP/1.1\r\nHost: localhost\r\n\r\n", call); err != nil {
		t.Fatal(err)
	}
	return conn
}

// receive reads a response and its body, past interim ones.
func receive(t *testing.T, conn net.Conn) (*http.Response, string) {
	t.Helper()
	in := bufio.NewReader(conn)
	for {
		r, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatalf("no response: %v", err)
		}
		if r.StatusCode == 100 {
			continue
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatalf("%d %q: %v", r.StatusCode, body, err)
		}
		return r, string(bytes.TrimSpace(body))
	}
}

// send writes a part every pause until all are sent, or the peer takes no more.
func send(conn net.Conn, part string, times int, pause time.Duration) {
	for range times {
		if _, err := io.WriteString(conn, part); err != nil {
			return
		}
		time.Sleep(pause) // the pace is what is tested
	}
}

// largeSize is the size of a response that sockets' buffers do not hold.
const largeSize = 64 << 20

var errTest = errors.New("made for this test")
