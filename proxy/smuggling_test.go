package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"loadbalancer/proxy/message"
)

var (
	// overExtensions is a chunked body whose extensions are one byte more than a body may have.
	overExtensions = strings.Repeat("1;"+strings.Repeat("x", maxExtension-1)+"\r\na\r\n", maxExtensions/maxExtension-1) +
		"1;" + strings.Repeat("x", maxExtension-2) + "\r\na\r\n1;x\r\na\r\n" + lastChunk

	// overTrailers are lines of one byte more than a trailer section may have.
	overTrailers = strings.Repeat("A:"+strings.Repeat("b", 1020)+"\r\n", message.MaxTrailers/1024-1) + "A:" + strings.Repeat("b", 1021) + "\r\n"
)

// hostileChunks are bodies in a broken chunked coding, or in one that goes over a bound. What
// stands behind them must never be taken for a request.
var hostileChunks = []struct {
	name string
	body []string
}{
	{"size", []string{"\r\na\r\n", "g\r\n", "0x1\r\na\r\n", "+1\r\na\r\n", "-1\r\na\r\n", "1_0\r\na\r\n", " 1\r\na\r\n", "1 1\r\na\r\n", "1 \v\r\na\r\n", "1" + strings.Repeat(" ", maxExtension+1) + "\r\na\r\n", "1,\r\na\r\n",
		"0000000000000001\r\na\r\n", "ffffffffffffffff\r\na\r\n", "1\r\r\na\r\n", "1\x00\r\na\r\n"}},
	{"line ends", []string{"1\na\r\n", "1\ra\r\n", "1\r\na\n", "1\r\na\r", "1\r\na", "\n1\r\na\r\n"}},
	{"size and data differ", []string{"1\r\nab\r\n", "2\r\na\r\n", "1\r\naXX", "1\r\na\r\n\r\n"}},
	{"extension", []string{"1;\r\na\r\n", "1;x y\r\na\r\n", "1;[x]\r\na\r\n", "1;x \r\na\r\n", "1;x=\"y\r\na\r\n", "1;x=\r\na\r\n", "1;x\ny\r\na\r\n", "1;x\ry\r\na\r\n", "1;\x00\r\na\r\n", "0;\r\n\r\n"}},
	{"extension over its bound", []string{"1;" + strings.Repeat("x", maxExtension) + "\r\na\r\n", "1;" + strings.Repeat("x", 2*maxLine) + "\r\na\r\n", overExtensions}},
	{"trailer", []string{"0\r\nA b: c\r\n\r\n", "0\r\nA : b\r\n\r\n", "0\r\nA: b\r\n c\r\n\r\n", "0\r\n A: b\r\n\r\n", "0\r\nA\r\n\r\n", "0\r\n: b\r\n\r\n", "0\r\nA: b\x00\r\n\r\n",
		"0\r\nA: b\rc\r\n\r\n", "0\r\nA: b\n\r\n", "0\r\nA: b\r\n\n", "0\n\r\n", "0\r\n\n", "0\r\n\xc4: b\r\n\r\n"}},
	{"trailers over their bounds", []string{"0\r\nA:" + strings.Repeat("b", maxLine) + "\r\n\r\n", "0\r\n" + overTrailers + "\r\n", "0\r\n" + strings.Repeat("A: b\r\n", message.MaxFields+1) + "\r\n"}},
}

// TestHostileChunks checks that each body gets 400 and ends its connection. The backend may have
// got a part, but never a whole request.
func TestHostileChunks(t *testing.T) {
	url, whole := startWitness(t)
	p, address := startProxy(t, testOptions(url))
	refused := 0
	for _, test := range hostileChunks {
		t.Run(test.name, func(t *testing.T) {
			for _, body := range test.body {
				for _, before := range []string{"", "5;a=\"b\"\r\nhello\r\n"} {
					request := withHost("POST /hostile HTTP/1.1", "Transfer-Encoding: chunked") + before + body + get("/smuggled")
					if got := status(t, address, request); got != 400 {
						t.Errorf("%.200q: got %d, want 400", body, got)
					}
					refused++
				}
			}
			status(t, address, get("/next"))
			if got := <-whole; got != "/next " {
				t.Errorf("the backend got %q", got)
			}
		})
	}
	eventually(t, "lb_errors_total", func() bool { return errorsWith(p, "bad_request") == fmt.Sprint(refused) })
}

