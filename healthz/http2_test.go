package healthz

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
)

// serveGRPC serves gRPC until the test ends.
func serveGRPC(t *testing.T, register func(*grpc.Server)) net.Listener {
	t.Helper()
	l := listen(t, "tcp", "127.0.0.1:0")
	s := grpc.NewServer()
	register(s)
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); <-done })
	return l
}

// TestCheckGRPC asks gRPC's own implementation of grpc.health.v1.
func TestCheckGRPC(t *testing.T) {
	states := health.NewServer()
	states.SetServingStatus("shop.v1.Cart", healthgrpc.HealthCheckResponse_SERVING)
	states.SetServingStatus("shop.v1.Stock", healthgrpc.HealthCheckResponse_NOT_SERVING)
	l := serveGRPC(t, func(s *grpc.Server) { healthgrpc.RegisterHealthServer(s, states) })
	without := serveGRPC(t, func(*grpc.Server) {})
	for _, test := range []struct {
		name, service string
		to            net.Listener
		want          string // "": fit
	}{
		{"serving", "shop.v1.Cart", l, ""},
		{"the whole server", "*", l, ""},
		{"not serving", "shop.v1.Stock", l, "NOT_SERVING"},
		{"unknown", "shop.v1.None", l, `grpc-status "5 unknown service"`},
		{"not implemented", "*", without, "does not implement grpc.health.v1 (grpc-status 12"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.GRPC, cfg.Timeout = test.service, 10*time.Second
			target := targetOf(test.to)
			target.HTTP2 = true
			err := check(context.Background(), cfg, target)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if err != nil && causeOf(err) != WrongStatus {
				t.Errorf("the cause is %s", causeOf(err))
			}
		})
	}
}

// serveHTTP2 serves HTTP/2 in the clear until the test ends.
func serveHTTP2(t *testing.T, h http.HandlerFunc) net.Listener {
	t.Helper()
	l := listen(t, "tcp", "127.0.0.1:0")
	s := http.Server{Handler: h, Protocols: new(http.Protocols)}
	s.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close(); <-done })
	return l
}

// TestCheckHTTP2 asks for a path in HTTP/2.
func TestCheckHTTP2(t *testing.T) {
	l := serveHTTP2(t, func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 || r.RequestURI != "/up?deep=1" || r.Host != "backend.example" || r.Header.Get("User-Agent") != "lb-health-check" {
			w.WriteHeader(400)
		}
		if r.Method == "POST" {
			w.WriteHeader(503)
		}
		_, _ = io.WriteString(w, "all is well")
	})
	for _, test := range []struct{ name, method, body, want string }{
		{"up", "GET", "", ""},
		{"text", "GET", "is well", ""},
		{"no text", "GET", "is not well", "without"},
		{"status", "POST", "", "status 503"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := httpConfig()
			cfg.Method, cfg.Body = test.method, test.body
			target := targetOf(l)
			target.HTTP2 = true
			err := check(context.Background(), cfg, target)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// TestCheckHTTP2Fails is for backends that do not answer in HTTP/2.
func TestCheckHTTP2Fails(t *testing.T) {
	for name, handle := range map[string]func(net.Conn){
		"silent": func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) },
		"HTTP/1": func(conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
		},
		"closes": func(net.Conn) {},
	} {
		t.Run(name, func(t *testing.T) {
			l := listen(t, "tcp", "127.0.0.1:0")
			serve(t, l, handle)
			cfg := DefaultConfig()
			cfg.GRPC, cfg.Timeout = "*", 200*time.Millisecond
			target := targetOf(l)
			target.HTTP2 = true
			if err := check(context.Background(), cfg, target); err == nil || causeOf(err) != NoAnswer {
				t.Errorf("got %v, cause %s, want no answer", err, causeOf(err))
			}
		})
	}
}

// TestServingStatus reads answers of hand.
func TestServingStatus(t *testing.T) {
	for body, want := range map[string]int{
		"\x00\x00\x00\x00\x02\x08\x01":           1,
		"\x00\x00\x00\x00\x02\x08\x02":           2,
		"\x00\x00\x00\x00\x00":                   0,
		"\x00\x00\x00\x00\x06\x12\x02ab\x08\x01": 1,
		"":                                       -1,
		"\x01\x00\x00\x00\x02\x08\x01":           -1,
		"\x00\x00\x00\x00\x03\x08\x01":           -1,
		"\x00\x00\x00\x00\x02\x12\x05":           -1,
		"\x00\x00\x00\x00\x01\x08":               -1,
		"\x00\x00\x00\x00\x0b\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01": -1,
	} {
		got, err := servingStatus([]byte(body))
		if err != nil && want >= 0 || err == nil && int(got) != want {
			t.Errorf("%q: got %d, %v, want %d", body, got, err, want)
		}
	}
}
