package management

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
)

// silence is the timeout of these tests: longer than a busy machine pauses.
const silence = time.Second

// TestUploadTakesAnyTime has uploads that take longer in all than any silence may.
func TestUploadTakesAnyTime(t *testing.T) {
	t.Parallel()
	const parts, pause = 25, silence / 10
	for name, c := range map[string]struct{ fields, part, last string }{
		"chunked":      {"Transfer-Encoding: chunked\r\n", "5\r\n1234\n\r\n", "0\r\n\r\n"},
		"expecting":    {fmt.Sprintf("Content-Length: %d\r\nExpect: 100-continue\r\n", 5*parts), "1234\n", ""},
		"byte by byte": {fmt.Sprintf("Content-Length: %d\r\n", parts), "x", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachListener(t, silence, func(t *testing.T, on *apiListener) {
				conn := on.post(t, "upload", c.fields)
				if strings.Contains(c.fields, "Expect") {
					line := make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))
					if _, err := io.ReadFull(conn, line); err != nil || !strings.HasPrefix(string(line), "HTTP/1.1 100 ") {
						t.Fatalf("got %q, %v, want 100 Continue", line, err)
					}
				}
				send(conn, c.part, parts, pause)
				send(conn, c.last, 1, 0)
				want := fmt.Sprintf(`"%d lines, %d bytes"`, parts, 4*parts)
				if c.part == "x" {
					want = fmt.Sprintf(`"1 lines, %d bytes"`, parts)
				}
				if r, body := receive(t, conn); r.StatusCode != 200 || body != want {
					t.Errorf("got %d %s, want %s", r.StatusCode, body, want)
				}
			})
		})
	}
}

// TestSilentUpload has clients that fall silent.
func TestSilentUpload(t *testing.T) {
	t.Parallel()
	for name, sent := range map[string]string{
		"at once": "Content-Length: 9\r\n\r\n", "within": "Content-Length: 9\r\n\r\na\nb", "chunked": "Transfer-Encoding: chunked\r\n\r\n5\r\na\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachListener(t, silence, func(t *testing.T, on *apiListener) {
				conn := on.dial(t)
				fmt.Fprintf(conn, "POST /v1/api/test/upload HTTP/1.1\r\nHost: localhost\r\n%s", sent)
				began := time.Now()
				r, body := receive(t, conn)
				if took := time.Since(began); r.StatusCode != 408 || took < silence*9/10 {
					t.Errorf("got %d %s after %s", r.StatusCode, body, took)
				}
			})
		})
	}
}

// TestOrdinaryCallsAreBoundedInTotal has a client on the management listener that is never silent.
func TestOrdinaryCallsAreBoundedInTotal(t *testing.T) {
	t.Parallel()
	on := startListener(t, "management", silence, onManagement)
	for name, raw := range map[string]string{
		"body":    "POST /v1/api/test/body HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n",
		"chunked": "POST /v1/api/test/body HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n",
		"header":  "POST /v1/api/test/body HTTP/1.1\r\nHost: localhost\r\nX-Long: ",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := on.dial(t)
			_, _ = io.WriteString(conn, raw)
			began := time.Now()
			go send(conn, "x", 500, silence/20)
			r, body := receive(t, conn)
			// fasthttp answers a header that is late with 400.
			if took := time.Since(began); r.StatusCode != 408 && (name != "header" || r.StatusCode != 400) || took > 5*silence {
				t.Errorf("got %d %s after %s", r.StatusCode, body, took)
			}
		})
	}
}

// TestOrdinaryAnswersAreBoundedInTotal has a client on the management listener that takes something all
// the time, but little.
func TestOrdinaryAnswersAreBoundedInTotal(t *testing.T) {
	t.Parallel()
	on := startListener(t, "management", silence, onManagement)
	r, err := http.ReadResponse(bufio.NewReader(on.get(t, "large")), nil)
	if err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); ; time.Sleep(silence / 8) { // the pace is what is tested
		if n, err := io.CopyN(io.Discard, r.Body, largeSize/64); err != nil {
			break
		} else if time.Since(began) > 5*silence {
			t.Fatalf("%d more bytes came after %s", n, time.Since(began))
		}
	}
}

// TestBodiesOfCalls has bodies that are read whole, which are bounded on both listeners alike.
func TestBodiesOfCalls(t *testing.T) {
	t.Parallel()
	eachListener(t, silence, func(t *testing.T, on *apiListener) {
		for size, status := range map[int]int{1: 200, 1 << 20: 200, 1<<20 + 1: 413, 20 << 20: 413} {
			for _, length := range []int64{int64(size), -1} {
				request, err := http.NewRequest("POST", "http://"+on.address+"/v1/api/test/body", io.LimitReader(zeros{}, int64(size)))
				if err != nil {
					t.Fatal(err)
				}
				request.Host, request.ContentLength = "localhost", length
				r, err := (&http.Transport{}).RoundTrip(request)
				if err != nil {
					t.Errorf("%d bytes, length %d: %v", size, length, err)
					continue
				}
				r.Body.Close()
				if r.StatusCode != status {
					t.Errorf("%d bytes, length %d: got %d, want %d", size, length, r.StatusCode, status)
				}
			}
		}
	})
}

