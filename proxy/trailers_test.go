package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// startChunkBackend hands over each request's chunked body as it came, and answers with the same
// bytes.
func startChunkBackend(t *testing.T, response string) (url string, got <-chan string) {
	bodies := make(chan string, 16)
	return startRawBackend(t, func(conn net.Conn) {
		in := bufio.NewReader(conn)
		for {
			if _, err := readRequestHeader(in); err != nil {
				return
			}
			var body strings.Builder
			for {
				line, err := in.ReadString('\n')
				if err != nil {
					return
				}
				if body.WriteString(line); line == "0\r\n" {
					break
				}
			}
			section, err := readRequestHeader(in)
			if err != nil {
				return
			}
			bodies <- body.String() + section
			if _, err := io.WriteString(conn, response); err != nil {
				return
			}
		}
	}), bodies
}

// TestTrailersPassBothWays wants them in order and case, twice over one connection on each side,
// however slowly they come.
func TestTrailersPassBothWays(t *testing.T) {
	const (
		came  = "5;x=y\r\nhello\r\n0;z\r\nX-Sum:\t1 \r\nserver-timing: a\r\nX-SUM: 2\r\nX-Hop: 3\r\nX-Request-Id: 4\r\nContent-Length: 4\r\nAuthorization: a\r\nx_real-ip: 192.0.2.1\r\ntransfer_encoding: b\r\nEmpty:\r\n\r\n"
		wants = "5\r\nhello\r\n0\r\nX-Sum:\t1 \r\nserver-timing: a\r\nX-SUM: 2\r\nEmpty:\r\n\r\n"
	)
	header := lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Connection: x-hop")
	url, got := startChunkBackend(t, header+came)
	_, address := startProxy(t, testOptions(url))
	w := newWire(t, address)
	request := lines("POST / HTTP/1.1", "Host: a", "Connection: x-hop", "Transfer-Encoding: chunked") + came
	data := strings.Index(request, "hello")
	for cut := 1; cut < len(request); cut += 7 {
		if cut > data && cut < data+len("hello") {
			continue // would rightly make two chunks of it
		}
		w.send(request[:cut])
		w.send(request[cut:])
		if body := <-got; body != wants {
			t.Fatalf("cut at %d: the backend got %q, want %q", cut, body, wants)
		}
		answer := make([]byte, len(lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked")+wants)+idSize)
		if _, err := io.ReadFull(w.in, answer); err != nil || !strings.HasSuffix(string(answer), "\r\n\r\n"+wants) {
			t.Fatalf("cut at %d: the client got %q, %v, want %q", cut, answer, err, wants)
		}
	}
}

// TestPaddedSizesPassBothWays wants chunks cut anew where white space stands behind a size or its
// extensions.
func TestPaddedSizesPassBothWays(t *testing.T) {
	const came, wants = "5   \r\nhello\r\n6;a=b \t\r\n world\r\n0   \r\n\r\n", "b\r\nhello world\r\n0\r\n\r\n"
	header := lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked")
	url, got := startChunkBackend(t, header+came)
	_, address := startProxy(t, testOptions(url))
	w := newWire(t, address)
	for range 2 { // the second behind the first on both connections
		w.send(withHost("POST / HTTP/1.1", "Transfer-Encoding: chunked") + came)
		if body := <-got; body != wants {
			t.Errorf("the backend got %q, want %q", body, wants)
		}
		answer := make([]byte, len(header+wants)+idSize)
		if _, err := io.ReadFull(w.in, answer); err != nil || withoutIDs(t, 1, string(answer)) != header+wants {
			t.Errorf("the client got %q, %v, want %q", answer, err, header+wants)
		}
	}
}

// TestTrailersBehindStreams sends bodies that go through the buffers many times before their
// trailers come, between programs that are not ours.
func TestTrailersBehindStreams(t *testing.T) {
	_, address := startProxy(t, testOptions(startBackend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("TE") != "trailers" || len(r.Trailer) != 1 {
			t.Errorf("TE %q, trailers %v announced", r.Header.Get("TE"), r.Trailer)
		}
		w.Header().Set("Trailer", "X-Sum")
		body, err := io.ReadAll(r.Body)
		_, _ = w.Write(body)
		w.Header().Set("X-Sum", fmt.Sprint(len(body), r.Trailer.Get("X-Sum"), err))
		w.Header().Set(http.TrailerPrefix+"X-Late", strings.Repeat("l", 3000))
	})))
	for _, size := range []int{0, 1, 20_000, 1 << 20} {
		w := newWire(t, address)
		go io.WriteString(w, "POST / HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nConnection: TE\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n"+
			strings.TrimSuffix(inChunks(randomBytes(size)), "\r\n")+"X-Sum:  of mine\r\n\r\n")
		got := w.receive("POST")
		want := fmt.Sprint(size, "of mine", error(nil))
		if len(got.body) != size || got.Trailer.Get("X-Sum") != want || len(got.Trailer.Get("X-Late")) != 3000 {
			t.Errorf("%d bytes, trailers %.100v, want %d and %q", len(got.body), got.Trailer, size, want)
		}
	}
}

// TestTrailersNamedBeforeALargeBody has Connection name a trailer that comes when the header's
// buffer has been used again.
func TestTrailersNamedBeforeALargeBody(t *testing.T) {
	body, trailer := inChunks(randomBytes(2*responseBufferSize)), "A: "+strings.Repeat("a", 100)+"\r\n"
	_, address := startProxy(t, testOptions(startRawBackend(t, answerAll(lines("HTTP/1.1 200 OK", "Connection: x-hop", "Transfer-Encoding: chunked")+
		strings.TrimSuffix(body, "\r\n")+"X-Hop: 1\r\n"+trailer+"\r\n"))))
	if got := talk(t, address, get("/")); !strings.HasSuffix(got, "\r\n0\r\n"+trailer+"\r\n") {
		t.Errorf("the response ends with %q", got[max(0, len(got)-150):])
	}
}

// TestDataBeforeTrailersFlows has the data come to the client while the trailers are still awaited.
func TestDataBeforeTrailersFlows(t *testing.T) {
	read := make(chan bool)
	_, address := startProxy(t, testOptions(startRawBackend(t, func(conn net.Conn) {
		if _, err := readRequestHeader(bufio.NewReader(conn)); err != nil {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: 1\r\n")
		<-read
		_, _ = io.WriteString(conn, "B: 2\r\n\r\n")
	})))
	w := newWire(t, address)
	w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	if _, err := readRequestHeader(w.in); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"5\r\nhello\r\n", "0\r\nA: 1\r\nB: 2\r\n\r\n"} {
		got := make([]byte, len(want))
		if _, err := io.ReadFull(w.in, got); err != nil || string(got) != want {
			t.Fatalf("got %q, %v, want %q", got, err, want)
		}
		if want[0] == '5' {
			read <- true
		}
	}
}
