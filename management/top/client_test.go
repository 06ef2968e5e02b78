package top

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

func mustClient(t *testing.T, management, token string) *client {
	t.Helper()
	c, err := newClient(management, token)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.http.CloseIdleConnections)
	return c
}

func TestManagementURL(t *testing.T) {
	for management, ok := range map[string]bool{
		"http://127.0.0.1:8081": true, "https://lb.example/": true, "unix:/run/lb.sock": true, "http://[::1]:8081": true,
		"127.0.0.1:8081": false, "localhost:8081": false, "": false, "unix:": false, "ftp://lb.example": false, "http://": false,
		"http://lb.example/v1": false, "http://user:secret@lb.example": false, "http://lb.example?token=x": false,
	} {
		if _, err := newClient(management, ""); (err == nil) != ok {
			t.Errorf("%q: %v", management, err)
		}
	}
}

// What is wrong at the start is said in words.
func TestStartFails(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	for _, tt := range []struct {
		name, token string
		code        int
		body, want  string
	}{
		{"no token", "", 401, `{"detail": "x"}`, " wants a token: set LB_TOKEN"},
		{"wrong token", "secret", 401, `{"detail": "x"}`, " does not accept the token in LB_TOKEN"},
		{"not local", "", 403, `{"detail": "calls from elsewhere need a token"}`, "calls from elsewhere need a token"},
		{"another server", "", 404, "<html>", " is not the management listener"},
		{"too many", "", 503, `{"detail": "100 streams\u001b[2J are open"}`, "100 streams�[2J are open"},
		{"redirect", "", 302, "", " answered 302 Found"},
		{"no status", "", 200, "data: [1]\n\n", " tells what lb top cannot read"},
		{"no message", "", 200, "retry: 1\n\n", "follow the status of "},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if got := r.Header.Get("Authorization"); got != "" && got != "Bearer secret" || (got == "") != (tt.token == "") {
				t.Errorf("%s: Authorization is %q", tt.name, got)
			}
			w.Header().Set("Location", "http://"+closed.Listener.Addr().String())
			w.WriteHeader(tt.code)
			_, _ = w.Write([]byte(tt.body))
		}))
		_, err := begin(t.Context(), mustClient(t, server.URL, tt.token))
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
		server.Close()
	}
	for management, want := range map[string]string{
		closed.URL:            "nothing listens at " + closed.URL,
		"unix:/missing/lb":    "nothing listens at unix:/missing/lb",
		"http://lb.invalid:1": "no connection to http://lb.invalid:1: ",
	} {
		if _, err := begin(t.Context(), mustClient(t, management, "")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", management, err, want)
		}
	}
}

// The stream is followed over a unix socket, too. Its end is io.EOF.
func TestStreamOverUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lb.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "localhost" || r.URL.Path != "/v1/api/status/stream" {
			t.Errorf("asked for %s at %s", r.URL, r.Host)
		}
		_, _ = io.WriteString(w, "retry: 1000\n\ndata: {\"balancer\": {\"version\": \"a\"}}\n\ndata: {\"balancer\": {\"version\": \"b\"}}\n\n")
	})}}
	server.Start()
	defer server.Close()
	s, err := mustClient(t, "unix:"+path, "").follow(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	for _, want := range []string{"a", "b"} {
		if d, err := s.next(); err != nil || d.Balancer.Version != want {
			t.Fatalf("%v, %v, want %s", d, err, want)
		}
	}
	if _, err := s.next(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

// What is no terminal is told as that, before anything is asked.
func TestNoTerminal(t *testing.T) {
	err := Run(t.Context(), Options{Management: "http://lb.invalid", Env: func(string) string { return "xterm" }}, new(bytes.Buffer))
	if err == nil || !strings.HasPrefix(err.Error(), "stdout is not a terminal") {
		t.Error(err)
	}
}
