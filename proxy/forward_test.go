package proxy

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

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

func TestMethodAndTargetArriveAsSent(t *testing.T) {
	_, address := startProxy(t, testOptions(startBackend(t, mirror)))
	w := newWire(t, address)
	for _, method := range []string{"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "x-odd!", "get"} {
		for _, target := range []string{"/", "/a/b?c=d&e", "/a//b/../c/./d", "/%2e%2E/c%2Fd?x=%00", "/?", "/a?b?c=/&;'\"<>[]{}|\\^`", "/" + strings.Repeat("long/", 1000)} {
			w.send(method + " " + target + " HTTP/1.1\r\nHost: h\r\n\r\n")
			got := w.receive(method)
			if got.Header.Get("X-Method") != method || got.Header.Get("X-Target") != target {
				t.Errorf("sent %s %s, arrived as %s %s (status %d)", method, target, got.Header.Get("X-Method"), got.Header.Get("X-Target"), got.StatusCode)
			}
		}
	}
}

func TestBodiesArriveByteForByte(t *testing.T) {
	_, address := startProxy(t, testOptions(startBackend(t, mirror)))
	for _, size := range []int{0, 1, 4 << 10, 16<<10 - 1, 16 << 10, 16<<10 + 1, 64 << 10, 1 << 20, 10 << 20} {
		body := randomBytes(size)
		framed := map[string]string{
			"Content-Length": fmt.Sprintf("Content-Length: %d\r\n\r\n%s", size, body),
			"chunked":        "Transfer-Encoding: chunked\r\n\r\n" + inChunks(body),
		}
		for framing, rest := range framed {
			for _, response := range []string{"chunked", "X-Plain: 1\r\n"} {
				t.Run(fmt.Sprintf("%d %s %.7s", size, framing, response), func(t *testing.T) {
					w := newWire(t, address)
					go func() { // the response may come while we still send
						_, _ = io.WriteString(w, "POST /p HTTP/1.1\r\nHost: h\r\n"+strings.TrimPrefix(response, "chunked")+rest)
					}()
					got := w.receive("POST")
					if sha256.Sum256(got.body) != sha256.Sum256(body) {
						t.Errorf("%d bytes came back, not the %d that were sent", len(got.body), size)
					}
					want := strconv.Itoa(size)
					if framing == "chunked" {
						want = "-1"
					}
					if l := got.Header.Get("X-Length"); l != want {
						t.Errorf("the backend saw Content-Length %s, want %s", l, want)
					}
				})
			}
		}
	}
}

func TestResponsesWithoutBody(t *testing.T) {
	for _, test := range []struct{ method, response, length string }{
		{"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "5"},
		{"HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", ""},
		{"HEAD", "HTTP/1.1 200 OK\r\n\r\n", ""},
		{"GET", "HTTP/1.1 204 No Content\r\n\r\n", ""},
		{"GET", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", ""}, // RFC 9110, section 8.6
		{"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\nETag: \"x\"\r\n\r\n", "7"},
		{"GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "0"},
		{"GET", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "0"}, // no reason phrase, nor the space before it
		{"GET", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "0"},
	} {
		t.Run(fmt.Sprintf("%s %.40s", test.method, test.response), func(t *testing.T) {
			_, address := startProxy(t, testOptions(startRawBackend(t, answerAll(test.response))))
			w := newWire(t, address)
			for range 3 { // what is left over would be taken for the next response
				w.send(test.method + " / HTTP/1.1\r\nHost: h\r\n\r\n")
				got := w.receive(test.method)
				if len(got.body) != 0 || got.Header.Get("Content-Length") != test.length || len(got.TransferEncoding) != 0 && test.method != "HEAD" {
					t.Errorf("got %d bytes, Content-Length %q, %v", len(got.body), got.Header.Get("Content-Length"), got.TransferEncoding)
				}
			}
		})
	}
}

func TestOldClients(t *testing.T) {
	const (
		fixed   = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
		chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
	)
	untilClose := func(conn net.Conn) {
		buf := make([]byte, 4096)
		_, _ = conn.Read(buf)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\nhello")
	}
	for _, test := range []struct {
		name, request string
		backend       func(net.Conn)
		ends          bool
	}{
		{"plain", "GET / HTTP/1.0\r\n\r\n", answerAll(fixed), true},
		{"keep-alive", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", answerAll(fixed), false},
		{"chunked", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", answerAll(chunked), true},
		{"until close", "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", untilClose, true},
		{"expectation", "POST / HTTP/1.0\r\nExpect: 100-continue\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", answerAll(fixed), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, address := startProxy(t, testOptions(startRawBackend(t, test.backend)))
			w := newWire(t, address)
			w.send(test.request)
			got := w.receive("GET")
			if got.StatusCode != 200 || string(got.body) != "hello" || len(got.TransferEncoding) != 0 {
				t.Errorf("got %d %v %q, want hello, not in chunks", got.StatusCode, got.TransferEncoding, got.body)
			}
			if test.ends {
				w.mustEnd()
				return
			}
			if c := got.Header.Get("Connection"); c != "keep-alive" {
				t.Errorf("Connection: %q, want keep-alive", c)
			}
			w.send(test.request)
			w.receive("GET")
		})
	}
}

// TestConnectionOptions covers which connections a client may end: its own, never the one to the
// backend.
func TestConnectionOptions(t *testing.T) {
	for _, test := range []struct {
		fields string
		ends   bool
	}{
		{"", false},
		{"Connection: close\r\n", true},
		{"Connection: Close\r\n", true},
		{"Connection: x-foo, close\r\n", true},
		{"Connection: keep-alive\r\nConnection: close\r\n", true},
		{"Connection: x-closed\r\n", false},
	} {
		var dials atomic.Int32
		backend := startRawBackend(t, func(conn net.Conn) {
			dials.Add(1)
			answerAll("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")(conn)
		})
		p, address := startProxy(t, testOptions(backend))
		for range 2 {
			w := newWire(t, address)
			w.send("GET / HTTP/1.1\r\nHost: h\r\n" + test.fields + "\r\n")
			got := w.receive("GET")
			if got.Close != test.ends {
				t.Errorf("%q: the response says close: %v, want %v", test.fields, got.Close, test.ends)
			}
			if test.ends {
				w.mustEnd()
			} else {
				w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
				w.receive("GET")
			}
			w.Close()
			waitIdle(t, p)
		}
		if n := dials.Load(); n != 1 {
			t.Errorf("%q: %d connections to the backend, want 1", test.fields, n)
		}
	}
}

func TestUntilCloseResponse(t *testing.T) {
	body := randomBytes(300_000)
	_, address := startProxy(t, testOptions(startRawBackend(t, func(conn net.Conn) {
		buf := make([]byte, 4096)
		_, _ = conn.Read(buf)
		_, _ = io.WriteString(conn, "HTTP/1.0 200 OK\r\nX-A: b\r\n\r\n")
		_, _ = conn.Write(body)
	})))
	w := newWire(t, address)
	for range 2 { // its end is told by framing, so the client's connection lives on
		w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		if got := w.receive("GET"); !bytes.Equal(got.body, body) || got.Proto != "HTTP/1.1" {
			t.Errorf("got %s and %d bytes, want HTTP/1.1 and the %d sent", got.Proto, len(got.body), len(body))
		}
	}
}
