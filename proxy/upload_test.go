package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"loadbalancer/limiter"
	"loadbalancer/proxy/routes"
)

// TestEarlyAnswerIsWhole though its backend does not read the upload, for longer than it may be
// silent, while it answers.
func TestEarlyAnswerIsWhole(t *testing.T) {
	t.Parallel()
	const pieces = 50
	o := testOptions(startRawBackend(t, func(conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 413 Content Too Large\r\nTransfer-Encoding: chunked\r\n\r\n")
		drip(conn, 2*time.Millisecond, strings.Repeat("1\r\nx\r\n", pieces)+"0\r\n\r\n")
		_, _ = io.Copy(io.Discard, conn)
	}))
	o.Server.BodyTimeout = 300 * time.Millisecond // half of what the answer takes
	p, address := startProxy(t, o)
	w := newWire(t, address)
	go func() {
		_, _ = io.WriteString(w, withHost("POST / HTTP/1.1", "Content-Length: 1099511627776"))
		_, _ = io.Copy(w, zeros{})
	}()
	if got := w.receive("POST"); got.StatusCode != 413 || len(got.body) != pieces {
		t.Errorf("got %d with %d bytes, want 413 with %d", got.StatusCode, len(got.body), pieces)
	}
	mustHaveNoErrors(t, p)
}

// TestEarlyAnswerToAnUpload has the backend refuse a body of which it has read the beginning, and
// close. The body is larger than the sockets' buffers: one that they hold is sent whole, and the
// client's connection then stays.
func TestEarlyAnswerToAnUpload(t *testing.T) {
	for _, framing := range []string{"Content-Length: 67108864\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n4000000\r\n"} {
		b := startRawBackend(t, func(conn net.Conn) {
			_, _ = io.ReadFull(conn, make([]byte, 1<<20))
			_, _ = io.WriteString(conn, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 9\r\nConnection: close\r\n\r\ntoo large")
		})
		_, address := startProxy(t, testOptions(b))
		for range 20 {
			w := newWire(t, address)
			go func() {
				_, _ = io.WriteString(w, "POST / HTTP/1.1\r\nHost: h\r\n"+framing)
				_, _ = io.Copy(w, io.LimitReader(zeros{}, 64<<20))
			}()
			if got := w.receive("POST"); got.StatusCode != http.StatusRequestEntityTooLarge || string(got.body) != "too large" || !got.Close {
				t.Fatalf("got %d %q, close: %v", got.StatusCode, got.body, got.Close)
			}
			w.Close()
		}
	}
}

// TestClientThatStopsOnAnEarlyAnswer sends no more once the response has begun, as RFC 9112,
// section 9.5, wants it: the response goes on to its end.
func TestClientThatStopsOnAnEarlyAnswer(t *testing.T) {
	const pieces = 50
	o := testOptions(startRawBackend(t, func(conn net.Conn) {
		if _, err := readRequestHeader(bufio.NewReader(conn)); err == nil {
			_, _ = io.WriteString(conn, "HTTP/1.1 413 Content Too Large\r\nTransfer-Encoding: chunked\r\n\r\n")
			drip(conn, 5*time.Millisecond, strings.Repeat("1\r\nx\r\n", pieces)+"0\r\n\r\n")
		}
	}))
	o.Server.BodyTimeout = 600 * time.Millisecond // less than half of what the answer takes
	p, address := startProxy(t, o)
	w := newWire(t, address)
	w.send(withHost("POST / HTTP/1.1", "Content-Length: 100000") + "hello")
	if a := w.receive("POST"); a.StatusCode != 413 || len(a.body) != pieces {
		t.Errorf("got %d with %d bytes", a.StatusCode, len(a.body))
	}
	w.mustEnd()
	for _, code := range []string{"request_timeout", "backend_aborted", "response_timeout"} {
		if n := errorsWith(p, code); n != "0" {
			t.Errorf("%s was counted %s times", code, n)
		}
	}
}

// TestAnswerBeforeALargeBody has the client send far more than is wanted, and only then read.
func TestAnswerBeforeALargeBody(t *testing.T) {
	for _, test := range []struct {
		name    string
		framing string
		change  func(*Options)
		status  int
	}{
		{"413", "Content-Length: 10485760\r\n\r\n", func(o *Options) { o.Server.MaxBodySize = 1000 }, 413},
		{"413 chunked", "Transfer-Encoding: chunked\r\n\r\na00000\r\n", func(o *Options) { o.Server.MaxBodySize = 1000 }, 413},
		{"429", "Content-Length: 10485760\r\n\r\n", func(o *Options) { o.Limiter = limits(1, 0.001) }, 429},
		{"404", "Transfer-Encoding: chunked\r\n\r\na00000\r\n", func(o *Options) { o.Routes = []routes.Config{{Path: "/a", Pool: "main"}} }, 404},
		{"400", "Content-Length: 10485760\r\nContent-Length: 1\r\n\r\n", func(*Options) {}, 400},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := testOptions(startBackend(t, mirror))
			test.change(&o)
			_, address := startProxy(t, o)
			if o.Limiter != nil {
				talk(t, address, get("/"))
			}
			w := newWire(t, address)
			w.send("POST / HTTP/1.1\r\nHost: h\r\n" + test.framing)
			if _, err := io.Copy(w, io.LimitReader(zeros{}, 10<<20)); err != nil {
				t.Fatalf("the body could not be sent: %v", err)
			}
			if got := w.receive("POST"); got.StatusCode != test.status || !got.Close {
				t.Errorf("got %d, close: %v", got.StatusCode, got.Close)
			}
			w.mustEnd()
		})
	}
}

