package proxy

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"
)

// logLines collects a log.
type logLines struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

// parsed returns the lines so far.
func (l *logLines) parsed(t *testing.T) (all []map[string]any) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range bytes.Lines(l.all.Bytes()) {
		var m map[string]any
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		all = append(all, m)
	}
	return all
}

func TestAccessLog(t *testing.T) {
	good := startRawBackend(t, answerAll("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	failing := startRawBackend(t, answerAll("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"))
	closing := startRawBackend(t, func(conn net.Conn) { _, _ = conn.Read(make([]byte, 1)) })
	host := func(url string) string { return strings.TrimPrefix(url, "http://") }
	for _, test := range []struct {
		name, backend, request string
		isError                bool
		want                   map[string]any
	}{
		{"served", good, "GET /a?b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", false,
			map[string]any{"client": "127.0.0.1", "method": "GET", "host": "h", "target": "/a?b", "status": 200., "pool": "main", "backend": host(good), "reason": nil, "level": "info", "attempts": 1.}},
		{"behind a proxy", good, "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 192.0.2.1\r\nConnection: close\r\n\r\n", false,
			map[string]any{"client": "192.0.2.1"}},
		{"failing backend", failing, get("/f"), true,
			map[string]any{"status": 500., "backend": host(failing), "reason": nil, "level": "error"}},
		{"no answer", closing, "POST /p HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", true,
			map[string]any{"method": "POST", "status": 502., "reason": "backend_reset", "backend": host(closing), "pool": "main"}},
		{"refused by the guard", good, "GET / HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n", true,
			map[string]any{"client": "127.0.0.1", "status": 400., "reason": "bad_request", "pool": nil, "backend": nil}},
		{"not understood at all", good, "GET\r\n\r\n", true,
			map[string]any{"client": "127.0.0.1", "status": 400., "reason": "bad_request"}},
		{"hostile bytes", good, "GET /\"\\ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", false,
			map[string]any{"target": `/"\`}},
	} {
		for _, access := range []Access{AccessOff, AccessErrors, AccessAll} {
			t.Run(test.name+" "+string(access), func(t *testing.T) {
				var log logLines
				o := testOptions(test.backend)
				o.Server.TrustedProxies = []string{"127.0.0.1"}
				o.Access, o.Log = access, zerolog.New(&log)
				p, address := startProxy(t, o)
				w := newWire(t, address)
				w.send(test.request)
				_, _ = io.ReadAll(w.in)
				w.Close()
				eventually(t, "the request to end", func() bool { return p.inFlight.Load() == 0 && metric(p, "lb_connections") == "0" })
				got := log.parsed(t)
				if wanted := access == AccessAll || access == AccessErrors && test.isError; !wanted {
					if len(got) != 0 {
						t.Errorf("logged %v", got)
					}
					return
				}
				if len(got) != 1 {
					t.Fatalf("%d lines: %v", len(got), got)
				}
				for key, value := range test.want {
					if got[0][key] != value {
						t.Errorf("%s is %v, want %v", key, got[0][key], value)
					}
				}
			})
		}
	}
}
