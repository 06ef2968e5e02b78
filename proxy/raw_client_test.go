package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
)

// rawClient is a client that says byte for byte what it sends.
type rawClient struct {
	t testing.TB
	net.Conn
	in *bufio.Reader
}

func newWire(t testing.TB, address string) *rawClient {
	t.Helper()
	conn := dial(t, address)
	return &rawClient{t, conn, bufio.NewReader(conn)}
}

func (w *rawClient) send(request string) {
	w.t.Helper()
	if _, err := io.WriteString(w, request); err != nil {
		w.t.Fatalf("send %.40q: %v", request, err)
	}
}

// answer is one response, read to its end.
type answer struct {
	*http.Response
	body []byte
}

// receive reads the final response to a request with this method.
func (w *rawClient) receive(method string) answer {
	w.t.Helper()
	a, err := w.tryReceive(method)
	if err != nil {
		w.t.Fatalf("receive the response to %s: %v (body so far: %d bytes)", method, err, len(a.body))
	}
	return a
}

func (w *rawClient) tryReceive(method string) (answer, error) {
	r, err := http.ReadResponse(w.in, &http.Request{Method: method})
	for err == nil && r.StatusCode < 200 && r.StatusCode != message.SwitchingProtocols {
		r, err = http.ReadResponse(w.in, &http.Request{Method: method})
	}
	if err != nil {
		return answer{}, err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	return answer{r, body}, err
}

// mustEnd waits for the proxy to close the connection, and fails if it sends
// anything before.
func (w *rawClient) mustEnd() {
	w.t.Helper()
	if b, err := w.in.ReadByte(); err == nil {
		w.t.Fatalf("got byte %q, want the end of the connection", b)
	} else if isTimeout(err) {
		w.t.Fatalf("the connection did not end: %v", err)
	}
}

func isTimeout(err error) bool {
	netErr, ok := err.(net.Error)
	return ok && netErr.Timeout()
}

// eventually waits until a condition holds, and fails if it does not in time.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 10 s for: %s", what)
		}
	}
}

// metric returns a metric's value as text, "" where it does not stand.
func metric(p *Proxy, name string) string {
	var b bytes.Buffer
	p.WriteMetrics(&b)
	for line := range strings.Lines(b.String()) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// attemptsAt names the metric that counts the attempts at a backend of pool main with a status.
func attemptsAt(url string, status int) string {
	return fmt.Sprintf("lb_backend_requests_total{pool=\"main\",backend=%q,code=\"%d\"}", strings.TrimPrefix(url, "http://"), status)
}

// mustHaveNoErrors fails the test if lb_errors_total has counted anything.
func mustHaveNoErrors(t *testing.T, p *Proxy) {
	t.Helper()
	for why := reason.BadRequest; why < reason.Count; why++ {
		if n := errorsWith(p, why.String()); why.CountedAs() == why && n != "0" {
			t.Errorf("%s errors of %s", n, why)
		}
	}
}

// requestsUnderWay is the number of requests in flight.
func requestsUnderWay(p *Proxy) int {
	requests, _ := p.server.UnderWay()
	return int(requests)
}

// errorsWith returns lb_errors_total of a reason.
func errorsWith(p *Proxy, reason string) string {
	return metric(p, fmt.Sprintf("lb_errors_total{reason=%q}", reason))
}

// randomBytes are the same in every run.
func randomBytes(n int) []byte {
	seed := [32]byte{byte(n), byte(n >> 8), byte(n >> 16)}
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(seed).Read(b)
	return b
}

// inChunks frames a body in chunks of uneven sizes.
func inChunks(body []byte) string {
	var b bytes.Buffer
	for size := 1; len(body) > 0; size = size*3 + 1 {
		size = min(size, len(body), 100_000)
		fmt.Fprintf(&b, "%x\r\n%s\r\n", size, body[:size])
		body = body[size:]
	}
	b.WriteString("0\r\n\r\n")
	return b.String()
}

// closedPort is an address at which nothing listens, nor will before the test ends.
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

// readRequest reads a request and its body as a server does.
func readRequest(in *bufio.Reader) (*http.Request, []byte, error) {
	r, err := http.ReadRequest(in)
	if err != nil {
		return nil, nil, err
	}
	body, err := io.ReadAll(r.Body)
	return r, body, err
}

// reset ends a connection with RST.
func reset(conn net.Conn) {
	_ = conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
}
