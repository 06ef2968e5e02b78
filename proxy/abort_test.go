package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// TestBrokenOffResponse has the backend leave in the middle of a body. The client must see that,
// and never a clean end.
func TestBrokenOffResponse(t *testing.T) {
	for _, test := range []struct {
		name, request, response string
		rst                     bool
	}{
		{"Content-Length", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "Content-Length: 100\r\n\r\nhalf", false},
		{"Content-Length, reset", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "Content-Length: 100\r\n\r\nhalf", true},
		{"chunked", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", false},
		{"in a chunk", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n40\r\nhalf", false},
		{"broken chunks", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalfxx\r\n0\r\n\r\n", false},
		{"without last line", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n", false},
		{"until close, reset", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "\r\nhalf", true},
		{"HTTP/1.0, Content-Length", "GET / HTTP/1.0\r\n\r\n", "Content-Length: 100\r\n\r\nhalf", false},
		{"HTTP/1.0, chunked", "GET / HTTP/1.0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", false},
		{"HTTP/1.0, until close, reset", "GET / HTTP/1.0\r\n\r\n", "\r\nhalf", true},
		{"HTTP/1.0, until close, reset, during an upload", "POST / HTTP/1.0\r\nContent-Length: 100000\r\n\r\nbegin", "\r\nhalf", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			leave := make(chan bool)
			p, address := startProxy(t, testOptions(startRawBackend(t, func(conn net.Conn) {
				if _, err := readRequestHeader(bufio.NewReader(conn)); err != nil {
					return
				}
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n"+test.response)
				<-leave
				if test.rst {
					reset(conn)
				}
			})))
			w := newWire(t, address)
			w.send(test.request)
			r, err := http.ReadResponse(w.in, nil)
			if err != nil {
				t.Fatal(err)
			}
			half := make([]byte, 4)
			if _, err := io.ReadFull(r.Body, half); string(half) != "half" {
				t.Fatalf("got %q, %v", half, err)
			}
			leave <- true
			rest, err := io.ReadAll(r.Body)
			if err == nil || isTimeout(err) {
				t.Errorf("the body ended with %q, %v, want an error", rest, err)
			}
			eventually(t, "lb_errors_total", func() bool { return errorsWith(p, "backend_aborted") == "1" })
		})
	}
}

// TestNoCleanEnd has backends die when the header of the response is all that was sent, or not even
// that. Nothing may look like a whole response.
func TestNoCleanEnd(t *testing.T) {
	for _, test := range []struct {
		name, request, response string
		status                  int
	}{
		{"length", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200},
		{"chunks", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200},
		{"length, HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200},
		{"chunks, HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200},
		{"no chunk", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n", 502},
		{"no chunk, HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhello\r\n", 502},
		{"within the header", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", 502},
		{"within an interim response", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 102 Processing\r\n", 502},
		{"behind an interim response", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n", 502},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, address := startProxy(t, testOptions(rawAnswer(test.response)(t)))
			w := newWire(t, address)
			w.send(test.request)
			got, err := http.ReadResponse(w.in, nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(got.Body)
			if got.StatusCode != test.status || (err != nil) != (test.status == 200) || isTimeout(err) {
				t.Errorf("got %d, body %q, %v, want %d", got.StatusCode, body, err, test.status)
			}
		})
	}
}

// TestClientLeavesWhileTheResponseStreams wants the backend to hear of it soon.
func TestClientLeavesWhileTheResponseStreams(t *testing.T) {
	heard := make(chan error, 1)
	p, address := startProxy(t, testOptions(startRawBackend(t, func(conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		for {
			_ = conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
			if _, err := conn.Write(make([]byte, 64<<10)); err != nil {
				heard <- err
				return
			}
		}
	})))
	w := newWire(t, address)
	w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	_, _ = w.Read(make([]byte, 100))
	w.Close()
	if err := <-heard; isTimeout(err) {
		t.Errorf("the backend did not hear of it: %v", err)
	}
	eventually(t, "lb_errors_total", func() bool { return errorsWith(p, "client_gone") == "1" })
}

// TestOldClientPauses pauses for longer than body_timeout in a body that ends with the connection,
// and then reads on: the client must not take what has come for all of it.
func TestOldClientPauses(t *testing.T) {
	o := testOptions(startRawBackend(t, func(conn net.Conn) {
		if _, err := readRequestHeader(bufio.NewReader(conn)); err == nil {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
			_, _ = io.Copy(conn, zeros{})
		}
	}))
	o.Server.BodyTimeout = 100 * time.Millisecond
	p, address := startProxy(t, o)
	w := newWire(t, address)
	w.send("GET / HTTP/1.0\r\n\r\n")
	eventually(t, "lb_errors_total", func() bool { return errorsWith(p, "client_gone") == "1" })
	eventually(t, "the connection to end", func() bool { return metric(p, "lb_connections") == "0" })
	if n, err := io.Copy(io.Discard, w.in); err == nil || isTimeout(err) {
		t.Errorf("after %d bytes the body ended with %v, want an error", n, err)
	}
}

// TestClientLeavesWithinItsBody checks that the backend sees a broken request, not a short one, and
// that the failure counts as the client's.
func TestClientLeavesWithinItsBody(t *testing.T) {
	for _, request := range []string{
		"Content-Length: 100000\r\n\r\nhalf",
		"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
	} {
		for _, early := range []string{"", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"} {
			t.Run(fmt.Sprintf("%.7s, answer: %.12s", request, early), func(t *testing.T) {
				seen, got := make(chan bool, 1), make(chan error, 1)
				p, address := startProxy(t, testOptions(startRawBackend(t, func(conn net.Conn) {
					r, err := http.ReadRequest(bufio.NewReader(conn))
					if err != nil {
						return
					}
					_, _ = io.ReadFull(r.Body, make([]byte, 4))
					_, _ = io.WriteString(conn, early)
					seen <- true
					_, err = io.Copy(io.Discard, r.Body)
					got <- err
				})))
				w := newWire(t, address)
				w.send("POST / HTTP/1.1\r\nHost: h\r\n" + request)
				<-seen
				if early != "" {
					if _, err := readRequestHeader(w.in); err != nil {
						t.Fatal(err)
					}
				}
				w.Close()
				select {
				case err := <-got:
					if err == nil {
						t.Error("the backend saw the body end cleanly")
					}
				case <-time.After(5 * time.Second): // body_timeout is longer
					t.Fatal("the backend did not hear of it")
				}
				eventually(t, "lb_errors_total", func() bool { return errorsWith(p, "client_gone") == "1" })
				if n := errorsWith(p, "backend_aborted"); n != "0" {
					t.Errorf("the backend is blamed %s times", n)
				}
			})
		}
	}
}

// TestRefusedConnectionsHoldLittle memory for as long as their clients may read.
func TestRefusedConnectionsHoldLittle(t *testing.T) {
	const connections, each = 200, 24 << 10 // what the test holds among it
	_, address := startProxy(t, testOptions(startBackend(t, mirror)))
	before := heapInUse()
	for range connections {
		w := newWire(t, address)
		w.send("GET / HTTP/1.1\n\n")
		if got := w.receive("GET"); got.StatusCode != 400 {
			t.Fatalf("got %d", got.StatusCode)
		}
	}
	if grown := heapInUse() - before; grown > connections*each {
		t.Errorf("%d connections hold %d KiB", connections, grown>>10)
	}
}

// TestConnectionWithoutARequest gets no answer and counts as no request.
func TestConnectionWithoutARequest(t *testing.T) {
	o := testOptions(startBackend(t, mirror))
	o.Server.ReadHeaderTimeout = 20 * time.Millisecond
	p, address := startProxy(t, o)
	newWire(t, address).mustEnd()
	for range 20 {
		reset(dial(t, address))
	}
	eventually(t, "the connections to end", func() bool { return metric(p, "lb_connections") == "0" })
	mustHaveNoErrors(t, p)
	if _, err := dial(t, address).Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want a clean end", err)
	}
}

// TestResetDuringAnUpload has a backend send a response that ends with its connection, while the
// request is on its way. If the backend resets, which the upload may be told of in place of the
// reader, the client must see a failure; if it closes, the client sees a regular end.
func TestResetDuringAnUpload(t *testing.T) {
	for _, version := range []string{"1.0", "1.1"} {
		for _, resets := range []bool{true, false} {
			t.Run(fmt.Sprintf("HTTP/%s, reset %v", version, resets), func(t *testing.T) {
				for range 20 {
					leave := make(chan bool)
					p, address := startProxy(t, testOptions(startRawBackend(t, func(conn net.Conn) {
						in := bufio.NewReader(conn)
						if _, err := readRequestHeader(in); err != nil {
							return
						}
						_, _ = io.ReadFull(in, make([]byte, len("begin"))) // an unread rest would make the close a reset
						_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\nhalf")
						if <-leave; resets {
							reset(conn)
						}
					})))
					w := newWire(t, address)
					w.send("POST / HTTP/" + version + "\r\nHost: h\r\nContent-Length: 100000\r\n\r\nbegin")
					r, err := http.ReadResponse(w.in, nil)
					if err != nil {
						t.Fatal(err)
					}
					if _, err := io.ReadFull(r.Body, make([]byte, 4)); err != nil {
						t.Fatal(err)
					}
					leave <- true
					if _, err := io.ReadAll(r.Body); (err != nil) != resets || isTimeout(err) {
						t.Fatalf("the body ended with %v", err)
					}
					if resets {
						eventually(t, "the request to be counted", func() bool { return errorsWith(p, "backend_aborted") == "1" })
					}
					w.Close()
				}
			})
		}
	}
}
