package management

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

func TestMostCallers(t *testing.T) {
	for limit, want := range map[uint64]int{64: 32, 256: 32, 1024: 128, 8000: 1000, 1 << 20: 1000} {
		if got := mostCallers(&Descriptors{Limit: limit}); got != want {
			t.Errorf("of %d descriptors: got %d", limit, got)
		}
	}
	if got := mostCallers(nil); got != 1000 {
		t.Errorf("of descriptors that are not known: got %d", got)
	}
}

// TestIdleCallersMakePlace fills a listener with connections that ask nothing. New ones take the places
// of the oldest, and a stream keeps its own. Where all are streams, a new one is closed.
func TestIdleCallersMakePlace(t *testing.T) {
	m := newStatusServer(t, 1)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	callers := newCallers(ln, time.Minute)
	callers.most = 3
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.serve(ctx, callers) }()
	t.Cleanup(func() { m.watch.stream.end(); cancel(); <-ended })
	address := ln.Addr().String()
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		return conn
	}
	requireAnswer := func(conn net.Conn) {
		t.Helper()
		_, _ = io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if r, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || r.StatusCode != 200 {
			t.Errorf("got %v, %v", r, err)
		}
	}
	requireClosed := func(conn net.Conn) {
		t.Helper()
		if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("got %d bytes, %v", n, err)
		}
	}
	awaitIdle := func(n int) { // an answer comes before its connection counts as idle
		t.Helper()
		for until := time.Now().Add(10 * time.Second); time.Now().Before(until); time.Sleep(time.Millisecond) {
			callers.mu.Lock()
			idle := 0
			for c := range callers.open {
				if !c.closed && !c.waits.IsZero() {
					idle++
				}
			}
			callers.mu.Unlock()
			if idle == n {
				return
			}
		}
		t.Fatalf("there are not %d idle connections", n)
	}
	_, first := openStream(t, address)
	oldest, used := dial(), dial()
	requireAnswer(used) // both are accepted
	awaitIdle(2)
	requireAnswer(dial())
	requireClosed(oldest)
	requireAnswer(used)
	awaitIdle(2)
	openStream(t, address)
	openStream(t, address)
	awaitFollowers(t, &m.watch.stream, 3)
	requireClosed(used)
	requireClosed(dial())
	m.watch.stream.publish([]byte("data: still\n\n"))
	for lines := bufio.NewReader(first.Body); ; {
		if line, err := lines.ReadString('\n'); err != nil {
			t.Fatalf("the first stream ended with %v", err)
		} else if line == "data: still\n" {
			return
		}
	}
}