// zeros are bytes without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestEarlyAnswerArrives has a client that sends much before it reads the answer, which came before
// the body was read.
func TestEarlyAnswerArrives(t *testing.T) {
	t.Parallel()
	eachListener(t, silence, func(t *testing.T, on *apiListener) {
		for _, framing := range []string{"Content-Length: 33554432\r\n", "Transfer-Encoding: chunked\r\n"} {
			conn := on.post(t, "refuse", framing)
			if framing[0] == 'T' {
				_, _ = io.WriteString(conn, "2000000\r\n")
			}
			send(conn, strings.Repeat("x", 1<<20), 32, 0)
			if r, body := receive(t, conn); r.StatusCode != 415 || !strings.Contains(body, "refused unread") {
				t.Errorf("%s: got %d %s", framing, r.StatusCode, body)
			}
		}
	})
}

// TestDownloadTakesAnyTime has a client that takes longer in all than any silence may be.
func TestDownloadTakesAnyTime(t *testing.T) {
	t.Parallel()
	const size, step = 24 << 20, 1 << 20
	eachListener(t, silence, func(t *testing.T, on *apiListener) {
		on.downloads(func(w *bufio.Writer) error {
			_, err := io.CopyN(w, zeros{}, size)
			return err
		})
		r, err := http.ReadResponse(bufio.NewReader(on.get(t, "download")), nil)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for read := 0; read < size; read += step {
			if _, err := io.CopyN(io.Discard, r.Body, step); err != nil {
				t.Fatalf("after %d bytes and %s: %v", read, time.Since(began), err)
			}
			time.Sleep(silence / 8) // the pace is what is tested
		}
		if n, err := io.Copy(io.Discard, r.Body); n != 0 || err != nil {
			t.Errorf("%d bytes too many, %v", n, err)
		}
		if err := <-on.calls.ended; err != nil {
			t.Error(err)
		}
	})
}

// TestDownloadToNobody has clients that take nothing, and that are gone: what produces the body
// learns of both.
func TestDownloadToNobody(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(net.Conn){
		"silent": func(net.Conn) {}, "gone": func(c net.Conn) { c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachListener(t, silence, func(t *testing.T, on *apiListener) {
				on.downloads(func(w *bufio.Writer) error { _, err := io.Copy(w, zeros{}); return err })
				conn := on.get(t, "download")
				if _, err := conn.Read(make([]byte, 100)); err != nil {
					t.Fatal(err)
				}
				leave(conn)
				select {
				case err := <-on.calls.ended:
					if err == nil {
						t.Error("the download ended without an error")
					}
				case <-time.After(10 * silence):
					t.Error("the download goes on")
				}
			})
		})
	}
}

// TestDownloadThatFails checks that a client can tell a response that was cut from a whole one.
func TestDownloadThatFails(t *testing.T) {
	t.Parallel()
	eachListener(t, silence, func(t *testing.T, on *apiListener) {
		for name, fail := range map[string]func() error{"error": func() error { return errTest }, "panic": func() error { panic(errTest) }} {
			on.downloads(func(w *bufio.Writer) error {
				_, _ = w.WriteString("a\n")
				_ = w.Flush()
				return fail()
			})
			in := bufio.NewReader(on.get(t, "download"))
			r, err := http.ReadResponse(in, nil)
			if err != nil || r.StatusCode != 200 || r.Header.Get("Content-Type") != "text/csv" || r.Header.Get("Date") == "" {
				t.Fatalf("%s: got %v, %v", name, r, err)
			}
			if body, err := io.ReadAll(r.Body); err == nil {
				t.Errorf("%s: got %q, which looks complete", name, body)
			}
			if name == "error" {
				<-on.calls.ended
			}
		}
	})
}

// TestDownloadKeepsTheConnection checks the framing, by what follows on the connection.
func TestDownloadKeepsTheConnection(t *testing.T) {
	t.Parallel()
	eachListener(t, silence, func(t *testing.T, on *apiListener) {
		on.downloads(func(w *bufio.Writer) error { _, err := w.WriteString(strings.Repeat("x", 100_000)); return err })
		conn := on.dial(t)
		in := bufio.NewReader(conn)
		for _, method := range []string{"GET", "HEAD", "GET"} {
			fmt.Fprintf(conn, "%s /v1/api/test/download HTTP/1.1\r\nHost: localhost\r\n\r\n", method)
			r, err := http.ReadResponse(in, &http.Request{Method: method})
			if err != nil {
				t.Fatalf("%s: %v", method, err)
			}
			body, err := io.ReadAll(r.Body)
			if want := map[string]int{"GET": 100_000}[method]; err != nil || len(body) != want || r.StatusCode != 200 {
				t.Errorf("%s: got %d, %d bytes, %v", method, r.StatusCode, len(body), err)
			}
			if method == "GET" {
				<-on.calls.ended
			}
		}
	})
}

