package proxy

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"loadbalancer/proxy/certtest"
	"loadbalancer/proxy/upstream"
)

// startTLSBackend hands each connection of TLS to a function, and returns the URL and the file with
// the certificate's authority.
func startTLSBackend(t testing.TB, serve func(conn net.Conn)) (url, ca string) {
	t.Helper()
	authority := certtest.NewAuthority(t)
	url = startSecureBackend(t, &tls.Config{Certificates: []tls.Certificate{authority.Issue([]string{"127.0.0.1"})}}, serve)
	return url, authority.Write(t.TempDir(), "ca.pem")
}

// tlsOptions are testOptions with a file of authorities.
func tlsOptions(ca string, urls ...string) Options {
	o := testOptions(urls...)
	change(&o, func(c *upstream.PoolConfig) {
		c.TLS = upstream.TLSConfig{CA: ca}
		c.Timeouts.Connect = 10 * time.Second // a busy machine takes its time for handshakes
	})
	return o
}

// TestBackendsOverTLS runs tests of this package again with backends that speak TLS; with -long, all but
// those of allocations.
func TestBackendsOverTLS(t *testing.T) {
	if *backendsOverTLS || *everywhere || testing.Short() {
		t.Skip("it is itself, or takes long")
	}
	t.Parallel()
	run := []string{
		"-tls-backends", "-test.timeout=300s",
		"-test.run=^(TestWebSocket|TestTunnel.*|TestBrokenTunnel|TestNothingIsLostToIdleClose|TestHostileResponses|TestNobodyGetsWhatIsLeftOver|" +
			"TestClientsAreNeverMixedUp|TestConnectionAuthentication.*|TestPrivate.*|TestBrokenOffResponse|TestNoCleanEnd|TestServesOn|TestIdleConnections|" +
			"TestBackendThatCloses|TestResetDuringAnUpload|TestFailures|TestUpload.*)$",
	}
	if *long {
		run = []string{"-tls-backends", "-test.timeout=1000s", "-test.skip=Alloc"}
	}
	output, err := exec.CommandContext(t.Context(), os.Args[0], run...).CombinedOutput()
	if err != nil || strings.Contains(string(output), "no tests to run") {
		t.Errorf("%v\n%s", err, output)
	}
}

// TestBackendThatDoesNotVerify: the request is tried at another backend, whatever its method, since
// none of it was sent; the cause is in the log and in the backend's state, and not in the response.
func TestBackendThatDoesNotVerify(t *testing.T) {
	var asked atomic.Int64
	bad, _ := startTLSBackend(t, func(conn net.Conn) {
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			asked.Add(1)
		}
	})
	good, ca := startTLSBackend(t, readAndAnswer)
	plain := startPlainBackend(t, readAndAnswer)
	clear := "https" + strings.TrimPrefix(startPlainBackend(t, answerOnce("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")), "http")
	for _, test := range []struct {
		name, cause string
		urls        []string
		status      int
	}{
		{"alone", "x509: certificate signed by unknown authority", []string{bad}, 502},
		{"with another", "x509: certificate signed by unknown authority", []string{bad, good}, 200},
		{"with one in the clear", "x509: certificate signed by unknown authority", []string{bad, plain}, 200},
		{"a backend in the clear", "TLS handshake: what the backend sent is not TLS", []string{clear}, 502},
	} {
		t.Run(test.name, func(t *testing.T) {
			var log logLines
			o := tlsOptions(ca, test.urls...)
			change(&o, func(c *upstream.PoolConfig) { c.Ejection.Failures = 0 })
			o.Access, o.Log = AccessAll, zerolog.New(&log)
			p, address := startProxy(t, o)
			w := newWire(t, address)
			for range len(test.urls) { // each is first once
				w.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi")
				got := w.receive("POST")
				if got.StatusCode != test.status {
					t.Errorf("got %d, want %d", got.StatusCode, test.status)
				}
				if test.status == 502 {
					checkProblem(t, got, 502, "connect_failed", test.urls[0])
				}
				if strings.Contains(string(got.body), "x509") || strings.Contains(string(got.body), "TLS") {
					t.Errorf("the response tells the cause: %s", got.body)
				}
			}
			w.Close()
			eventually(t, "the lines", func() bool { return strings.Contains(fmt.Sprint(log.parsed(t)), test.cause) })
			state := p.settings.Load().pools[0].States()[0]
			if !strings.HasPrefix(state.LastError, "connect_failed: TLS handshake: ") || !strings.Contains(state.LastError, test.cause) {
				t.Errorf("its last error is %q", state.LastError)
			}
			if n := asked.Load(); n > 0 {
				t.Errorf("a backend that does not verify got %d requests", n)
			}
			if name := `lb_backend_errors_total{pool="main",backend="` + test.urls[0] + `",reason="connect_failed"}`; metric(p, name) == "" {
				t.Errorf("there is no %s", name)
			}
		})
	}
}

