package healthz

import (
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// TestCheckCause: which failures say that a backend has answered.
func TestCheckCause(t *testing.T) {
	answers := func(answer string) func(net.Conn) {
		return func(conn net.Conn) {
			readRequest(conn)
			io.WriteString(conn, answer)
		}
	}
	silent := func(conn net.Conn) { io.Copy(io.Discard, conn) } // ends when the check closes the connection
	tests := []struct {
		name     string
		handle   func(net.Conn)
		body     string
		want     Cause
		answered bool
	}{
		{"as expected", answers("HTTP/1.1 200 OK\r\n\r\nready"), "ready", Passed, false},
		{"another status", answers("HTTP/1.1 503 Service Unavailable\r\n\r\n"), "", WrongStatus, true},
		{"another status and text", answers("HTTP/1.1 503 Service Unavailable\r\n\r\nno"), "ready", WrongStatus, true},
		{"another text", answers("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno"), "ready", WrongText, true},
		{"another text up to the end", answers("HTTP/1.1 200 OK\r\n\r\nno"), "ready", WrongText, true},
		{"half a body", answers("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nno"), "ready", NoAnswer, false},
		{"half a header", answers("HTTP/1.1 503 Service Unavailable\r\n"), "", NoAnswer, false},
		{"not HTTP", answers("SSH-2.0-OpenSSH_9.2p1\r\n\r\n"), "", NoAnswer, false},
		{"closed at once", func(net.Conn) {}, "", NoAnswer, false},
		{"silence", silent, "", NoAnswer, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := listen(t, "tcp", "127.0.0.1:0")
			serve(t, l, tt.handle)
			cfg := httpConfig()
			cfg.Body = tt.body
			if tt.name == "silence" {
				cfg.Timeout = 50 * time.Millisecond
			}
			err := check(t.Context(), cfg, targetOf(l))
			if got := causeOf(err); got != tt.want || got.Answered() != tt.answered {
				t.Errorf("got %s, answered %v, of %v; want %s, answered %v", got, got.Answered(), err, tt.want, tt.answered)
			}
		})
	}
	closed := listen(t, "tcp", "127.0.0.1:0")
	closed.Close()
	for name, target := range map[string]Target{
		"a closed port":    targetOf(closed),
		"a missing socket": {Network: "unix", Address: filepath.Join(t.TempDir(), "gone")},
		"an unknown name":  {Network: "tcp", Address: "backend.invalid:80"},
	} {
		if err := check(t.Context(), httpConfig(), target); causeOf(err) != Refused || Refused.Answered() {
			t.Errorf("%s: got %s of %v, want %s", name, causeOf(err), err, Refused)
		}
	}
}