// TestUploadAtTheEnd has an upload under way, of a client that sends and of one that is silent: each
// gets an answer that says why it ends, and holds nothing up.
func TestUploadAtTheEnd(t *testing.T) {
	t.Parallel()
	for _, sends := range []bool{true, false} {
		t.Run(fmt.Sprintf("sends: %v", sends), func(t *testing.T) {
			t.Parallel()
			eachListener(t, 20*time.Second, func(t *testing.T, on *apiListener) {
				conn := on.post(t, "upload", "Transfer-Encoding: chunked\r\n")
				send(conn, "5\r\n1234\n\r\n", 5, silence/20)
				if sends {
					go send(conn, "5\r\n1234\n\r\n", 2000, time.Millisecond)
				}
				began := time.Now()
				ended := make(chan error, 1)
				go func() { ended <- on.stop() }()
				if r, body := receive(t, conn); r.StatusCode != 503 || r.Header.Get("Retry-After") != "1" || !strings.Contains(body, "shutting down") {
					t.Errorf("got %d %s", r.StatusCode, body)
				}
				if err := <-ended; err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("the end took %s", took)
				}
			})
		})
	}
}

// TestDownloadAtTheEnd has a download that would never end.
func TestDownloadAtTheEnd(t *testing.T) {
	t.Parallel()
	eachListener(t, silence, func(t *testing.T, on *apiListener) {
		on.downloads(func(w *bufio.Writer) error { _, err := io.Copy(w, zeros{}); return err })
		r, err := http.ReadResponse(bufio.NewReader(on.get(t, "download")), nil)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		go func() { _ = on.stop() }() // the proxy tells of what it has cut
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			t.Error("the body looks complete")
		}
		if err := <-on.calls.ended; err == nil {
			t.Error("the download ended without an error")
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("the end took %s", took)
		}
	})
}

// TestStreamsTakeLittleMemory has 200 MiB pass in each direction.
func TestStreamsTakeLittleMemory(t *testing.T) {
	const size, most = 200 << 20, 24 << 20
	line := strings.Repeat("x", 99) + "\n"
	for name, serve := range map[string]func(t *testing.T) *apiListener{
		"management": func(t *testing.T) *apiListener { return startListener(t, "management", silence, onManagement) },
		"proxy":      func(t *testing.T) *apiListener { return startListener(t, "proxy", silence, onProxy) },
	} {
		t.Run(name, func(t *testing.T) {
			on := serve(t)
			on.downloads(func(w *bufio.Writer) error { _, err := io.CopyN(w, zeros{}, size); return err })
			grown := heapGrowth(func() {
				conn := on.post(t, "upload", fmt.Sprintf("Content-Length: %d\r\n", size/len(line)*len(line)))
				send(conn, strings.Repeat(line, 100), size/len(line)/100, 0)
				send(conn, strings.Repeat(line, size/len(line)%100), 1, 0)
				if r, body := receive(t, conn); r.StatusCode != 200 || !strings.Contains(body, fmt.Sprintf("%d lines", size/len(line))) {
					t.Errorf("upload: got %d %s", r.StatusCode, body)
				}
				r, err := http.ReadResponse(bufio.NewReader(on.get(t, "download")), nil)
				if err != nil {
					t.Fatal(err)
				}
				if n, err := io.Copy(io.Discard, r.Body); n != size || err != nil {
					t.Errorf("download: got %d bytes, %v", n, err)
				}
			})
			t.Logf("the heap grew by %d KiB", grown>>10)
			if grown > most {
				t.Errorf("the heap grew by %d bytes", grown)
			}
		})
	}
}

// heapGrowth returns by how much the heap grew while do ran, at the most, in bytes.
func heapGrowth(do func()) (most int64) {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // again: a sync.Pool keeps what it has over the first
	runtime.ReadMemStats(&m)
	before := int64(m.HeapAlloc)
	done := make(chan struct{})
	go func() { defer close(done); do() }()
	for {
		select {
		case <-done:
			return most
		case <-time.After(5 * time.Millisecond):
			runtime.ReadMemStats(&m)
			most = max(most, int64(m.HeapAlloc)-before)
		}
	}
}

// TestCallerOnBothListeners checks that a call knows who makes it.
func TestCallerOnBothListeners(t *testing.T) {
	t.Parallel()
	eachListener(t, silence, func(t *testing.T, on *apiListener) {
		if r, body := receive(t, on.get(t, "caller")); r.StatusCode != 200 || body != `"local from 127.0.0.1"` {
			t.Errorf("got %d %s", r.StatusCode, body)
		}
	})
}
