package http1

import (
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/reason"
)

// TestAnswerAfterRequestCtx lets a handler fill fasthttp's Response and then give the balancer's
// own answer, as after a panic: none of the former is sent, however long it is.
func TestAnswerAfterRequestCtx(t *testing.T) {
	server := NewServer(Options{Bounds: Bounds{ReadHeaderTimeout: time.Minute, IdleTimeout: time.Minute, ShutdownTimeout: time.Second},
		MaxHeaderSize: 16 << 10, Log: zerolog.Nop(), Proxied: func(netip.Addr) bool { return false },
		Handle: func(end ends.Stream) {
			s := end.ClientEnd.(*Stream)
			s.Guard(testLimits)
			ctx := s.RequestCtx()
			ctx.Response.SetBodyString(strings.Repeat("secret", 10*writeBufferSize))
			if string(s.Request.Target) == "/plain" {
				s.AnswerPlainly(ctx.Response.StatusCode(), len(ctx.Response.Body()))
			} else if header, ok := s.BeginAnswer(reason.NoBackend); ok {
				s.EndAnswer(header, reason.NoBackend)
			}
			s.End()
		}})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- serveAndDrain(ctx, server, Front{Listener: ln}) }()
	defer func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, withHost("GET /own HTTP/1.1")+withHost("GET /plain HTTP/1.1")+withHost("GET /own HTTP/1.1", "Connection: close")); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	var statuses []string
	for _, part := range strings.Split(string(got), "HTTP/1.1 ")[1:] {
		statuses = append(statuses, part[:3])
	}
	if strings.Join(statuses, " ") != "503 200 503" || strings.Count(string(got), "secret") != 10*writeBufferSize {
		t.Errorf("got the statuses %q and %d bytes", statuses, len(got))
	}
}
