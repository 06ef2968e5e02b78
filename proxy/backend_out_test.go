package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"loadbalancer/proxy/upstream"
)

// lateBackend reads each request whole, reports it on arrived, and answers "late" once release is
// closed; early goes out before.
func lateBackend(t *testing.T, arrived chan<- bool, release <-chan bool, early string) string {
	return startRawBackend(t, func(conn net.Conn) {
		in := bufio.NewReader(conn)
		for {
			if _, _, err := readRequest(in); err != nil {
				return
			}
			_, _ = io.WriteString(conn, early)
			arrived <- true
			<-release
			const response = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate"
			if _, err := io.WriteString(conn, strings.TrimPrefix(response, early)); err != nil {
				return
			}
		}
	})
}

// TestWaitingRequestsMove: when a backend goes out, a request that waits there without a byte of a
// response goes to another at once if it may be repeated; others end in their own time.
func TestWaitingRequestsMove(t *testing.T) {
	body := string(randomBytes(40 << 10)) // too large for the header's buffer
	for _, test := range []struct {
		name, request, early string
		others               int // backends beside the one that goes out
		want                 string
	}{
		{"GET", get("/"), "", 1, "other"},
		{"POST", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi", "", 1, "late"},
		{"PUT, sent whole", fmt.Sprintf("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", len(body), body), "", 1, "other"},
		{"a byte has come", get("/"), "H", 1, "late"},
		{"an interim response has come", get("/"), "HTTP/1.1 103 Early Hints\r\n\r\n", 1, "late"},
		{"no other backend", get("/"), "", 0, "late"},
	} {
		for _, silent := range []time.Duration{0, 1200 * time.Millisecond} { // before and after the client is watched
			t.Run(fmt.Sprintf("%s after %s", test.name, silent), func(t *testing.T) {
				t.Parallel()
				arrived, release := make(chan bool, 1), make(chan bool)
				first := lateBackend(t, arrived, release, test.early)
				urls := []string{first}
				for range test.others {
					urls = append(urls, startRawBackend(t, answerAll("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother")))
				}
				p, address := startProxy(t, testOptions(urls...))
				pool := p.pools.byName["main"].Pool
				client := newWire(t, address)
				client.send(test.request)
				<-arrived
				time.Sleep(silent + 20*time.Millisecond)
				out := time.Now()
				pool.Mark(backendOf(t, pool, nameOf(first)), upstream.Down, true)
				if test.want == "late" {
					time.Sleep(100 * time.Millisecond)
					close(release)
				} else {
					defer close(release)
				}
				answer := client.receive("GET")
				if got := string(answer.body); answer.StatusCode != 200 || !strings.HasSuffix(got, test.want) {
					t.Errorf("got %d %q, want %q", answer.StatusCode, got, test.want)
				}
				if took := time.Since(out); took > time.Second {
					t.Errorf("took %s", took)
				}
			})
		}
	}
}

// TestRequestOnItsWayMoves: a request whose backend goes out after its connection was taken, but
// before the request is sent, does not wait there. The client sends its body once it is told to
// continue.
func TestRequestOnItsWayMoves(t *testing.T) {
	arrived, release := make(chan bool, 1), make(chan bool)
	defer close(release)
	first := lateBackend(t, arrived, release, "")
	other := startRawBackend(t, answerAll("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother"))
	p, address := startProxy(t, testOptions(first, other))
	pool := p.pools.byName["main"].Pool
	client := newWire(t, address)
	client.send("PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
	if _, err := client.in.Peek(1); err != nil {
		t.Fatal(err)
	}
	client.send("h")
	pool.Mark(backendOf(t, pool, nameOf(first)), upstream.Down, true)
	out := time.Now()
	client.send("i")
	if answer := client.receive("GET"); string(answer.body) != "other" {
		t.Errorf("got %d %q", answer.StatusCode, answer.body)
	}
	if took := time.Since(out); took > time.Second {
		t.Errorf("took %s", took)
	}
}

// TestUploadMovesWhenItEnds: a PUT whose body was still on its way when its backend went out moves
// once the body is sent.
func TestUploadMovesWhenItEnds(t *testing.T) {
	arrived, release := make(chan bool, 1), make(chan bool)
	defer close(release)
	first := lateBackend(t, arrived, release, "")
	other := startRawBackend(t, answerAll("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother"))
	p, address := startProxy(t, testOptions(first, other))
	pool := p.pools.byName["main"].Pool
	client := newWire(t, address)
	client.send(uploadOf("PUT", 40<<10, 20<<10))
	time.Sleep(100 * time.Millisecond)
	pool.Mark(backendOf(t, pool, nameOf(first)), upstream.Down, true)
	time.Sleep(50 * time.Millisecond)
	client.send(strings.Repeat("b", 20<<10))
	sent := time.Now()
	if answer := client.receive("GET"); string(answer.body) != "other" || time.Since(sent) > 2*time.Second {
		t.Errorf("got %d %q after %s", answer.StatusCode, answer.body, time.Since(sent))
	}
}

// TestEndOfPanicMoves: the end of a panic takes out a backend that was out all the time; what waits
// there moves.
func TestEndOfPanicMoves(t *testing.T) {
	arrived, release := make(chan bool, 1), make(chan bool)
	defer close(release)
	hangs := lateBackend(t, arrived, release, "")
	good := answerAll("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother")
	a, b := startRawBackend(t, good), startRawBackend(t, good)
	p, address := startProxy(t, testOptions(hangs, a, b))
	pool := p.pools.byName["main"].Pool
	second := backendOf(t, pool, nameOf(a))
	pool.Mark(backendOf(t, pool, nameOf(hangs)), upstream.Unfit, true)
	pool.Mark(second, upstream.Unfit, true) // one of three is in: all take requests
	for range 3 {
		client := newWire(t, address)
		client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		select {
		case <-arrived:
			pool.Mark(second, upstream.Unfit, false)
			out := time.Now()
			if answer := client.receive("GET"); string(answer.body) != "other" || time.Since(out) > 2*time.Second {
				t.Errorf("got %d %q after %s", answer.StatusCode, answer.body, time.Since(out))
			}
			return
		case <-time.After(300 * time.Millisecond):
			client.receive("GET")
		}
	}
	t.Error("no request got to the backend that hangs")
}
