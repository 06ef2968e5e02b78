package proxy

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

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

// TestRefusedBodies sends requests with bodies to a client's limit, each with one
// more behind it. Either both are answered, and no more, or the connection ends
// cleanly behind the first answer.
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

// TestRefusedBodyThatIsNotThere: what a body lacks is not waited for, so that the
// answer is there at once and the connection ends.
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

// TestRefusalsInARow has as many refused bodies on one connection as clients send
// while they are limited.
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