// TestEndOfABodyOverTLS: a body of unknown length ends with close_notify. Any other end may be the
// work of something on the way, and must not look like the whole.
func TestEndOfABodyOverTLS(t *testing.T) {
	for _, test := range []struct {
		name  string
		whole bool
		end   func(conn net.Conn)
	}{
		{"close_notify", true, func(conn net.Conn) { conn.Close() }},
		{"half close", true, func(conn net.Conn) { _ = conn.(*tls.Conn).CloseWrite(); _, _ = io.Copy(io.Discard, conn) }},
		{"FIN alone", false, func(conn net.Conn) { socketOf(conn).Close() }},
		{"within a record", false, func(conn net.Conn) { _, _ = socketOf(conn).Write([]byte{23, 3, 3, 1, 0, 9}); socketOf(conn).Close() }},
		{"RST", false, func(conn net.Conn) { reset(conn) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			sent := make(chan bool)
			url, ca := startTLSBackend(t, func(conn net.Conn) {
				in := bufio.NewReader(conn)
				_, _ = readRequestHeader(in)
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\nhalf")
				<-sent
				test.end(conn)
			})
			p, address := startProxy(t, tlsOptions(ca, url))
			w := newWire(t, address)
			w.send(get("/"))
			r, err := http.ReadResponse(w.in, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(r.Body, make([]byte, 4)); err != nil {
				t.Fatal(err)
			}
			sent <- true
			if rest, err := io.ReadAll(r.Body); (err == nil) != test.whole || isTimeout(err) || len(rest) > 0 {
				t.Errorf("it ended with %q, %v", rest, err)
			}
			want := map[bool]string{true: "0", false: "1"}[test.whole]
			eventually(t, "backend_aborted", func() bool { return errorsWith(p, "backend_aborted") == want })
		})
	}
}

// TestLeftoverOverTLS: what a backend sends beyond its response answers no request, also where it
// waits decrypted, or in the middle of a record.
func TestLeftoverOverTLS(t *testing.T) {
	const clean, evil = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nclean", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
	for _, test := range []struct {
		name   string
		answer func(conn net.Conn)
	}{
		{"in one record", func(conn net.Conn) { _, _ = io.WriteString(conn, clean+evil) }},
		{"in the next record", func(conn net.Conn) { _, _ = io.WriteString(conn, clean); _, _ = io.WriteString(conn, evil) }},
		{"later", func(conn net.Conn) {
			_, _ = io.WriteString(conn, clean)
			time.Sleep(20 * time.Millisecond)
			_, _ = io.WriteString(conn, evil)
		}},
		{"behind a response that fills the buffer", func(conn net.Conn) {
			const length = 16<<10 - 200
			_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s%s", length, strings.Repeat("c", length), evil)
		}},
		{"close_notify in the same packet", func(conn net.Conn) { _, _ = io.WriteString(conn, clean); conn.Close() }},
	} {
		t.Run(test.name, func(t *testing.T) {
			sent := make(chan bool)
			url, ca := startTLSBackend(t, func(conn net.Conn) {
				for in := bufio.NewReader(conn); ; {
					if _, err := readRequestHeader(in); err != nil {
						return
					}
					test.answer(conn)
					sent <- true
				}
			})
			p, address := startProxy(t, tlsOptions(ca, url))
			w := newWire(t, address)
			for range 20 {
				w.send(withHost("GET / HTTP/1.1"))
				if got := w.receive("GET"); got.StatusCode != 200 || strings.HasPrefix(string(got.body), "evil") {
					t.Fatalf("got %d %.20q", got.StatusCode, got.body)
				}
				<-sent // so what comes later has come
			}
			mustHaveNoErrors(t, p)
		})
	}
}

// TestNewCredentialsUnderLoad changes the tls section again and again while requests flow: none is
// lost.
func TestNewCredentialsUnderLoad(t *testing.T) {
	authority, folder := certtest.NewAuthority(t), t.TempDir()
	config := &tls.Config{Certificates: []tls.Certificate{authority.Issue([]string{"127.0.0.1"})}}
	var dials atomic.Int64
	o := tlsOptions(authority.Write(folder, "a.pem"), startSecureBackend(t, config, func(conn net.Conn) { dials.Add(1); readAndAnswer(conn) }))
	p, address := startProxy(t, o)
	var clients sync.WaitGroup
	done := make(chan struct{})
	for range 8 {
		clients.Go(func() {
			w := newWire(t, address)
			for {
				select {
				case <-done:
					return
				default:
				}
				w.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi")
				if got, err := w.tryReceive("POST"); err != nil || got.StatusCode != 200 {
					t.Errorf("got %v, %v", got.StatusCode, err)
					return
				}
			}
		})
	}
	const reloads = 20
	for i := range reloads {
		time.Sleep(10 * time.Millisecond)
		name := authority.Write(folder, fmt.Sprint(i, ".pem"))
		change(&o, func(c *upstream.PoolConfig) { c.TLS.CA = name })
		before := dials.Load()
		p.Apply(o)
		eventually(t, "new connections", func() bool { return dials.Load() > before })
	}
	close(done)
	clients.Wait()
	mustHaveNoErrors(t, p)
}

// freePort returns an address that something else than this process can listen on.
func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// startNginx starts nginx with these lines in its http section until the test ends.
func startNginx(t *testing.T, folder, lines string) {
	t.Helper()
	path := tool(t, "nginx", "apt-get install nginx-light")
	config := filepath.Join(folder, "nginx.conf")
	text := "daemon off;\nmaster_process off;\npid " + folder + "/pid;\nerror_log stderr;\nevents {}\nhttp {\naccess_log off;\n" +
		"client_body_temp_path " + folder + "/1;\nproxy_temp_path " + folder + "/2;\nfastcgi_temp_path " + folder + "/3;\nuwsgi_temp_path " + folder + "/4;\nscgi_temp_path " + folder + "/5;\n" + lines + "}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	nginx := exec.CommandContext(t.Context(), path, "-e", "stderr", "-c", config)
	nginx.Stderr = t.Output()
	if err := nginx.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nginx.Process.Kill(); _ = nginx.Wait() })
}

