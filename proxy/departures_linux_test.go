package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"loadbalancer/proxy/wire"
)

// TestClientLeavesASilentBackend has the client go away while the backend is at work. The backend
// must hear of it within 2 s, at whatever point it is silent.
func TestClientLeavesASilentBackend(t *testing.T) {
	upload := "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n"
	whole := upload + strings.Repeat("u", 100_000)
	for _, test := range []struct {
		name, request, answer string
		readsAll              bool // the backend reads the body
	}{
		{"before it answers", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "", true},
		{"after an interim response", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 103 Early Hints\r\n\r\n", true},
		{"with the next request behind", "GET / HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", "", true},
		{"after the header", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", true},
		{"between two events", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nevent\r\n", true},
		{"of unknown length", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nevent", true},
		{"after an upload", whole, "", true},
		{"within an upload", upload + "u", "", true},
		{"that does not read the upload", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n" + strings.Repeat("u", 20<<20), "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel() // each waits for more than a second
			asked, heard := make(chan struct{}, 1), make(chan time.Time, 1)
			o := testOptions(startRawBackend(t, func(conn net.Conn) {
				in := bufio.NewReader(conn)
				if _, err := readRequestHeader(in); err != nil {
					return
				}
				_, _ = io.WriteString(conn, test.answer)
				asked <- struct{}{}
				if test.readsAll {
					_, _ = io.Copy(io.Discard, in) // ends with the connection
				} else {
					var err error
					for err == nil { // a write fails once the other side has reset
						_, err = io.WriteString(conn, "HTTP/1.1 102 Processing\r\n\r\n")
						time.Sleep(50 * time.Millisecond) // fewer than maxInterim of them come
					}
				}
				heard <- time.Now()
			}))
			o.Server.EarlyHints = true // a full window hides the client's FIN: what it is sent brings its RST
			p, address := startProxy(t, o)
			conn := dial(t, address)
			go func() { _, _ = io.WriteString(conn, test.request) }() // may block
			<-asked
			left := time.Now()
			conn.Close()
			select {
			case at := <-heard:
				if after := at.Sub(left); after > 2*time.Second {
					t.Errorf("the backend heard of it after %v", after)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("the backend has not heard of it")
			}
			eventually(t, "client_gone", func() bool { return errorsWith(p, "client_gone") == "1" })
		})
	}
}

// TestPatientClients answers those that wait, after they have been watched.
func TestPatientClients(t *testing.T) {
	for _, test := range []struct{ name, request, first, rest string }{
		{"header", get("/"), "", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"},
		{"body", get("/"), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no", "k"},
		{"upload", strings.Replace(get("/"), "\r\n\r\n", "\r\nContent-Length: 100000\r\n\r\n", 1) + strings.Repeat("u", 100_000),
			"", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, address := startProxy(t, testOptions(startRawBackend(t, func(conn net.Conn) {
				if _, _, err := readRequest(bufio.NewReader(conn)); err != nil {
					return
				}
				_, _ = io.WriteString(conn, test.first)
				time.Sleep(wire.WatchAfter + 200*time.Millisecond) // the time that a slow backend takes
				_, _ = io.WriteString(conn, test.rest)
			})))
			if got := talk(t, address, test.request); !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") || !strings.HasSuffix(got, "\r\n\r\nok") {
				t.Errorf("got %q", got)
			}
		})
	}
}

// TestResponseTimeoutWhileWatched holds the timeout to the pool's value, whether the client is
// watched before it is over or not.
func TestResponseTimeoutWhileWatched(t *testing.T) {
	for _, timeout := range []time.Duration{200 * time.Millisecond, 1500 * time.Millisecond} {
		for _, length := range []int{0, 100_000} {
			t.Run(fmt.Sprint(timeout, length), func(t *testing.T) {
				t.Parallel()
				o := testOptions(startRawBackend(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }))
				pool := o.Pools["main"]
				pool.Timeouts.ResponseHeader = timeout
				o.Pools["main"] = pool
				_, address := startProxy(t, o)
				began := time.Now()
				got := talk(t, address, fmt.Sprintf("POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", length, strings.Repeat("u", length)))
				took := time.Since(began)
				if !strings.HasPrefix(got, "HTTP/1.1 504 ") || !strings.Contains(got, "response_timeout") {
					t.Errorf("got %q", got)
				}
				if took < timeout || took > timeout+timeout/8+500*time.Millisecond {
					t.Errorf("took %v, want %v", took, timeout)
				}
			})
		}
	}
}
