package top

import (
	"errors"
	"io"
	"log"
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

// A token that no header can have is told before it is sent.
func TestTokenOfControlCharacters(t *testing.T) {
	if _, err := newClient("http://lb.example", "secret\r"); err == nil || !strings.HasPrefix(err.Error(), "LB_TOKEN is invalid") || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
}

// What is wrong at the start is said in words, with what to do.
func TestStartFails(t *testing.T) {
	const stream = "text/event-stream"
	for _, tt := range []struct {
		name, token string
		code        int
		kind, body  string
		want        string // URL stands for the server's
	}{
		{"no token", "", 401, "", `{"detail": "x"}`, "URL wants a token: set LB_TOKEN"},
		{"wrong token", "secret", 401, "", `{"detail": "x"}`, "LB_TOKEN is none of the tokens configured at URL; set it to one of management.tokens"},
		{"not local", "", 403, "", `{"detail": "calls from elsewhere need a token"}`, "calls from elsewhere need a token"},
		{"another server", "", 404, "", "<html>", "URL is not the management listener of a load balancer that lb top knows: it answered 404 Not Found; use --management=URL with"},
		{"an older load balancer", "", 404, "", `{"detail": "nothing is served at this path"}`, "URL is not the management listener of a load balancer that lb top knows: it answered 404"},
		{"the proxy's listener", "", 503, "", `{"reason": "no_backend", "detail": "No backend is available."}`, "URL is not the management listener of a load balancer that lb top knows: it answered 503"},
		{"a page", "", 200, "text/html", "<html>", "URL is not the management listener of a load balancer that lb top knows: it answered text/html in place of text/event-stream; use --management=URL"},
		{"redirect", "", 302, "", "", "URL is not the management listener of a load balancer that lb top knows: it answered 302 Found; use"},
		{"too many", "", 503, "", `{"detail": "100 streams\u001b[2J are open"}`, "100 streams�[2J are open"},
		{"no status", "", 200, stream, "data: [1]\n\n", "URL tells what lb top cannot read"},
		{"bytes", "", 200, stream, "data: \x00\x1b[2J\xff\n\n", "URL tells what lb top cannot read: invalid character '\\x00'"},
		{"no message", "", 200, stream, "retry: 1\n\n", "URL has ended the stream of its status without a message"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if got := r.Header.Get("Authorization"); got != "" && got != "Bearer secret" || (got == "") != (tt.token == "") {
				t.Errorf("%s: Authorization is %q", tt.name, got)
			}
			w.Header().Set("Location", "http://lb.invalid")
			w.Header().Set("Content-Type", tt.kind)
			w.WriteHeader(tt.code)
			_, _ = w.Write([]byte(tt.body))
		}))
		_, err := begin(t.Context(), mustClient(t, server.URL, tt.token))
		want := strings.Replace(tt.want, "URL", server.URL, 1)
		if strings.HasPrefix(tt.want, "LB_TOKEN") {
			want = strings.Replace(tt.want, "at URL", "at "+server.URL, 1)
		}
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q", tt.name, err, want)
		}
		server.Close()
	}
}

// Where nothing or something else listens is said in words, with what to do.
func TestNoConnection(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	plain := httptest.NewServer(nil)
	defer plain.Close()
	secured := httptest.NewUnstartedServer(nil)
	secured.Config.ErrorLog = log.New(io.Discard, "", 0)
	secured.StartTLS()
	defer secured.Close()
	port := secured.URL[strings.LastIndexByte(secured.URL, ':'):]
	for management, want := range map[string]string{
		closed.URL:            "nothing listens at " + closed.URL + "; use --management=URL with the address in the load balancer's management.listen",
		"unix:/missing/lb":    "nothing listens at unix:/missing/lb; use --management=URL",
		"http://lb.invalid:1": "no connection to http://lb.invalid:1: ",
		strings.Replace(plain.URL, "http", "https", 1):   strings.Replace(plain.URL, "http", "https", 1) + " answers without TLS; use http:// in --management",
		strings.Replace(secured.URL, "https", "http", 1): strings.Replace(secured.URL, "https", "http", 1) + " is not the management listener of a load balancer that lb top knows: it answered 400 Bad Request",
		secured.URL:                "the certificate of " + secured.URL + " is not trusted: certificate signed by unknown authority; set SSL_CERT_FILE to a file with the certificate of its authority",
		"https://localhost" + port: "the certificate of https://localhost" + port + " is not trusted: certificate is valid for ",
	} {
		if _, err := begin(t.Context(), mustClient(t, management, "")); err == nil || !strings.HasPrefix(err.Error(), want) {
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
		w.Header().Set("Content-Type", "text/event-stream")
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
