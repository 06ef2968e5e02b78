package proxy

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"loadbalancer/proxy/message"
)

// rawClient is a client that sends exactly the bytes it is given.
type rawClient struct {
	t testing.TB
	net.Conn
	in *bufio.Reader
}

func (w *rawClient) send(request string) {
	w.t.Helper()
	if _, err := io.WriteString(w, request); err != nil {
		w.t.Fatalf("send %.40q: %v", request, err)
	}
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

// mustEnd waits for the proxy to close the connection, and fails if it sends anything before.
func (w *rawClient) mustEnd() {
	w.t.Helper()
	if b, err := w.in.ReadByte(); err == nil {
		w.t.Fatalf("got byte %q, want the end of the connection", b)
	} else if isTimeout(err) {
		w.t.Fatalf("the connection did not end: %v", err)
	}
}

func newWire(t testing.TB, address string) *rawClient {
	t.Helper()
	conn := dial(t, address)
	return &rawClient{t, conn, bufio.NewReader(conn)}
}

// answer is one response, read to its end.
type answer struct {
	*http.Response
	body []byte
}

func isTimeout(err error) bool {
	netErr, ok := err.(net.Error)
	return ok && netErr.Timeout()
}

// reset ends a connection with RST.
func reset(conn net.Conn) {
	_ = socketOf(conn).SetLinger(0)
	socketOf(conn).Close()
}

func dial(t testing.TB, address string) net.Conn {
	t.Helper()
	conn, err := connect(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn
}

// talk sends bytes on a new connection and returns all that comes back until the proxy closes it.
func talk(t testing.TB, address, request string) string {
	t.Helper()
	conn := dial(t, address)
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil && !strings.Contains(err.Error(), "reset") {
		t.Fatalf("after %q: %v", answer, err)
	}
	return string(answer)
}

func get(path string) string {
	return fmt.Sprintf("GET %s HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n", path)
}

// lines returns the header that consists of these lines.
func lines(l ...string) string { return strings.Join(l, "\r\n") + "\r\n\r\n" }

// withHost is lines with a Host field after the first line.
func withHost(l ...string) string {
	return lines(append([]string{l[0], "Host: example.com"}, l[1:]...)...)
}

// status sends a request on a connection of its own and returns the status of the answer. Where
// that is an error of ours, the connection has to end with it.
func status(t *testing.T, address, request string) int {
	t.Helper()
	conn, err := connect(address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatalf("%.200q: %v", request, err)
	}
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		t.Fatalf("%.200q: %v", request, err)
	}
	if answer.StatusCode >= 400 {
		if !answer.Close {
			t.Errorf("%.200q: %d without Connection: close", request, answer.StatusCode)
		}
		if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
			t.Errorf("%.200q: behind the answer came %q, %v", request, rest, err)
		}
	}
	return answer.StatusCode
}

func checkProblem(t *testing.T, got answer, status int, reason, backend string) {
	t.Helper()
	var problem struct {
		Type, Title, Reason, Detail string
		Status                      int
	}
	if err := json.Unmarshal(got.body, &problem); err != nil {
		t.Fatalf("status %d, body %q: %v", got.StatusCode, got.body, err)
	}
	if got.StatusCode != status || problem.Status != status || problem.Reason != reason {
		t.Errorf("got %d, body %s, want %d %s", got.StatusCode, got.body, status, reason)
	}
	if ct := got.Header.Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("Content-Type: %q", ct)
	}
	_, port, _ := net.SplitHostPort(addressOf(backend))
	if strings.Contains(string(got.body), port) {
		t.Errorf("the body tells the backend's port %s: %s", port, got.body)
	}
}

const (
	pipelinedGet   = "GET /one HTTP/1.1\r\nHost: a\r\n\r\n"
	pipelinedFixed = "POST /two HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\nGET / H"
	pipelinedChunk = "POST /three HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n3;x=y\r\nefg\r\n0\r\nT: u\r\n\r\n"
	pipelinedLast  = "GET /four HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
	pipelined      = pipelinedGet + pipelinedFixed + pipelinedChunk + "\r\n" + pipelinedLast
)

// randomBytes returns bytes that are the same in every run.
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

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// drip writes text one byte at a time, until an error or its end.
func drip(w io.Writer, pause time.Duration, text string) {
	for i := range len(text) {
		if _, err := io.WriteString(w, text[i:i+1]); err != nil {
			return
		}
		time.Sleep(pause) // the pace is what is tested
	}
}

const (
	steadyTimeout = time.Second // of a body: longer than a busy machine keeps a reader waiting
	steadyBytes   = 1 << 20     // of which a quarter is read in that time
)

// readSteadily reads without a long pause, but so slowly that the kernel makes the writer at the
// other end wait for longer than steadyTimeout: it wakes a writer only when a third of some MiB is
// free.
func readSteadily(r io.Reader) error {
	const piece = 16 << 10
	for buf, left := make([]byte, piece), steadyBytes; left > 0; left -= piece {
		time.Sleep(steadyTimeout * 4 * piece / steadyBytes) // the pace is what is tested
		if _, err := io.ReadFull(r, buf); err != nil {
			return err
		}
	}
	return nil
}