// TestNginxAsBackend: SNI, the client's certificate and the session are what nginx says they are.
func TestNginxAsBackend(t *testing.T) {
	for _, version := range []string{"TLSv1.2", "TLSv1.3"} {
		t.Run(version, func(t *testing.T) {
			authority, folder := certtest.NewAuthority(t), t.TempDir()
			ca := authority.Write(folder, "ca.pem")
			server, serverKey := certtest.Write(t, authority.Issue([]string{"localhost"}), folder, "server")
			client, clientKey := certtest.Write(t, authority.Issue([]string{"lb"}), folder, "client")
			port := freePort(t)
			startNginx(t, folder, "server {\nlisten "+port+" ssl;\nssl_protocols "+version+";\nssl_certificate "+server+";\nssl_certificate_key "+serverKey+";\n"+
				"ssl_client_certificate "+ca+";\nssl_verify_client on;\nssl_session_cache shared:a:1m;\nkeepalive_requests 2;\n"+
				"location / { return 200 \"$ssl_protocol $ssl_server_name $ssl_client_s_dn $ssl_session_reused $connection_requests\"; }\n}\n")
			_, number, _ := net.SplitHostPort(port)
			o := tlsOptions(ca, "https://localhost:"+number)
			change(&o, func(c *upstream.PoolConfig) { c.TLS.Certificate, c.TLS.Key = client, clientKey })
			p, address := startProxy(t, o)
			eventually(t, "nginx to listen", func() bool {
				conn, err := net.Dial("tcp", port)
				if err == nil {
					conn.Close()
				}
				return err == nil
			})
			w := newWire(t, address)
			for _, want := range []string{". 1", ". 2", "r 1", "r 2", "r 1"} { // "." is a session of its own
				w.send(withHost("GET / HTTP/1.1"))
				got := w.receive("GET")
				if want = version + " localhost CN=lb " + want; got.StatusCode != 200 || string(got.body) != want {
					t.Errorf("got %d %q, want %q", got.StatusCode, got.body, want)
				}
			}
			mustHaveNoErrors(t, p)
		})
	}
}
