package proxy

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// startBackend answers with an http.Handler until the test ends, and returns its URL.
func startBackend(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	t.Cleanup(s.Close)
	if *backendsOverTLS {
		s.StartTLS()
	} else {
		s.Start()
	}
	return s.URL
}

// mirror answers with the request's method, target and body.
func mirror(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("X-Method", r.Method)
	w.Header().Set("X-Target", r.RequestURI)
	w.Header().Set("X-Length", strconv.FormatInt(r.ContentLength, 10))
	if r.Header.Get("X-Plain") != "" {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	_, _ = w.Write(body)
}

// startRawBackend hands each connection to a function, and returns its URL. The connections end
// with the test.
func startRawBackend(t testing.TB, serve func(conn net.Conn)) string {
	t.Helper()
	if *backendsOverTLS {
		return startSecureBackend(t, &tls.Config{Certificates: testServerCertificates()}, serve)
	}
	return startPlainBackend(t, serve)
}

// startPlainBackend is startRawBackend in the clear.
func startPlainBackend(t testing.TB, serve func(conn net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveRaw(t, ln, serve)
	return "http://" + ln.Addr().String()
}

// startSecureBackend is startRawBackend over TLS.
func startSecureBackend(t testing.TB, c *tls.Config, serve func(conn net.Conn)) string {
	t.Helper()
	ln, err := tls.Listen("tcp", "127.0.0.1:0", c)
	if err != nil {
		t.Fatal(err)
	}
	serveRaw(t, ln, func(conn net.Conn) {
		if conn.(*tls.Conn).Handshake() == nil {
			serve(conn)
		}
	})
	return "https://" + ln.Addr().String()
}

// startUnixBackend is startRawBackend over a unix socket, where what one side writes, or that it
// closes, is known to the other side at once. Over TCP it is mostly.
func startUnixBackend(t testing.TB, serve func(conn net.Conn)) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	serveRaw(t, ln, serve)
	return "unix:" + path
}

func serveRaw(t testing.TB, ln net.Listener, serve func(conn net.Conn)) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				serve(conn)
			}()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-ended })
}

// readRequestHeader reads up to the empty line.
func readRequestHeader(r *bufio.Reader) (string, error) {
	var b strings.Builder
	for {
		line, err := r.ReadString('\n')
		b.WriteString(line)
		if err != nil || line == "\r\n" {
			return b.String(), err
		}
	}
}

// readRequest reads a request and its body as a server does.
func readRequest(in *bufio.Reader) (*http.Request, []byte, error) {
	r, err := http.ReadRequest(in)
	if err != nil {
		return nil, nil, err
	}
	body, err := io.ReadAll(r.Body)
	return r, body, err
}

// answerAll answers every request on a connection with the same bytes.
func answerAll(response string) func(net.Conn) {
	return func(conn net.Conn) {
		r := bufio.NewReader(conn)
		for {
			if _, err := readRequestHeader(r); err != nil {
				return
			}
			if _, err := io.WriteString(conn, response); err != nil {
				return
			}
		}
	}
}

func answerOnce(response string) func(net.Conn) {
	return func(conn net.Conn) { _, _ = io.WriteString(conn, response) }
}

// readAndAnswer reads requests with their bodies and answers each.
func readAndAnswer(conn net.Conn) {
	for in := bufio.NewReader(conn); ; {
		if _, _, err := readRequest(in); err != nil {
			return
		}
		if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"); err != nil {
			return
		}
	}
}

func rawAnswer(response string) func(*testing.T) string {
	return func(t *testing.T) string {
		return startRawBackend(t, func(conn net.Conn) {
			if _, err := readRequestHeader(bufio.NewReader(conn)); err == nil {
				_, _ = io.WriteString(conn, response)
			}
		})
	}
}

// silentBackend reads and never answers.
func silentBackend(t *testing.T) string {
	return startRawBackend(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
}

// fullBackend listens with a full queue, so that connecting never ends.
func fullBackend(t *testing.T) string {
	fd, address := bind(t)
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	for range 3 { // the queue holds one more than it says
		if conn, err := net.DialTimeout("tcp", address, 50*time.Millisecond); err == nil {
			t.Cleanup(func() { conn.Close() })
		}
	}
	return "http://" + address
}

// closedPort returns an address at which nothing listens until the test has ended.
func closedPort(t testing.TB) string {
	t.Helper()
	_, address := bind(t)
	return address
}

// bind takes a free port without listening on it.
func bind(t testing.TB) (fd int, address string) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	syscall.CloseOnExec(fd)
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fd, fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
}