// TestMaxBodySizeInChunks counts the data alone against max_body_size, and what is read of a body
// that is larger is never taken for one that is whole.
func TestMaxBodySizeInChunks(t *testing.T) {
	url, whole := startWitness(t)
	o := testOptions(url)
	o.Server.MaxBodySize = 10
	_, address := startProxy(t, o)
	const head = "POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
	for _, test := range []struct {
		body string
		want int
	}{
		{"5;" + strings.Repeat("x", 200) + "\r\n01234\r\n5\r\n56789\r\n0\r\nA: " + strings.Repeat("b", 200) + "\r\n\r\n", 200},
		{"5\r\n01234\r\n6\r\n56789a\r\n0\r\n\r\n", 413},
		{"b\r\n0123456789a\r\n0\r\n\r\n", 413},
		{"fffffffffff\r\n" + strings.Repeat("a", 1000), 413},
	} {
		if got := status(t, address, head+test.body); got != test.want {
			t.Errorf("%.100q: got %d, want %d", test.body, got, test.want)
		}
		if test.want == 200 {
			if got := <-whole; got != "/body 0123456789" {
				t.Errorf("the backend got %q", got)
			}
		}
	}
	status(t, address, get("/next"))
	if got := <-whole; got != "/next " {
		t.Errorf("the backend got %q", got)
	}
}