// sendSteadily sends a body piece by piece, as over a slow line, and then the answer is read.
func sendSteadily(w *rawClient, pieces int, pause time.Duration) error {
	piece := make([]byte, 16<<10)
	for range pieces {
		if _, err := w.Write(piece); err != nil {
			return err
		}
		time.Sleep(pause) // the pace is what is tested
	}
	return nil
}

// TestEarlyAnswerToASlowUpload reaches a client that sends for longer than it may be silent, and
// reads only then.
func TestEarlyAnswerToASlowUpload(t *testing.T) {
	const pieces, pause = 100, 20 * time.Millisecond
	for _, test := range []struct {
		name   string
		answer string // of the backend
		change func(*Options)
		status int
	}{
		{"413", "", func(o *Options) { o.Server.MaxBodySize = 1000 }, 413},
		{"429", "", func(o *Options) {
			o.Limiter = limits(1, 0.001)
			o.Limiter.Admit(o.Limiter.Identify(loopback.Prefix.Addr(), nil), time.Now(), new(limiter.Decision))
		}, 429},
		{"401 of the backend", "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", func(*Options) {}, 401},
		{"401 of a backend that closes", "HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", func(*Options) {}, 401},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o := testOptions(startRawBackend(t, func(conn net.Conn) {
				if _, err := readRequestHeader(bufio.NewReader(conn)); err == nil {
					_, _ = io.WriteString(conn, test.answer)
				}
				if !strings.Contains(test.answer, "close") {
					_, _ = io.Copy(io.Discard, conn)
				}
			}))
			test.change(&o)
			_, address := startProxy(t, o)
			w := newWire(t, address)
			w.send(withHost("POST / HTTP/1.1", fmt.Sprintf("Content-Length: %d", pieces*16<<10)))
			if err := sendSteadily(w, pieces, pause); err != nil {
				t.Fatalf("the body could not be sent: %v", err)
			}
			if got := w.receive("POST"); got.StatusCode != test.status || !got.Close {
				t.Errorf("got %d, close: %v", got.StatusCode, got.Close)
			}
			w.mustEnd()
		})
	}
}

// TestRefusalKeepsTheConnection checks that a small body is read and dropped, so that the next
// request is found after it.
func TestRefusalKeepsTheConnection(t *testing.T) {
	o := testOptions(startBackend(t, mirror))
	o.Limiter = limits(1, 0.001)
	_, address := startProxy(t, o)
	w := newWire(t, address)
	body := "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n" + strings.Repeat("b", 30_000)
	for i, want := range []int{200, 429, 429} {
		w.send(fmt.Sprintf("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
		got := w.receive("POST")
		if got.StatusCode != want || got.Close {
			t.Fatalf("response %d: %d, close: %v", i, got.StatusCode, got.Close)
		}
		for _, field := range []string{"RateLimit", "RateLimit-Policy"} {
			if got.Header.Get(field) == "" {
				t.Errorf("response %d has no %s", i, field)
			}
		}
		if after := got.Header.Get("Retry-After"); (after == "1000") != (want == 429) {
			t.Errorf("response %d: Retry-After is %q", i, after)
		}
	}
}

// TestRefusalOfAClientThatCloses checks that the end of the connection does not destroy the answer,
// although the body is unread.
func TestRefusalOfAClientThatCloses(t *testing.T) {
	o := testOptions(startBackend(t, mirror))
	o.Limiter = limits(1, 0.001)
	_, address := startProxy(t, o)
	talk(t, address, get("/"))
	w := newWire(t, address)
	w.send(fmt.Sprintf("POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 60000\r\n\r\n%s", strings.Repeat("b", 60_000)))
	if got := w.receive("POST"); got.StatusCode != 429 || !got.Close {
		t.Errorf("got %d, close: %v", got.StatusCode, got.Close)
	}
	if _, err := w.in.ReadByte(); err != io.EOF {
		t.Errorf("got %v, want a clean end", err)
	}
}

// refusingProxy rejects each request, with a backend that must not be asked.
func refusingProxy(t *testing.T) (address string) {
	o := testOptions(startBackend(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/first" {
			t.Errorf("%s reached the backend", r.URL)
		}
	}))
	o.Limiter = limits(1, 0.001)
	_, address = startProxy(t, o)
	talk(t, address, get("/first"))
	return address
}

const smuggled = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"

