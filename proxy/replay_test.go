package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// script says what becomes of the requests that arrive, by their order at all of its backends
// together. What returns false ends the connection.
type script struct {
	steps []func(conn net.Conn, in *bufio.Reader) bool
	n     atomic.Int32 // requests that have begun to arrive
}

// serve is a backend that plays its part in the script.
func (s *script) serve(conn net.Conn) {
	for in := bufio.NewReader(conn); ; {
		if _, err := in.Peek(1); err != nil {
			return
		}
		i := int(s.n.Add(1)) - 1
		if i >= len(s.steps) || !s.steps[i](conn, in) {
			return
		}
	}
}

// resetAfter reads the header and n bytes of the body, and ends with RST. What comes before that is
// sent first.
func resetAfter(n int, before string) func(net.Conn, *bufio.Reader) bool {
	return func(conn net.Conn, in *bufio.Reader) bool {
		if r, err := http.ReadRequest(in); err == nil {
			_, _ = io.ReadFull(r.Body, make([]byte, n))
		}
		_, _ = io.WriteString(conn, before)
		if before != "" {
			conn.Close() // RST could overtake it
		}
		reset(conn)
		return false
	}
}

// readWhole says when n bytes of the body have come, reads the rest, hands it over and answers.
func readWhole(n int, come chan<- bool, bodies chan<- []byte) func(net.Conn, *bufio.Reader) bool {
	return func(conn net.Conn, in *bufio.Reader) bool {
		r, err := http.ReadRequest(in)
		if err != nil {
			return false
		}
		body := make([]byte, n)
		if _, err := io.ReadFull(r.Body, body); err != nil {
			return false
		}
		come <- true
		rest, err := io.ReadAll(r.Body)
		if err != nil {
			return false
		}
		bodies <- append(body, rest...)
		_, err = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		return err == nil
	}
}

// partUpload is a request of which the client sends a part, and the rest when it is told.
type partUpload struct {
	size    int
	chunked bool
	cut     int // bytes of the framed body that come first
	read    int // bytes of data among them
}

// framed returns the header's end and the body as it is sent.
func (u partUpload) framed(body []byte) (fields, framed string) {
	if !u.chunked {
		return fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body)), string(body)
	}
	return "Transfer-Encoding: chunked\r\n\r\n", fmt.Sprintf("1\r\n%s\r\n%x\r\n%s\r\n0\r\nX-Trailer: v\r\n\r\n", body[:1], len(body)-1, body[1:])
}

var partUploads = []partUpload{
	{size: 10 << 10, cut: 10 << 10, read: 10 << 10},
	{size: 10 << 10, cut: 10 << 10, read: 0},
	{size: 40 << 10, cut: 0, read: 0},
	{size: 40 << 10, cut: 1, read: 1},
	{size: 40 << 10, cut: 20_000, read: 20_000},
	{size: 40 << 10, cut: 20_000, read: 7},
	{size: 40 << 10, cut: 40 << 10, read: 40 << 10},
	{size: 64 << 10, cut: 64 << 10, read: 64 << 10},
	{size: 100 << 10, cut: 0, read: 0},
	{size: 100 << 10, cut: 30_000, read: 30_000},
	{size: 100 << 10, cut: 64 << 10, read: 64 << 10},
	{size: 40 << 10, chunked: true, cut: 0, read: 0},
	{size: 40 << 10, chunked: true, cut: 1, read: 0},                       // within a size
	{size: 40 << 10, chunked: true, cut: 4, read: 1},                       // behind the data of a chunk
	{size: 40 << 10, chunked: true, cut: 5, read: 1},                       // within the CRLF behind it
	{size: 40 << 10, chunked: true, cut: 8, read: 1},                       // within the next size
	{size: 40 << 10, chunked: true, cut: 12 + 20_000, read: 20_001},        // within data
	{size: 40 << 10, chunked: true, cut: 12 + 40<<10 - 1, read: 40 << 10},  // behind all data
	{size: 40 << 10, chunked: true, cut: 12 + 40<<10 + 4, read: 40 << 10},  // behind the last chunk
	{size: 40 << 10, chunked: true, cut: 12 + 40<<10 + 10, read: 40 << 10}, // within the trailers
	{size: 40 << 10, chunked: true, cut: 12 + 40<<10 + 20, read: 40 << 10}, // the whole
	{size: 64 << 10, chunked: true, cut: 12 + 64<<10 + 20, read: 64 << 10},
	{size: 100 << 10, chunked: true, cut: 13 + 30_000, read: 30_001},
}