// hostileResponses cannot be read in one way, or break off. clean tells of those that are whole,
// with more behind them than there should be.
var hostileResponses = []struct {
	name, response string
	closes, clean  bool // the backend ends the connection; the client gets "ok"
}{
	{"short", lines("HTTP/1.1 200 OK", "Content-Length: 3") + "ok", true, false},
	{"short of nothing", lines("HTTP/1.1 200 OK", "Content-Length: 3"), true, false},
	{"extra", lines("HTTP/1.1 200 OK", "Content-Length: 2") + "ok and more", false, true},
	{"extra response", lines("HTTP/1.1 200 OK", "Content-Length: 2") + "ok" + evilResponse, false, true},
	{"extra behind chunks", lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + "2\r\nok\r\n0\r\n\r\n" + evilResponse, false, true},
	{"extra behind trailers", lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + "2\r\nok\r\n0\r\nA: b\r\n\r\n" + evilResponse, false, true},
	{"lengths twice", lines("HTTP/1.1 200 OK", "Content-Length: 2", "Content-Length: 2") + "ok" + evilResponse, false, true},
	{"lengths that differ", lines("HTTP/1.1 200 OK", "Content-Length: 2", "content-length: 3") + "ok!", false, false},
	{"list of lengths", lines("HTTP/1.1 200 OK", "Content-Length: 2, 2") + "ok" + evilResponse, false, true},
	{"list of lengths that differ", lines("HTTP/1.1 200 OK", "Content-Length: 2, 3") + "ok!", false, false},
	{"equal lengths beside chunks", lines("HTTP/1.1 200 OK", "Content-Length: 2, 2", "Transfer-Encoding: chunked") + "2\r\nok\r\n0\r\n\r\n", false, false},
	{"both framings", lines("HTTP/1.1 200 OK", "Content-Length: 2", "Transfer-Encoding: chunked") + "2\r\nok\r\n0\r\n\r\n", false, false},
	{"coding twice", lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked") + "2\r\nok\r\n0\r\n\r\n", false, false},
	{"two codings", lines("HTTP/1.1 200 OK", "Transfer-Encoding: gzip, chunked") + "2\r\nok\r\n0\r\n\r\n", false, false},
	{"bare LF", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok\r\n\r\n", false, true},
	{"bare CR", "HTTP/1.1 200 OK\rContent-Length: 2\r\rok\r\n\r\n", false, false},
	{"interim response with a body", lines("HTTP/1.1 103 Early Hints", "Content-Length: 2") + "ok" + evilResponse, false, false},
	{"interim response in chunks", lines("HTTP/1.1 102 Processing", "Transfer-Encoding: chunked") + "0\r\n\r\n" + evilResponse, false, false},
	{"folded field", lines("HTTP/1.1 200 OK", "A: b", " c", "Content-Length: 2") + "ok", false, false},
	{"no last chunk", lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + "2\r\nok\r\n", true, false},
	{"no last line", lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + "2\r\nok\r\n0\r\nA: b\r\n", true, false},
}

// TestHostileResponses checks that no broken response ends cleanly at its client, that the client's
// connection ends with it, and that no other client gets anything of it.
func TestHostileResponses(t *testing.T) {
	all := hostileResponses
	for _, test := range hostileChunks {
		for _, body := range test.body {
			all = append(all, struct {
				name, response string
				closes, clean  bool
			}{fmt.Sprintf("%s %.40q", test.name, body), lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + "2\r\nok\r\n" + body + evilResponse, false, false})
		}
	}
	for _, test := range all {
		for _, version := range []string{"1.1", "1.0"} {
			t.Run(test.name+" to "+version, func(t *testing.T) {
				_, address := startProxy(t, testOptions(startHostile(t, test.response, test.closes)))
				w := newWire(t, address)
				w.send("GET / HTTP/" + version + "\r\nHost: h\r\nConnection: keep-alive\r\n\r\n")
				got, err := w.tryReceive("GET")
				switch {
				case test.clean && (err != nil || string(got.body) != "ok"):
					t.Errorf("got %q, %v, want ok", got.body, err)
				case !test.clean && (isTimeout(err) || err == nil && got.StatusCode != 502):
					t.Errorf("a clean end, of status %d and %q, %v", got.StatusCode, got.body, err)
				case !test.clean && err != nil:
					if rest, _ := io.ReadAll(w.in); len(rest) > 0 {
						t.Errorf("behind the broken response came %q", rest)
					}
				}
				for range 2 {
					w := newWire(t, address)
					w.send(get("/"))
					if got := w.receive("GET"); string(got.body) != "clean" {
						t.Errorf("the next client got %d %q", got.StatusCode, got.body)
					}
				}
			})
		}
	}
}

// TestNobodyGetsWhatIsLeftOver has a backend send more than its response. The next client's request
// must go over another connection.
func TestNobodyGetsWhatIsLeftOver(t *testing.T) {
	const evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
	for _, test := range []struct{ name, method, response, later string }{
		{"second response", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" + evil, ""},
		{"late second response", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", evil},
		{"body longer than Content-Length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more", ""},
		{"late rest of the body", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", " and more"},
		{"behind the last chunk", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n" + evil, ""},
		{"HEAD with a body", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 69\r\n\r\n" + evil, ""},
		{"HEAD with a late body", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 69\r\n\r\n", evil},
		{"204 with a body", "GET", "HTTP/1.1 204 No Content\r\n\r\n" + evil, ""},
		{"304 with a body", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 69\r\n\r\n" + evil, ""},
		{"answer to nothing", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var dials atomic.Int32
			go1, done := make(chan bool), make(chan bool)
			_, address := startProxy(t, testOptions(startUnixBackend(t, func(conn net.Conn) {
				in := bufio.NewReader(conn)
				first := dials.Add(1) == 1
				for {
					if _, err := readRequestHeader(in); err != nil {
						return
					}
					if !first {
						_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nclean")
						continue
					}
					_, _ = io.WriteString(conn, test.response)
					if <-go1; test.later != "" {
						_, _ = io.WriteString(conn, test.later)
					}
					done <- true
				}
			})))
			w := newWire(t, address)
			w.send(test.method + " / HTTP/1.1\r\nHost: h\r\n\r\n")
			w.receive(test.method)
			go1 <- true
			<-done
			for range 3 {
				other := newWire(t, address)
				other.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
				if got := other.receive("GET"); string(got.body) != "clean" {
					t.Errorf("another client got %d %q", got.StatusCode, got.body)
				}
				w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
				if got := w.receive("GET"); string(got.body) != "clean" {
					t.Errorf("the same client got %d %q", got.StatusCode, got.body)
				}
			}
		})
	}
}

// TestClientsAreNeverMixedUp sends bodies that say whose they are, in all framings and sizes, while
// some clients and some responses break off.
func TestClientsAreNeverMixedUp(t *testing.T) {
	backend := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		w.Header().Set("X-Id", r.Header.Get("X-Id"))
		if r.Header.Get("X-Abort") != "" {
			_, _ = w.Write(body[:len(body)/2])
			panic(http.ErrAbortHandler)
		}
		if len(body)%2 == 0 {
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		}
		_, _ = w.Write(body)
	}
	_, address := startProxy(t, testOptions(startBackend(t, backend), startBackend(t, backend), startBackend(t, backend)))
	requests := 150
	if *long {
		requests = 2000
	}
	var clients sync.WaitGroup
	for client := range 32 {
		clients.Go(func() { mixUp(t, address, client, requests) })
	}
	clients.Wait()
}

// mixUp is one client of TestClientsAreNeverMixedUp.
func mixUp(t *testing.T, address string, client, requests int) {
	random := rand.New(rand.NewPCG(uint64(client), 1))
	w := newWire(t, address)
	for i := range requests {
		id := fmt.Sprintf("%d-%d", client, i)
		body := bytes.Repeat([]byte(id+" "), random.IntN(200))
		if random.IntN(20) == 0 {
			body = bytes.Repeat(body, 20)
		}
		head := "POST / HTTP/1.1\r\nHost: h\r\nX-Id: " + id + "\r\n"
		dies := random.IntN(25) == 0
		if dies {
			head += "X-Abort: 1\r\n"
		}
		framed := fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
		if random.IntN(2) == 0 {
			framed = "Transfer-Encoding: chunked\r\n\r\n" + inChunks(body)
		}
		if random.IntN(25) == 0 { // leaves within its body
			_, _ = io.WriteString(w, head+framed[:len(framed)-1])
			w.Close()
			w = newWire(t, address)
			continue
		}
		_, _ = io.WriteString(w, head+framed)
		got, err := w.tryReceive("POST")
		switch {
		case dies:
			if err == nil && got.StatusCode == 200 && !bytes.Equal(got.body, body) {
				t.Errorf("%s: half a response ended cleanly", id)
			}
			w.Close()
			w = newWire(t, address)
		case err != nil || got.StatusCode != 200:
			t.Errorf("%s: %v, %v", id, got.Response, err)
			return
		case got.Header.Get("X-Id") != id || !bytes.Equal(got.body, body):
			t.Errorf("%s got the response of %s", id, got.Header.Get("X-Id"))
			return
		}
	}
}
