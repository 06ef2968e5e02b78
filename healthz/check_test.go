package healthz

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve hands each connection to l to handle, until the test ends.
func serve(t *testing.T, l net.Listener, handle func(net.Conn)) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			handle(conn)
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
}

func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func targetOf(l net.Listener) Target {
	return Target{Name: "main/backend", Network: l.Addr().Network(), Address: l.Addr().String(), Host: "backend.example"}
}

// readRequest returns one request header from conn, as it came.
func readRequest(conn net.Conn) string {
	br := bufio.NewReader(conn)
	var request strings.Builder
	for {
		line, err := br.ReadString('\n')
		request.WriteString(line)
		if err != nil || line == "\r\n" {
			return request.String()
		}
	}
}

func httpConfig() Config {
	cfg := DefaultConfig()
	cfg.Path = "/up?deep=1"
	cfg.Timeout = 10 * time.Second // far from what a check takes, so that a slow machine changes no result
	return cfg
}

func TestCheckAnswers(t *testing.T) {
	tests := []struct {
		name, answer string
		wantErr      string // "": fit for traffic
	}{
		{"200", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", ""},
		{"204", "HTTP/1.1 204 No Content\r\n\r\n", ""},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\nok", ""},
		{"redirect to nowhere", "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n", ""},
		{"399", "HTTP/1.1 399 Odd\r\n\r\n", ""},
		{"early hints first", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", ""},
		{"body shorter than announced", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", ""},
		{"length in a list", "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", ""},
		{"control bytes", "HTTP/1.1 200 O\x01K\r\nA: b\x01\x7f\r\n\r\n", ""},
		{"lines that end in LF", "HTTP/1.1 200\nA: b\n\nok", ""},
		{"chunks of HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2 \r\nok\r\n0\r\n\r\n", ""},
		{"600", "HTTP/1.1 600 Odd\r\n\r\n", "status 600, want 200-399"},
		{"no status", "HTTP/1.1 OK\r\n\r\n", "malformed HTTP"},
		{"four digits", "HTTP/1.1 2000 OK\r\n\r\n", "malformed HTTP"},
		{"another version", "HTTP/2.0 200 OK\r\n\r\n", "malformed HTTP"},
		{"404", "HTTP/1.1 404 Not Found\r\n\r\n", "status 404, want 200-399"},
		{"503", "HTTP/1.1 503 Service Unavailable\r\n\r\n", "status 503, want 200-399"},
		{"101", "HTTP/1.1 101 Switching Protocols\r\n\r\n", "status 101, want 200-399"},
		{"early hints and then failure", "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 500 Oops\r\n\r\n", "status 500"},
		{"not HTTP", "SSH-2.0-OpenSSH_9.2p1\r\n\r\n", "malformed HTTP"},
		{"nothing", "", "EOF"},
		{"half a header", "HTTP/1.1 200 OK\r\nServer: x\r\n", "EOF"},
		{"header without end", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X-Filler: filler\r\n", 10_000), "longer than 65536 bytes"},
		{"1xx without end", strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 10_000), "longer than 65536 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := listen(t, "tcp", "127.0.0.1:0")
			serve(t, l, func(conn net.Conn) {
				readRequest(conn)
				io.WriteString(conn, tt.answer)
			})
			err := check(t.Context(), httpConfig(), targetOf(l))
			switch {
			case tt.wantErr == "" && err != nil:
				t.Errorf("got %v, want no error", err)
			case tt.wantErr != "" && err == nil:
				t.Errorf("got no error, want one with %q", tt.wantErr)
			case tt.wantErr != "" && (!strings.Contains(err.Error(), tt.wantErr) || !strings.Contains(err.Error(), "main/backend")):
				t.Errorf("got %q, want the target's name and %q in it", err, tt.wantErr)
			}
		})
	}
}

// The connection serves one check: its request says so, and it is closed even when the backend
// leaves it open.
func TestCheckRequestAndClose(t *testing.T) {
	listeners := map[string]net.Listener{
		"tcp":  listen(t, "tcp", "127.0.0.1:0"),
		"unix": listen(t, "unix", filepath.Join(t.TempDir(), "s")),
	}
	for network, l := range listeners {
		t.Run(network, func(t *testing.T) {
			requests, afterwards := make(chan string, 1), make(chan error, 1)
			serve(t, l, func(conn net.Conn) {
				requests <- readRequest(conn)
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				_, err := conn.Read(make([]byte, 1))
				afterwards <- err
			})
			if err := check(t.Context(), httpConfig(), targetOf(l)); err != nil {
				t.Fatal(err)
			}
			want := "GET /up?deep=1 HTTP/1.1\r\nHost: backend.example\r\nUser-Agent: lb-health-check\r\nConnection: close\r\n\r\n"
			if got := <-requests; got != want {
				t.Errorf("sent %q, want %q", got, want)
			}
			if err := <-afterwards; err != io.EOF {
				t.Errorf("after the check the backend read %v, want EOF", err)
			}
		})
	}
}

// TestCheckRequest: what is sent follows the config.
func TestCheckRequest(t *testing.T) {
	const agent = "User-Agent: lb-health-check\r\nConnection: close\r\n"
	tests := []struct {
		name   string
		change func(c *Config)
		want   string
	}{
		{"the default", func(*Config) {}, "GET /up HTTP/1.1\r\nHost: backend.example\r\n" + agent + "\r\n"},
		{"host", func(c *Config) { c.Host = "shop.example" }, "GET /up HTTP/1.1\r\nHost: shop.example\r\n" + agent + "\r\n"},
		{"HEAD", func(c *Config) { c.Method = "HEAD" }, "HEAD /up HTTP/1.1\r\nHost: backend.example\r\n" + agent + "\r\n"},
		{"POST", func(c *Config) { c.Method = "POST" }, "POST /up HTTP/1.1\r\nHost: backend.example\r\n" + agent + "Content-Length: 0\r\n\r\n"},
		{"body", func(c *Config) { c.Body = "ok" }, "GET /up HTTP/1.1\r\nHost: backend.example\r\n" + agent + "Accept-Encoding: identity\r\n\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := listen(t, "tcp", "127.0.0.1:0")
			requests := make(chan string, 1)
			serve(t, l, func(conn net.Conn) {
				requests <- readRequest(conn)
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			})
			cfg := httpConfig()
			cfg.Path = "/up"
			tt.change(&cfg)
			if err := check(t.Context(), cfg, targetOf(l)); err != nil {
				t.Error(err)
			}
			if got := <-requests; got != tt.want {
				t.Errorf("sent %q, want %q", got, tt.want)
			}
		})
	}
}

func TestCheckStatus(t *testing.T) {
	tests := []struct {
		status   int
		expected string
		wantErr  string
	}{
		{204, "200,204,301-302", ""},
		{302, "200,204,301-302", ""},
		{303, "200,204,301-302", "GET /up?… was answered with status 303, want 200,204,301-302"},
		{401, "401", ""},
		{200, "401", "was answered with status 200, want 401"},
		{999, "200-999", ""},
		{101, "200-999", "was answered with status 101, want 200-999"},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.status, " of ", tt.expected), func(t *testing.T) {
			l := listen(t, "tcp", "127.0.0.1:0")
			serve(t, l, func(conn net.Conn) {
				readRequest(conn)
				fmt.Fprintf(conn, "HTTP/1.1 %d X\r\n\r\n", tt.status)
			})
			cfg := httpConfig()
			cfg.Status = statuses(tt.expected)
			err := check(t.Context(), cfg, targetOf(l))
			if got := fmt.Sprint(err); tt.wantErr == "" && err != nil || !strings.Contains(got, tt.wantErr) {
				t.Errorf("got %s, want %q in it", got, tt.wantErr)
			}
		})
	}
}