// TestUploadIsSentAgain has the backend take a part of the body and reset, while the client is in
// the middle of it. Another backend, or the same one where the connection had served before, must
// get all of it.
func TestUploadIsSentAgain(t *testing.T) {
	for _, u := range partUploads {
		for _, reused := range []bool{false, true} {
			t.Run(fmt.Sprintf("%+v, reused: %v", u, reused), func(t *testing.T) {
				t.Parallel()
				come, bodies := make(chan bool, 1), make(chan []byte, 1)
				s := &script{steps: []func(net.Conn, *bufio.Reader) bool{
					resetAfter(u.read, ""), readWhole(u.read, come, bodies), readWhole(0, come, bodies)}}
				urls := []string{startRawBackend(t, s.serve), startRawBackend(t, s.serve)}
				warm := 0
				if reused {
					s.steps, urls, warm = append(s.steps[2:], s.steps...), urls[:1], 1
				}
				o := testOptions(urls...)
				pool := o.Pools["main"]
				pool.Retry.Attempts = len(urls)
				o.Pools["main"] = pool
				p, address := startProxy(t, o)
				w := newWire(t, address)
				plain := func() {
					w.send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi")
					if got := w.receive("PUT"); got.StatusCode != 200 || string(<-bodies) != "hi" || !<-come {
						t.Fatalf("got %d", got.StatusCode)
					}
				}
				if reused {
					plain()
					waitIdle(t, p)
				}
				body := randomBytes(u.size)
				fields, framed := u.framed(body)
				w.send("PUT / HTTP/1.1\r\nHost: h\r\n" + fields + framed[:u.cut])
				select {
				case <-come:
				case <-time.After(5 * time.Second):
					t.Fatalf("no second try; %d requests arrived", s.n.Load())
				}
				w.send(framed[u.cut:])
				if got := w.receive("PUT"); got.StatusCode != 200 || got.Close {
					t.Errorf("got %d, close: %v", got.StatusCode, got.Close)
				}
				if got := <-bodies; !bytes.Equal(got, body) {
					t.Errorf("the second try had %d bytes, not the %d that were sent", len(got), len(body))
				}
				if n := int(s.n.Load()); n != warm+2 {
					t.Errorf("%d requests arrived, want %d", n, warm+2)
				}
				if !reused {
					plain() // the client's connection stands where the next request begins
				}
			})
		}
	}
}

// TestUploadIsNotSentAgain covers what rules another try out: that more was taken than is kept, the
// method, and that a byte of a response has come.
func TestUploadIsNotSentAgain(t *testing.T) {
	const kept = 64 << 10
	for _, test := range []struct {
		method string
		u      partUpload
		answer string // sent by the backend before it leaves
	}{
		{"PUT", partUpload{size: 100 << 10, cut: kept + 1, read: kept + 1}, ""},
		{"PUT", partUpload{size: 100 << 10, cut: 100 << 10, read: 100 << 10}, ""},
		{"PUT", partUpload{size: kept + 1, cut: kept + 1, read: kept + 1}, ""},
		{"PUT", partUpload{size: 100 << 10, chunked: true, cut: 100_000, read: kept + 1}, ""},
		{"PUT", partUpload{size: kept + 1, chunked: true, cut: kept + 40, read: kept + 1}, ""},
		{"POST", partUpload{size: 40 << 10, cut: 1000, read: 1000}, ""},
		{"POST", partUpload{size: 40 << 10, chunked: true, cut: 1000, read: 900}, ""},
		{"PUT", partUpload{size: 40 << 10, cut: 1000, read: 1000}, "H"},
		{"PUT", partUpload{size: 40 << 10, cut: 40 << 10, read: 40 << 10}, "HTTP/1.1 200 OK\r\n"},
		{"PUT", partUpload{size: 40 << 10, chunked: true, cut: 1000, read: 900}, "HTTP/1.1 100 Continue\r\n\r\n"},
	} {
		t.Run(fmt.Sprintf("%s %+v %.20q", test.method, test.u, test.answer), func(t *testing.T) {
			t.Parallel()
			s := &script{}
			for range 4 {
				s.steps = append(s.steps, resetAfter(test.u.read, test.answer))
			}
			p, address := startProxy(t, testOptions(startRawBackend(t, s.serve), startRawBackend(t, s.serve)))
			w := newWire(t, address)
			fields, framed := test.u.framed(randomBytes(test.u.size))
			cut := min(test.u.cut, len(framed))
			w.send(test.method + " / HTTP/1.1\r\nHost: h\r\n" + fields + framed[:cut])
			got := w.receive(test.method)
			if got.StatusCode != 502 || got.Close && !test.u.chunked { // a rest of known, small length is dropped
				t.Errorf("got %d, close: %v", got.StatusCode, got.Close)
			}
			if n := s.n.Load(); n != 1 {
				t.Errorf("%d requests arrived, want 1", n)
			}
			if !got.Close {
				w.send(framed[cut:] + "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
				w.receive("GET")
			}
			if n := metric(p, `lb_retries_denied_total{pool="main"}`); n != "0" {
				t.Errorf("lb_retries_denied_total is %s: it counts what the budget denies", n)
			}
		})
	}
}

// TestUploadStaysBounded holds max_body_size over all tries together.
func TestUploadStaysBounded(t *testing.T) {
	come, bodies := make(chan bool, 1), make(chan []byte, 1)
	s := &script{steps: []func(net.Conn, *bufio.Reader) bool{resetAfter(20_000, ""), readWhole(20_000, come, bodies)}}
	o := testOptions(startRawBackend(t, s.serve), startRawBackend(t, s.serve))
	o.Server.MaxBodySize = 30_000
	_, address := startProxy(t, o)
	w := newWire(t, address)
	w.send("PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n", 20_000, strings.Repeat("b", 20_000)))
	<-come
	w.send(fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", 10_001, strings.Repeat("b", 10_001)))
	checkProblem(t, w.receive("PUT"), 413, "body_too_large", "http://-:-")
}
