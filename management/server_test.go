package management

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"loadbalancer/clients"
	"loadbalancer/limiter"
	"loadbalancer/proxy"
	"loadbalancer/proxy/listen"
)

func anyPort(t *testing.T) listen.Address {
	t.Helper()
	a, err := listen.ParseAddress("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// get sends a request on a connection of its own.
func get(t *testing.T, url string) (status int, header http.Header, body string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, r.Header, string(text)
}

// A fault of the load balancer's own must not end the process.
func TestManagementSurvivesAFault(t *testing.T) {
	limits := limiter.New(limiter.DefaultConfig())
	store := clients.Config{Store: "file:" + filepath.Join(t.TempDir(), "clients.db")}
	service := clients.New(store, limits, func() bool { return true }, zerolog.Nop())
	if err := service.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer service.Close()
	log := &journal{}
	config := Config{Listen: anyPort(t)}
	api := NewAPI(config, proxy.NewTrust(proxy.DefaultServerConfig()), service, Reload{}, nil, zerolog.New(log))
	m := New(Parts{API: api, TLS: listen.NewTLS(nil, zerolog.Nop()), Limits: limits, Clients: service, Starting: func() error { return nil }, Log: zerolog.New(log)})
	m.router.GET("/fault", func(ctx *fasthttp.RequestCtx) {
		ctx.Response.Header.Set("X-Half", "done")
		panic("BUG: made for this test")
	})
	ln, err := config.Open(m.Log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- m.Serve(ctx, ln) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	status, header, body := get(t, "http://"+ln.Addr().String()+"/fault")
	if status != 500 || header.Get("Content-Type") != "application/problem+json" || header.Get("X-Half") != "" || strings.Contains(body, "made for this test") {
		t.Errorf("got %d %v %s, want a problem that shows nothing of what is internal", status, header, body)
	}
	if !strings.Contains(log.String(), "BUG: made for this test") || !strings.Contains(log.String(), "TestManagementSurvivesAFault") {
		t.Errorf("the log lacks the fault or its stack:\n%s", log)
	}
	if status, _, _ := get(t, "http://"+ln.Addr().String()+"/healthz"); status != 200 {
		t.Errorf("after the fault: %d", status)
	}
}

// The listener is closed and nothing is left, however early the end comes.
func TestManagementEndsBeforeItHasBegun(t *testing.T) {
	for range 50 {
		m := &Server{}
		ln, err := Config{Listen: anyPort(t)}.Open(m.Log)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := m.Serve(ctx, ln); err != nil {
			t.Fatal(err)
		}
		if conn, err := net.Dial("tcp", ln.Addr().String()); err == nil {
			conn.Close()
			t.Fatal("the listener is still open")
		}
	}
}

// TestManagementEndsDespiteHalfCalls has connections that have sent nothing, half a header, and
// half a body: the end, for which a successor waits, does not wait for them.
func TestManagementEndsDespiteHalfCalls(t *testing.T) {
	m := &Server{router: newRouter(zerolog.Nop())}
	m.router.POST("/read", func(ctx *fasthttp.RequestCtx) { _, _ = io.ReadAll(ctx.RequestBodyStream()) })
	ln, err := Config{Listen: anyPort(t)}.Open(m.Log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- m.Serve(ctx, ln) }()
	for _, sent := range []string{"", "POST /rea", "POST /read HTTP/1.1\r\nHost: h\r\nContent-Length: 9000\r\n\r\nx"} {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, sent); err != nil {
			t.Fatal(err)
		}
	}
	whole, err := net.Dial("tcp", ln.Addr().String()) // is accepted after the others
	if err != nil {
		t.Fatal(err)
	}
	defer whole.Close()
	fmt.Fprint(whole, "POST /read HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
	if _, err := whole.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > grace/2 {
		t.Errorf("the end took %s", took)
	}
}
