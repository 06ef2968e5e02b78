package load

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestRunCountsFailuresByCause(t *testing.T) {
	readRequest := func(conn net.Conn) error {
		_, err := http.ReadRequest(bufio.NewReader(conn))
		return err
	}
	reset := func(conn net.Conn) { _ = conn.(*net.TCPConn).SetLinger(0) } // closing now sends RST
	tests := []struct {
		name   string
		handle func(net.Conn)
		want   Cause
	}{
		{"closed", func(c net.Conn) { _ = readRequest(c) }, EOF},
		{"reset", func(c net.Conn) { _ = readRequest(c); reset(c) }, Reset},
		{"silent", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, ReadTimeout},
		{"silent body", func(c net.Conn) {
			if readRequest(c) == nil {
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
				_, _ = io.Copy(io.Discard, c)
			}
		}, ReadTimeout},
		{"cut in the body", func(c net.Conn) {
			if readRequest(c) == nil {
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
			}
		}, Truncated},
		{"cut in a chunk", func(c net.Conn) {
			if readRequest(c) == nil {
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf")
			}
		}, Truncated},
		{"cut in the header", func(c net.Conn) {
			if readRequest(c) == nil {
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Le")
			}
		}, Truncated},
		{"not HTTP", answerAll("SSH-2.0-OpenSSH_9.6\r\n\r\n"), BadResponse},
		{"bytes too many", answerAll("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokSURPLUS"), BadResponse},
		{"bad chunk", answerAll("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), BadResponse},
		{"header too long", answerAll("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", readBufferSize) + "\r\n\r\n"), BadResponse},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := options(serveRaw(t, tt.handle))
			o.Connections, o.Requests, o.Timeout = 2, 6, 50*time.Millisecond
			r := run(t, o)
			if r.Responses != 0 || r.Failed != 6 || len(r.Failures) != 1 || r.Failures[0].Cause != tt.want || r.Failures[0].Count != 6 {
				t.Errorf("%d responses, failures %+v; want 6 times %s", r.Responses, r.Failures, tt.want)
			}
			if r.Failures[0].Example == "" {
				t.Error("no example of the error")
			}
		})
	}
}

func TestRunCountsStaleConnections(t *testing.T) {
	o := options(serveRaw(t, func(c net.Conn) { // one answer per connection, and no word that it was the last
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	}))
	o.Connections, o.Requests = 1, 10
	r := run(t, o)
	if r.Responses != 5 || len(r.Failures) != 1 || r.Failures[0] != (FailureCount{StaleConnection, 5, r.Failures[0].Example}) {
		t.Errorf("%d responses, failures %+v; want 5 and 5 times %s", r.Responses, r.Failures, StaleConnection)
	}
}

func TestRunCountsAnEarlyAnswer(t *testing.T) {
	o := options(serveRaw(t, func(c net.Conn) { // answers the header, and closes with most of the body unread
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		}
	}))
	o.Method, o.BodySize, o.Requests = "POST", 64<<20, 8
	if r := run(t, o); r.Responses != 8 || r.Statuses[0].Code != 413 {
		t.Errorf("%d responses, failures %+v; want 8 times 413", r.Responses, r.Failures)
	}
}

func TestRunMeetsAServerThatGoesAway(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := ln.Accept()
		ln.Close()
		if err == nil {
			_, _ = http.ReadRequest(bufio.NewReader(conn))
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			conn.Close()
		}
	}()
	o := options("http://" + ln.Addr().String())
	o.Connections, o.Requests = 1, 3
	r := run(t, o)
	<-done
	if r.Responses != 1 || len(r.Failures) != 1 || r.Failures[0].Cause != ConnectRefused || r.Failures[0].Count != 2 {
		t.Errorf("%d responses, failures %+v; want 1 and 2 times %s", r.Responses, r.Failures, ConnectRefused)
	}

	if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("Run against a closed port returned %v, want that it was refused", err)
	}
}

func TestConnectTimeout(t *testing.T) {
	// A socket with a full queue answers no connect.
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port), nil, 50*time.Millisecond)
	for range 10 {
		if err = c.connect(t.Context()); err != nil {
			break
		}
		defer c.conn.Load().Close() // kept open: it fills the queue
	}
	f, ok := err.(*failure)
	if !ok || f.cause() != ConnectTimeout {
		t.Errorf("connects to a full queue ended with %v, want %s", err, ConnectTimeout)
	}
}

func TestCauseOfWhatIsHardToProvoke(t *testing.T) {
	dial := func(errno syscall.Errno) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", errno)}
	}
	tests := []struct {
		failure failure
		want    Cause
	}{
		{failure{connecting, false, dial(syscall.EMFILE)}, TooManyOpenFiles},
		{failure{connecting, false, dial(syscall.ENFILE)}, TooManyOpenFiles},
		{failure{connecting, false, dial(syscall.EADDRNOTAVAIL)}, NoFreePort},
		{failure{connecting, false, dial(syscall.ENETUNREACH)}, ConnectFailed},
		{failure{connecting, false, dial(syscall.ETIMEDOUT)}, ConnectTimeout},
		{failure{writing, false, os.ErrDeadlineExceeded}, WriteTimeout},
		{failure{writing, false, syscall.EPIPE}, Reset},
		{failure{writing, true, syscall.EPIPE}, StaleConnection},
		{failure{waiting, true, syscall.ECONNRESET}, StaleConnection},
		{failure{reading, true, syscall.ECONNRESET}, Reset},
	}
	for _, tt := range tests {
		if got := tt.failure.cause(); got != tt.want {
			t.Errorf("%+v: got %s, want %s", tt.failure, got, tt.want)
		}
	}
}
