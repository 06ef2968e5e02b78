package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestPipelinedRequestsAreAnsweredInOrder mixes requests that backends answer with those that the
// API does, with and without bodies.
func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	o := testOptions(startBackend(t, mirror))
	o.API = apiOf(echoAPI)
	_, address := startProxy(t, o)
	var all strings.Builder
	var want []string
	for i := range 50 {
		body := strings.Repeat(fmt.Sprint(i, ","), i*20)
		path := fmt.Sprintf("/p/%d", i)
		if i%3 == 1 {
			path = fmt.Sprintf("/v1/api/%d", i)
			want = append(want, "201 "+path+" "+body)
		} else {
			want = append(want, "200 "+body)
		}
		if i%2 == 0 {
			fmt.Fprintf(&all, "POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
		} else {
			fmt.Fprintf(&all, "POST %s HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%s", path, inChunks([]byte(body)))
		}
	}
	w := newWire(t, address)
	go w.Write([]byte(all.String()))
	for i := range want {
		got := w.receive("POST")
		if text := fmt.Sprint(got.StatusCode, " ", string(got.body)); text != want[i] {
			t.Fatalf("response %d is %.80q, want %.80q", i, text, want[i])
		}
	}
}

func TestThousandRequestsOnOneConnection(t *testing.T) {
	p, address := startProxy(t, testOptions(startBackend(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(r.RequestURI))
	})))
	w := newWire(t, address)
	for i := range 1000 {
		target := fmt.Sprintf("/%d", i)
		w.send("GET " + target + " HTTP/1.1\r\nHost: h\r\n\r\n")
		if got := w.receive("GET"); string(got.body) != target {
			t.Fatalf("got %q, want %q", got.body, target)
		}
	}
	if n := metric(p, "lb_connections"); n != "1" {
		t.Errorf("lb_connections is %s, want 1", n)
	}
	eventually(t, "1000 requests to be counted", func() bool {
		return metric(p, `lb_requests_total{pool="main",code="200"}`) == "1000"
	})
}

// TestPipelining cuts four requests in a row at every byte: each is answered, in turn, with its own
// path and body.
func TestPipelining(t *testing.T) {
	url := startBackend(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %q %v", r.Method, r.URL.Path, body, err)
	})
	_, address := startProxy(t, testOptions(url))
	want := []string{`GET /one "" <nil>`, `POST /two "GET / H" <nil>`, `POST /three "abcdefg" <nil>`, `GET /four "" <nil>`}
	for cut := range len(pipelined) {
		conn := dial(t, address)
		for _, part := range []string{pipelined[:cut], pipelined[cut:]} {
			if _, err := io.WriteString(conn, part); err != nil {
				t.Fatal(err)
			}
		}
		r := bufio.NewReader(conn)
		closes := false
		for i, want := range want {
			answer, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatalf("cut at %d, answer %d: %v, the one before closes: %v", cut, i+1, err, closes)
			}
			closes = answer.Close
			body, err := io.ReadAll(answer.Body)
			if err != nil || string(body) != want {
				t.Fatalf("cut at %d, answer %d: got %q, %v, want %q", cut, i+1, body, err, want)
			}
		}
		if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
			t.Fatalf("cut at %d: behind the last answer came %q, %v", cut, rest, err)
		}
		conn.Close()
	}
}

// A faulty pipelined request is refused at once, too, without waiting for an end of its header that
// may never come.
func TestPipelinedFault(t *testing.T) {
	url, _ := startCountingBackend(t)
	_, address := startProxy(t, testOptions(url))
	got := talk(t, address, withHost("GET / HTTP/1.1")+"GET / HTTP/1.1\nHost: a\n\n")
	if !strings.HasPrefix(got, "HTTP/1.1 200 ") || strings.Count(got, "HTTP/1.1 400 ") != 1 {
		t.Errorf("got %q", got)
	}
}

// TestAnswerBeforeMoreRequests has the client send requests after the one that ends the connection,
// and only then read. The unread requests must not destroy the answer.
func TestAnswerBeforeMoreRequests(t *testing.T) {
	const size = 1 << 20
	p, address := startProxy(t, testOptions(startRawBackend(t, answerAll(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", size, strings.Repeat("a", size))))))
	w := newWire(t, address)
	w.send(get("/") + strings.Repeat(withHost("GET / HTTP/1.1"), 3000))
	eventually(t, "the answer to be sent", func() bool { return metric(p, `lb_requests_total{pool="main",code="200"}`) == "1" })
	if got := w.receive("GET"); len(got.body) != size || !got.Close {
		t.Errorf("got %d bytes, close: %v", len(got.body), got.Close)
	}
	w.mustEnd()
}
