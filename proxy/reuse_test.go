package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
)

// TestNobodyGetsWhatIsLeftOver has a backend send more than its response. The
// next client's request must go over another connection.
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

// TestClientsAreNeverMixedUp sends bodies that say whose they are, in all
// framings and sizes, while some clients and some responses break off.
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