// TestRefusedBodies sends requests with bodies to a client's limit, each with one more behind it.
// Either both are answered, and no more, or the connection ends cleanly behind the first answer.
func TestRefusedBodies(t *testing.T) {
	address := refusingProxy(t)
	chunks := func(s string) string { return fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(s), s) }
	large := smuggled + strings.Repeat("b", drainable)
	for _, test := range []struct {
		name, fields, body string
		keeps              bool
	}{
		{"fixed length", "Content-Length: 35\r\n", smuggled, true},
		{"fixed length, the most", fmt.Sprintf("Content-Length: %d\r\n", drainable), large[:drainable], true},
		{"fixed length, large", fmt.Sprintf("Content-Length: %d\r\n", len(large)), large, false},
		{"chunked", "Transfer-Encoding: chunked\r\n", chunks(smuggled), true},
		{"chunked, in many", "Transfer-Encoding: chunked\r\n", inChunks([]byte(smuggled)), true},
		{"chunked, empty", "Transfer-Encoding: chunked\r\n", "0\r\n\r\n", true},
		{"chunked, with extensions and trailers", "Transfer-Encoding: chunked\r\n", "3;a=\"b\"\r\nabc\r\n0\r\nA: 1\r\nB: 2\r\n\r\n", true},
		{"chunked, large", "Transfer-Encoding: chunked\r\n", chunks(large), false},
		{"chunked, broken", "Transfer-Encoding: chunked\r\n", "3\r\nabcd\r\n0\r\n\r\n", false},
		{"chunked, with broken trailers", "Transfer-Encoding: chunked\r\n", "0\r\n" + strings.TrimSuffix(smuggled, "\r\n"), false},
		{"not waited for 100", "Expect: 100-continue\r\nContent-Length: 35\r\n", smuggled, true},
		{"not waited for 100, chunked", "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n", chunks(smuggled), true},
		{"not waited for 100, large", fmt.Sprintf("Expect: 100-continue\r\nContent-Length: %d\r\n", len(large)), large, false},
		{"waits for 100", "Expect: 100-continue\r\nContent-Length: 5\r\n", "", false},
		{"waits for 100, chunked", "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n", "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWire(t, address)
			behind := pipelinedGet
			if test.body == "" {
				behind = "" // it waits
			}
			w.send("POST / HTTP/1.1\r\nHost: h\r\n" + test.fields + "\r\n" + test.body + behind)
			got := w.receive("POST")
			if got.StatusCode != 429 || got.Close == test.keeps || !strings.Contains(string(got.body), `"limited"`) {
				t.Fatalf("got %d, close: %v, %q", got.StatusCode, got.Close, got.body)
			}
			if test.keeps {
				w.send(pipelinedLast)
				for i, last := range []bool{false, true} {
					if got := w.receive("GET"); got.StatusCode != 429 || got.Close != last {
						t.Fatalf("request %d behind it got %d, close: %v", i+1, got.StatusCode, got.Close)
					}
				}
			}
			if b, err := w.in.ReadByte(); err != io.EOF {
				t.Errorf("behind the last answer: %q, %v, want a clean end", b, err)
			}
		})
	}
}

// TestRefusedBodyThatIsNotThere checks that the answer comes at once and the connection ends,
// without a wait for what the body lacks.
func TestRefusedBodyThatIsNotThere(t *testing.T) {
	address := refusingProxy(t)
	whole := "5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nA: 1\r\n\r\n"
	for cut := range len(whole) {
		w := newWire(t, address)
		w.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + whole[:cut])
		if got := w.receive("POST"); got.StatusCode != 429 || !got.Close {
			t.Fatalf("%q: got %d, close: %v", whole[:cut], got.StatusCode, got.Close)
		}
		w.send(whole[cut:] + pipelinedGet) // it is on its way, and must not destroy the answer
		if _, err := w.in.ReadByte(); err != io.EOF {
			t.Fatalf("%q: got %v, want a clean end", whole[:cut], err)
		}
		w.Close()
	}
	w := newWire(t, address) // a short body of known length may come late
	w.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n")
	if got := w.receive("POST"); got.StatusCode != 429 || got.Close {
		t.Fatalf("got %d, close: %v", got.StatusCode, got.Close)
	}
	w.send("hello" + pipelinedLast)
	if got := w.receive("GET"); got.StatusCode != 429 || !got.Close {
		t.Errorf("behind a late body: got %d, close: %v", got.StatusCode, got.Close)
	}
}

// TestRefusalsInARow has as many refused bodies on one connection as clients send while they are
// limited.
func TestRefusalsInARow(t *testing.T) {
	w := newWire(t, refusingProxy(t))
	fixed := "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 35\r\n\r\n" + smuggled
	chunked := "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n23\r\n" + smuggled + "\r\n0\r\n\r\n"
	for i := range 300 {
		w.send([]string{fixed, chunked}[i%2])
		if got := w.receive("POST"); got.StatusCode != 429 || got.Close {
			t.Fatalf("request %d got %d, close: %v", i+1, got.StatusCode, got.Close)
		}
	}
}
