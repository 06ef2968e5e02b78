package healthz

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// wrapped is a connection that Secure has made.
type wrapped struct {
	net.Conn
	closed chan struct{}
}

func (w wrapped) Close() error {
	close(w.closed)
	return w.Conn.Close()
}

// TestCheckOfASecureTarget: the check speaks over what Secure returns and closes that; where Secure
// fails, the connection is closed, and only a time that is over leaves open whether the backend
// would have answered.
func TestCheckOfASecureTarget(t *testing.T) {
	l := listen(t, "tcp", "127.0.0.1:0")
	ended := make(chan error, 10)
	serve(t, l, func(conn net.Conn) {
		if readRequest(conn) != "" {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		}
		_, err := conn.Read(make([]byte, 1))
		ended <- err
	})
	fails := func(err error) Secure { return func(context.Context, net.Conn) (net.Conn, error) { return nil, err } }
	for _, test := range []struct {
		name, path string
		secure     Secure
		cause      Cause
		words      string
	}{
		{"GET", "/healthz", nil, Passed, ""},
		{"connect", "", nil, Passed, ""},
		{"fails", "/healthz", fails(errors.New("x509: a wrong name")), Refused, "health check of main/backend: x509: a wrong name"},
		{"is late", "", func(ctx context.Context, _ net.Conn) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }, NoAnswer, "not done within 50ms"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.Path, cfg.Timeout = test.path, 5*time.Second
			if test.cause == NoAnswer {
				cfg.Timeout = 50 * time.Millisecond
			}
			target := targetOf(l)
			closed := make(chan struct{})
			if target.Secure = test.secure; test.secure == nil {
				target.Secure = func(_ context.Context, conn net.Conn) (net.Conn, error) { return wrapped{conn, closed}, nil }
			} else {
				close(closed)
			}
			err := check(t.Context(), cfg, target)
			if got := causeOf(err); got != test.cause || err != nil && !strings.Contains(err.Error(), test.words) {
				t.Errorf("got %s, %v, want %s, %q", got, err, test.cause, test.words)
			}
			<-closed
			if err := <-ended; err != io.EOF {
				t.Errorf("the connection ended with %v", err)
			}
		})
	}
}