// startCountingBackend answers each request with 200, and counts the bytes that come, whether they
// are a request or not.
func startCountingBackend(t testing.TB) (url string, seen *atomic.Int64) {
	seen = new(atomic.Int64)
	return startRawBackend(t, func(conn net.Conn) {
		in := bufio.NewReader(io.TeeReader(conn, countWriter{seen}))
		for {
			if _, _, err := readRequest(in); err != nil {
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	}), seen
}

type countWriter struct{ n *atomic.Int64 }

func (w countWriter) Write(p []byte) (int, error) {
	w.n.Add(int64(len(p)))
	return len(p), nil
}

// startRequestCounter answers each request with 200, and counts them.
func startRequestCounter(t testing.TB) (url string, seen *atomic.Int64) {
	seen = new(atomic.Int64)
	return startRawBackend(t, func(conn net.Conn) {
		in := bufio.NewReader(conn)
		for {
			if _, _, err := readRequest(in); err != nil {
				return
			}
			seen.Add(1)
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	}), seen
}

// counted is a backend that counts the requests it reads and then does something.
type counted struct {
	url      string
	requests atomic.Int32
}

func startCounted(t *testing.T, then func(conn net.Conn)) *counted {
	c := &counted{}
	c.url = startRawBackend(t, func(conn net.Conn) {
		if _, _, err := readRequest(bufio.NewReader(conn)); err == nil {
			c.requests.Add(1)
			then(conn)
		}
	})
	return c
}

// startRecordingBackend hands over each request's header as it came, and answers with 204.
func startRecordingBackend(t *testing.T) (url string, got <-chan string) {
	headers := make(chan string, 16)
	return startRawBackend(t, func(conn net.Conn) {
		r := bufio.NewReader(conn)
		for {
			header, err := readRequestHeader(r)
			if err != nil {
				return
			}
			if headers <- header; strings.Contains(header, "chunked\r\n") {
				_, _ = readRequestHeader(r) // an empty body ends as a header does
			}
			if _, err := io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n"); err != nil {
				return
			}
		}
	}), headers
}

const plainForwarded = "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: example.com"

// received is a request as a backend received it.
type received struct {
	header string // byte for byte
	body   string // without its framing
}

// startVerbatimBackend hands over each request as it came, and answers with 204.
func startVerbatimBackend(t *testing.T) (url string, got <-chan received) {
	requests := make(chan received, 16)
	return startRawBackend(t, func(conn net.Conn) {
		var raw bytes.Buffer
		in := bufio.NewReader(io.TeeReader(conn, &raw)) // the proxy sends no request before the one before is answered
		for {
			raw.Reset()
			_, body, err := readRequest(in)
			if err != nil {
				return
			}
			header, _, _ := strings.Cut(raw.String(), "\r\n\r\n")
			requests <- received{header + "\r\n\r\n", string(body)}
			if _, err := io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n"); err != nil {
				return
			}
		}
	}), requests
}

// startWitness is a backend that answers each request that comes to it whole with 200, and hands
// over its target and body.
func startWitness(t *testing.T) (url string, whole <-chan string) {
	got := make(chan string, 64)
	return startRawBackend(t, func(conn net.Conn) {
		in := bufio.NewReader(conn)
		for {
			r, body, err := readRequest(in)
			if err != nil {
				return
			}
			got <- r.RequestURI + " " + string(body)
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	}), got
}

// startHostile is a backend that answers the first request with a response and all on other
// connections with clean.
func startHostile(t *testing.T, response string, closes bool) string {
	var conns atomic.Int32
	return startUnixBackend(t, func(conn net.Conn) {
		if conns.Add(1) > 1 {
			answerAll("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nclean")(conn)
			return
		}
		in := bufio.NewReader(conn)
		if _, err := readRequestHeader(in); err != nil {
			return
		}
		_, _ = io.WriteString(conn, response)
		if !closes {
			answerAll(evilResponse)(conn)
		}
	})
}

const evilResponse = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"

const (
	leaseOK      = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	leaseNothing = "HTTP/1.1 204 No Content\r\n\r\n"
)

// startHoldingBackend starts a backend that tells of each request and answers it when it is told
// to.
func startHoldingBackend(t *testing.T, entered chan<- bool, release <-chan bool) string {
	return startRawBackend(t, func(conn net.Conn) {
		for in := bufio.NewReader(conn); ; {
			if _, err := readRequestHeader(in); err != nil {
				return
			}
			entered <- true
			<-release
			_, _ = io.WriteString(conn, leaseOK)
		}
	})
}

// testServerCertificates returns the certificates of httptest's servers.
var testServerCertificates = sync.OnceValue(func() []tls.Certificate {
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	defer s.Close()
	return s.TLS.Certificates
})

// writeAuthority writes the authority of those certificates, which is the certificate itself, to a
// file, and returns its path.
func writeAuthority() string {
	f, err := os.CreateTemp("", "authority")
	if err == nil {
		err = pem.Encode(f, &pem.Block{Type: "CERTIFICATE", Bytes: testServerCertificates()[0].Certificate[0]})
	}
	if err != nil {
		panic(err)
	}
	_ = f.Close()
	return f.Name()
}

// frugal is a backend that allocates nothing once it runs.
func frugal(bodyLength int, response string) func(net.Conn) {
	return func(conn net.Conn) {
		answer, buf := []byte(response), make([]byte, 16<<10)
		end := []byte("\r\n\r\n")
		for {
			n := 0
			for {
				got, err := conn.Read(buf[n:])
				if err != nil {
					return
				}
				n += got
				if i := bytes.Index(buf[:n], end); i >= 0 && n >= i+4+bodyLength {
					break
				}
			}
			if _, err := conn.Write(answer); err != nil && err != io.EOF {
				return
			}
		}
	}
}

// openListener counts the connections that are open.
type openListener struct {
	net.Listener
	open *atomic.Int64
}

func (l openListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.open.Add(1)
	return &openConn{Conn: conn, open: l.open}, nil
}

type openConn struct {
	net.Conn
	open *atomic.Int64
	once sync.Once
}

func (c *openConn) Close() error {
	c.once.Do(func() { c.open.Add(-1) })
	return c.Conn.Close()
}
