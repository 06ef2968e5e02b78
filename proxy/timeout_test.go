package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// TestSilenceIsBounded covers the timeouts that end a connection without an
// answer; those with one are in TestFailures.
func TestSilenceIsBounded(t *testing.T) {
	const limit = 60 * time.Millisecond
	for _, test := range []struct {
		name     string
		response string // then silence; "" for a whole one
		change   func(*ServerConfig)
		reason   string
	}{
		{"idle", "", func(c *ServerConfig) { c.IdleTimeout = limit }, ""},
		{"response body", "Content-Length: 100\r\n\r\nhalf", func(c *ServerConfig) { c.BodyTimeout = limit }, "backend_aborted"},
		{"response in chunks", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", func(c *ServerConfig) { c.BodyTimeout = limit }, "backend_aborted"},
		{"response until close", "\r\nhalf", func(c *ServerConfig) { c.BodyTimeout = limit }, "backend_aborted"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			response := "HTTP/1.1 200 OK\r\n" + test.response
			if test.response == "" {
				response += "Content-Length: 4\r\n\r\nhalf"
			}
			o := testOptions(startRawBackend(t, answerAll(response)))
			test.change(&o.Server)
			p, address := startProxy(t, o)
			w := newWire(t, address)
			start := time.Now()
			w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			all, _ := io.ReadAll(w.in)
			if !strings.Contains(string(all), "half") || strings.HasSuffix(string(all), lastChunk) {
				t.Errorf("got %q, want half a body", all)
			}
			if took := time.Since(start); took < limit || took > limit+2*time.Second {
				t.Errorf("the connection ended after %s, want about %s", took, limit)
			}
			if test.reason != "" {
				eventually(t, "lb_errors_total", func() bool { return errorsWith(p, test.reason) == "1" })
			}
		})
	}
}

// TestClientThatDoesNotRead is cut off, and the backend's connection with it.
func TestClientThatDoesNotRead(t *testing.T) {
	o := testOptions(startRawBackend(t, func(conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		_, _ = io.Copy(conn, zeros{})
	}))
	o.Server.BodyTimeout = 60 * time.Millisecond
	p, address := startProxy(t, o)
	w := newWire(t, address)
	w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	eventually(t, "the client to be cut off", func() bool { return errorsWith(p, "client_gone") == "1" })
}

// TestSlowAndSteady sends bodies both ways that take longer than every timeout,
// but are never silent for so long.
func TestSlowAndSteady(t *testing.T) {
	const limit, pause, pieces = 300 * time.Millisecond, 30 * time.Millisecond, 15
	piece := strings.Repeat("p", 1000)
	trickle := func(w io.Writer, format string) {
		for range pieces {
			time.Sleep(pause) // the pace is what is tested
			fmt.Fprintf(w, format, piece)
		}
	}
	for _, test := range []struct{ name, fields, format, end string }{
		{"Content-Length", fmt.Sprintf("Content-Length: %d\r\n\r\n", pieces*len(piece)), "%s", ""},
		{"chunked", "Transfer-Encoding: chunked\r\n\r\n", "3e8\r\n%s\r\n", lastChunk},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o := testOptions(startRawBackend(t, func(conn net.Conn) {
				for in := bufio.NewReader(conn); ; {
					if _, body, err := readRequest(in); err != nil || len(body) != pieces*len(piece) {
						return
					}
					_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n"+test.fields)
					trickle(conn, test.format)
					_, _ = io.WriteString(conn, test.end)
				}
			}))
			shortTimeouts(&o)
			pool := o.Pools["main"]
			pool.Timeouts.ResponseHeader = limit
			o.Pools["main"] = pool
			o.Server.BodyTimeout, o.Server.ReadHeaderTimeout, o.Server.IdleTimeout = limit, limit, limit
			_, address := startProxy(t, o)
			w := newWire(t, address)
			for range 2 { // the second finds deadlines that the first has left
				w.send("POST / HTTP/1.1\r\nHost: h\r\n" + test.fields)
				trickle(w, test.format)
				w.send(test.end)
				if got := w.receive("POST"); got.StatusCode != 200 || string(got.body) != strings.Repeat(piece, pieces) {
					t.Fatalf("got %d and %d bytes", got.StatusCode, len(got.body))
				}
			}
		})
	}
}

// TestSlowBodyHoldsNoBackend has a client wait in its small body, while another
// one wants the only connection that the backend may have.
func TestSlowBodyHoldsNoBackend(t *testing.T) {
	o := testOptions(startRawBackend(t, answerAll("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")))
	pool := o.Pools["main"]
	pool.Backends[0].MaxConnections = 1
	p, address := startProxy(t, o)
	slow := newWire(t, address)
	slow.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n")
	eventually(t, "the slow request", func() bool { return requestsUnderWay(p) == 1 })
	other := newWire(t, address)
	other.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	if got := other.receive("GET"); got.StatusCode != 200 {
		t.Errorf("the other client got %d", got.StatusCode)
	}
	other.Close()
	slow.send("hello")
	if got := slow.receive("POST"); got.StatusCode != 200 {
		t.Errorf("the slow client got %d", got.StatusCode)
	}
}