func TestCheckDoesNotWaitForTheBody(t *testing.T) {
	tests := []struct{ name, header string }{
		{"endless", "HTTP/1.1 200 OK\r\n\r\n"},
		{"announced but not sent", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := listen(t, "tcp", "127.0.0.1:0")
			serve(t, l, func(conn net.Conn) {
				readRequest(conn)
				io.WriteString(conn, tt.header)
				if tt.name == "endless" {
					for filler := make([]byte, 64<<10); ; {
						if _, err := conn.Write(filler); err != nil {
							return
						}
					}
				}
				io.Copy(io.Discard, conn) // ends when the check closes the connection
			})
			cfg := httpConfig()
			began := time.Now()
			if err := check(t.Context(), cfg, targetOf(l)); err != nil {
				t.Error(err)
			}
			if took := time.Since(began); took >= cfg.Timeout {
				t.Errorf("took %v, as long as the body lasts", took)
			}
		})
	}
}

func TestCheckConnectOnly(t *testing.T) {
	cfg := DefaultConfig()
	l := listen(t, "tcp", "127.0.0.1:0")
	serve(t, l, func(net.Conn) {})
	if err := check(t.Context(), cfg, targetOf(l)); err != nil {
		t.Errorf("open port: %v", err)
	}
	l.Close()
	if err := check(t.Context(), cfg, targetOf(l)); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("closed port: got %v, want connection refused", err)
	}
	gone := Target{Name: "main/gone", Network: "unix", Address: filepath.Join(t.TempDir(), "gone")}
	if err := check(t.Context(), cfg, gone); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("missing socket: got %v, want no such file", err)
	}
}

func TestCheckTimeout(t *testing.T) {
	tests := []struct {
		name  string
		drip  string // sent again and again
		pause time.Duration
	}{
		{"silence", "", 5 * time.Millisecond},
		{"a header that drips", "X: y\r\n", 5 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := listen(t, "tcp", "127.0.0.1:0")
			serve(t, l, func(conn net.Conn) {
				readRequest(conn)
				io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
				closed := make(chan struct{})
				go func() {
					defer close(closed)
					io.Copy(io.Discard, conn)
				}()
				for {
					select {
					case <-closed:
						return
					case <-time.After(tt.pause):
						io.WriteString(conn, tt.drip)
					}
				}
			})
			cfg := httpConfig()
			cfg.Timeout = 100 * time.Millisecond
			began := time.Now()
			err := check(t.Context(), cfg, targetOf(l))
			if took := time.Since(began); took < cfg.Timeout || took > 5*time.Second {
				t.Errorf("took %v, want about %v", took, cfg.Timeout)
			}
			if err == nil || !strings.Contains(err.Error(), "not done within 100ms") {
				t.Errorf("got %v, want a timeout", err)
			}
		})
	}
}

func TestCheckEndsWithContext(t *testing.T) {
	l := listen(t, "tcp", "127.0.0.1:0")
	ctx, cancel := context.WithCancel(t.Context())
	serve(t, l, func(conn net.Conn) {
		readRequest(conn)
		cancel()
		io.Copy(io.Discard, conn)
	})
	cfg := httpConfig()
	cfg.Timeout = time.Minute
	began := time.Now()
	err := check(ctx, cfg, targetOf(l))
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %v after the context ended", took)
	}
	if err == nil {
		t.Error("got no error from a check that was cut short")
	}
}
