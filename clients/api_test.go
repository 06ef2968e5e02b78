package clients

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fasthttp/router"
	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"loadbalancer/clients/rest"
	"loadbalancer/clients/store/pgtest"
	"loadbalancer/limiter"
)

// api is the service behind a real listener.
type api struct {
	t       *testing.T
	base    string
	limiter *limiter.Limiter
}

type answer struct {
	status int
	header http.Header
	body   string
}

// eachStore runs a test over an empty store of each kind.
func eachStore(t *testing.T, test func(t *testing.T, cfg Config)) {
	t.Helper()
	t.Run("memory", func(t *testing.T) {
		test(t, Config{Store: memoryStore})
	})
	eachLastingStore(t, test)
}

// eachLastingStore is eachStore for those that outlive the process.
func eachLastingStore(t *testing.T, test func(t *testing.T, cfg Config)) {
	t.Helper()
	t.Run("file", func(t *testing.T) {
		test(t, fileConfig(t))
	})
	t.Run("postgres", func(t *testing.T) {
		test(t, postgresConfig(t))
	})
}

func postgresConfig(t testing.TB) Config {
	cfg := DefaultConfig()
	cfg.Store, cfg.Snapshot = pgtest.NewDatabase(t), filepath.Join(t.TempDir(), "clients.snapshot")
	return cfg
}

func fileConfig(t testing.TB) Config {
	cfg := DefaultConfig()
	cfg.Store = "file:" + filepath.Join(t.TempDir(), "clients.db")
	return cfg
}

// startAPI opens the store and serves it until the test ends, or until stop.
func startAPI(t *testing.T, cfg Config) (a *api, stop func()) {
	t.Helper()
	lim := limiter.New(limiter.DefaultConfig())
	service, stopService := startService(t, cfg, lim, keysAreRead, zerolog.Nop())
	base, stopServer := serve(t, service.Register, true)
	stop = sync.OnceFunc(func() {
		stopServer()
		stopService()
	})
	t.Cleanup(stop)
	return &api{t: t, base: base, limiter: lim}, stop
}

// startService starts a service and runs it until the test ends, or until stop.
func startService(t testing.TB, cfg Config, lim *limiter.Limiter, readsKeys func() bool, log zerolog.Logger) (s *Service, stop func()) {
	t.Helper()
	s = New(cfg, lim, readsKeys, log)
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-ran, s.Close()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return s, stop
}

// serve starts a server with the settings of the load balancer, with bodies streamed or not, and
// returns its base URL.
func serve(t *testing.T, register func(*router.Router), stream bool) (base string, stop func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	answer := testRouter(register).Handler
	server := &fasthttp.Server{
		Handler: func(ctx *fasthttp.RequestCtx) {
			answer(ctx)
			if rest := ctx.RequestBodyStream(); rest != nil { // the load balancer's server reads it while it sends
				_, _ = io.Copy(io.Discard, rest)
			}
		},
		CloseOnShutdown:    true,
		MaxRequestBodySize: 16 * rest.MaxBody,
	}
	if stream {
		server.StreamRequestBody, server.MaxRequestBodySize = true, 1
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	return "http://" + listener.Addr().String(), func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := server.ShutdownWithContext(ctx); err != nil {
			t.Error(err)
		}
		_ = listener.Close() // of a server that did not serve yet, which Shutdown does not know of
		if err := <-served; err != nil {
			t.Error(err)
		}
	}
}

func testRouter(register func(*router.Router)) *router.Router {
	r := router.New()
	r.RedirectTrailingSlash, r.RedirectFixedPath, r.HandleOPTIONS = false, false, false
	register(r)
	return r
}

// send makes a call on a connection of its own, so that none outlives the test. Fields are lines of
// the header.
func send(t *testing.T, method, url, body string, fields ...string) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	request, err := http.NewRequestWithContext(ctx, method, url, reader)
	if err != nil {
		t.Fatal(err)
	}
	request.Close = true
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ": ")
		request.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return answer{status: response.StatusCode, header: response.Header, body: string(text)}
}

// call makes a call below /v1/api/clients, or to a path below /v1/api, and checks its status.
func (a *api) call(status int, method, path, body string, fields ...string) answer {
	a.t.Helper()
	if !strings.HasPrefix(path, root) {
		path = collection + path
	}
	got := send(a.t, method, a.base+path, body, fields...)
	if got.status != status {
		a.t.Fatalf("%s %s %s: got %d %s, want %d", method, path, body, got.status, got.body, status)
	}
	return got
}

// refuse makes a call that must fail with a problem that names the field and holds the text.
func (a *api) refuse(status int, field, text, method, path, body string, fields ...string) {
	a.t.Helper()
	got := a.call(status, method, path, body, fields...)
	if got.header.Get("Content-Type") != "application/problem+json" {
		a.t.Errorf("%s %s: Content-Type is %q", method, path, got.header.Get("Content-Type"))
	}
	var p struct {
		Title, Detail, Field string
		Status               int
	}
	a.decode(got, &p)
	if p.Status != status || p.Title == "" || p.Field != field || !strings.Contains(p.Detail, text) {
		a.t.Errorf("%s %s %s: got %+v, want field %q and %q in the detail", method, path, body, p, field, text)
	}
}

func (a *api) create(id string, capacity int64) clientJSON {
	a.t.Helper()
	body, _ := json.Marshal(map[string]any{"ip_address": id, "capacity": capacity, "rate_per_second": 10})
	var c clientJSON
	a.decode(a.call(http.StatusCreated, "POST", "/", string(body)), &c)
	return c
}

func (a *api) createNamed(name, key string, capacity int64) clientJSON {
	a.t.Helper()
	body, _ := json.Marshal(map[string]any{"name": name, "api_key": key, "capacity": capacity, "rate_per_second": 10})
	var c clientJSON
	a.decode(a.call(http.StatusCreated, "POST", "/", string(body)), &c)
	return c
}

func (a *api) get(path string) clientJSON {
	a.t.Helper()
	var c clientJSON
	a.decode(a.call(http.StatusOK, "GET", path, ""), &c)
	return c
}

func (a *api) decode(got answer, value any) {
	a.t.Helper()
	if err := json.Unmarshal([]byte(got.body), value); err != nil {
		a.t.Fatalf("decode %q: %v", got.body, err)
	}
}

// limited checks the capacity that the limiter grants an address.
func (a *api) limited(addr string, capacity int64) {
	a.t.Helper()
	if got := admit(a.limiter, addr, "").Capacity; got != capacity {
		a.t.Errorf("the limiter has capacity %d for %s, want %d", got, addr, capacity)
	}
}

// limitedByKey checks the capacity that the limiter grants to a key, at an unregistered address.
func (a *api) limitedByKey(key string, capacity int64) {
	a.t.Helper()
	if got := admit(a.limiter, "192.0.2.1", key).Capacity; got != capacity {
		a.t.Errorf("the limiter has capacity %d for the key %s, want %d", got, key, capacity)
	}
}

// admit makes one request, which is over when it returns.
func admit(l *limiter.Limiter, addr, key string) (d limiter.Decision) {
	client := l.Identify(netip.MustParseAddr(addr), []byte(key))
	lease := l.Admit(client, time.Now(), &d)
	lease.Release()
	return d
}
