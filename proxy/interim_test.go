package proxy

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestInterimResponses checks that interim responses go on to clients of HTTP/1.1 with
// server.early_hints, and to none without. 100 Continue never does.
func TestInterimResponses(t *testing.T) {
	const old = "GET / HTTP/1.0\r\n\r\n"
	final := lines("HTTP/1.1 200 OK", "Content-Length: 0")
	sent := lines("HTTP/1.1 103 Early Hints", "link: a", "Connection: X-Hop", "X-Hop: 1", "Keep-Alive: 1", "Content-Length: 0") +
		lines("HTTP/1.1 100 Continue") + "HTTP/1.0 102 Processing\nA: \x01\n\n" + lines("HTTP/1.1 199 ")
	passed := lines("HTTP/1.1 103 Early Hints", "link: a") + lines("HTTP/1.1 102 Processing", "A: \x01") + lines("HTTP/1.1 199 ")
	end := lines("HTTP/1.1 200 OK", "Content-Length: 0", "Connection: close")
	for _, test := range []struct {
		name, request, response, want string
		hints                         bool
	}{
		{"hints", get("/"), sent + final, passed + end, true},
		{"no hints", get("/"), sent + final, end, false},
		{"hints to HTTP/1.0", old, sent + final, end, true},
		{"no hints to HTTP/1.0", old, sent + final, end, false},
		{"as many as may be", get("/"), strings.Repeat(lines("HTTP/1.1 103 Early Hints"), maxInterim) + final, strings.Repeat(lines("HTTP/1.1 103 Early Hints"), maxInterim) + end, true},
		{"as many as may be, no hints", get("/"), strings.Repeat(lines("HTTP/1.1 100 Continue"), maxInterim) + final, end, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := testOptions(startRawBackend(t, answerAll(test.response)))
			o.Server.EarlyHints = test.hints
			_, address := startProxy(t, o)
			if got := withoutIDs(t, 1, talk(t, address, test.request)); got != test.want {
				t.Errorf("got\n%q, want\n%q", got, test.want)
			}
		})
	}
}

// TestTooManyInterimResponses checks that one interim response too many ends the exchange, whether
// they go on or not.
func TestTooManyInterimResponses(t *testing.T) {
	hints := strings.Repeat(lines("HTTP/1.1 103 Early Hints"), maxInterim)
	for _, test := range []struct {
		hints  bool
		before string
	}{{false, ""}, {true, hints}} {
		o := testOptions(startRawBackend(t, answerAll(hints+lines("HTTP/1.1 100 Continue")+lines("HTTP/1.1 200 OK", "Content-Length: 0"))))
		o.Server.EarlyHints = test.hints
		p, address := startProxy(t, o)
		got, ok := strings.CutPrefix(talk(t, address, get("/")), test.before)
		if !ok || !strings.HasPrefix(got, "HTTP/1.1 502 ") || !strings.Contains(got, `"bad_response"`) {
			t.Errorf("got %q", got)
		}
		eventually(t, "bad_response is counted", func() bool { return errorsWith(p, "bad_response") == "1" })
	}
}

// TestContinue covers Expect: 100-continue. The client hears 100 once its request is wanted and a
// backend is there for it, and never beside a refusal.
func TestContinue(t *testing.T) {
	for _, size := range []int{5, 100_000} {
		for _, chunks := range []bool{false, true} {
			t.Run(fmt.Sprint(size, " chunked: ", chunks), func(t *testing.T) {
				_, address := startProxy(t, testOptions(startBackend(t, func(w http.ResponseWriter, r *http.Request) {
					if r.Header.Get("Expect") != "" {
						t.Error("Expect came through to the backend, to which it was answered already")
					}
					mirror(w, r)
				})))
				body := randomBytes(size)
				framing, framed := fmt.Sprintf("Content-Length: %d\r\n\r\n", size), string(body)
				if chunks {
					framing, framed = "Transfer-Encoding: chunked\r\n\r\n", inChunks(body)
				}
				w := newWire(t, address)
				for range 3 {
					w.send("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\n" + framing)
					line, err := readRequestHeader(w.in)
					if line != "HTTP/1.1 100 Continue\r\n\r\n" {
						t.Fatalf("got %q, %v, want 100 Continue", line, err)
					}
					w.send(framed)
					if got := w.receive("POST"); got.StatusCode != 200 || !bytes.Equal(got.body, body) {
						t.Fatalf("got %d and %d bytes", got.StatusCode, len(got.body))
					}
				}
			})
		}
	}
}

func TestNoContinue(t *testing.T) {
	working := startBackend(t, mirror)
	for _, test := range []struct {
		name, request string
		change        func(*Options)
		status        int
	}{
		{"limited", "Content-Length: 5\r\n\r\n", func(o *Options) { o.Limiter = limits(1, 0.001) }, 429},
		{"too large", "Content-Length: 500\r\n\r\n", func(o *Options) { o.Server.MaxBodySize = 100 }, 413},
		{"no backend for a body that is streamed", "Content-Length: 500000\r\n\r\n", func(o *Options) { o.Pools = testOptions("http://" + closedPort(t)).Pools }, 502},
		{"bad request", "Content-Length: 5\r\nX_: \x01\r\n\r\n", func(*Options) {}, 400},
		{"has not waited", "Content-Length: 5\r\n\r\nhello", func(*Options) {}, 200},
		{"has no body", "\r\n", func(*Options) {}, 200},
		{"has no body, but its length", "Content-Length: 0\r\n\r\n", func(*Options) {}, 200},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := testOptions(working)
			test.change(&o)
			_, address := startProxy(t, o)
			if o.Limiter != nil {
				talk(t, address, get("/"))
			}
			w := newWire(t, address)
			w.send("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n" + test.request)
			if got := w.receive("POST"); got.StatusCode != test.status {
				t.Errorf("got %d, want %d and nothing before it", got.StatusCode, test.status)
			}
		})
	}
}

// TestContinueComesFirst has backends that answer before they read the body: the 100 must not land
// behind or within their answer.
func TestContinueComesFirst(t *testing.T) {
	_, address := startProxy(t, testOptions(startRawBackend(t, func(conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
		_, _ = io.Copy(io.Discard, conn)
	})))
	for range 200 {
		got := make([]byte, 4096)
		w := newWire(t, address)
		w.send("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 500000\r\n\r\n")
		n := 0
		for {
			m, err := w.Read(got[n:])
			if n += m; err != nil {
				break
			}
		}
		if s := string(got[:n]); !strings.HasPrefix(s, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 403") || !strings.HasSuffix(s, "\r\n\r\nno") {
			t.Fatalf("got %q", s)
		}
		w.Close()
	}
}

// TestExpectInAnyCase covers fasthttp, which looks for Expect in one case only once it leaves names
// as they are.
func TestExpectInAnyCase(t *testing.T) {
	_, address := startProxy(t, testOptions(startBackend(t, mirror)))
	for _, expect := range []string{"expect: 100-continue", "EXPECT:100-CONTINUE ", "eXpect:\t100-Continue"} {
		w := newWire(t, address)
		w.send("PUT / HTTP/1.1\r\nHost: h\r\n" + expect + "\r\nContent-Length: 5\r\n\r\n")
		if line, err := readRequestHeader(w.in); line != "HTTP/1.1 100 Continue\r\n\r\n" {
			t.Fatalf("%s: got %q, %v", expect, line, err)
		}
		w.send("hello")
		if got := w.receive("PUT"); string(got.body) != "hello" {
			t.Errorf("%s: got %d %q", expect, got.StatusCode, got.body)
		}
	}
}
