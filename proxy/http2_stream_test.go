package proxy

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/net/http2"
)

// TestHTTP2ResetEndsTheWork checks that a client that resets its stream frees the backend at once,
// whatever the backend is doing, and that the other streams of the connection go on.
func TestHTTP2ResetEndsTheWork(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		body bool   // the request has one that does not end
		part string // what the backend has sent before
	}{{"before the response", false, ""}, {"within the response", false, lines("HTTP/1.1 200 OK", "Content-Length: 10") + "part"}, {"while it uploads", true, ""}} {
		left, entered := make(chan time.Time, 1), make(chan bool, 1)
		url := startRawBackend(t, func(conn net.Conn) {
			buf := make([]byte, 64<<10)
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			if strings.Contains(string(buf[:n]), "/plain") {
				_, _ = io.WriteString(conn, leaseOK)
				return
			}
			_, _ = io.WriteString(conn, test.part)
			entered <- true
			_, _ = io.Copy(io.Discard, conn)
			left <- time.Now()
		})
		o := http2Options(url)
		o.Access = AccessAll
		var log logLines
		o.Log = zerolog.New(&log)
		_, address := startProxy(t, o)
		f := dialFrames(t, address)
		stream := f.open(!test.body, request("POST", "/")...)
		if test.body {
			f.must(f.write.WriteData(stream, false, make([]byte, 1000)))
		}
		<-entered
		began := time.Now()
		f.must(f.write.WriteRSTStream(stream, http2.ErrCodeCancel))
		select {
		case at := <-left:
			if took := at.Sub(began); took > 500*time.Millisecond { // well under wire.WatchAfter
				t.Errorf("%s: the backend heard of it after %s", test.name, took)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: the backend never heard of it", test.name)
		}
		if a := f.wait(f.open(true, request("GET", "/plain")...)); a.String() != "200" {
			t.Errorf("%s: another stream then gets %s", test.name, a)
		}
		eventually(t, "the line in the log", func() bool { return len(log.parsed(t)) == 2 })
		if lines := log.parsed(t); lines[0]["reason"] != "client_gone" && lines[1]["reason"] != "client_gone" {
			t.Errorf("%s: the log says %v", test.name, lines)
		}
	}
}

// TestHTTP2SlowStreams checks that neither a stream whose response is not read, nor one whose body is
// not read by its backend, nor one whose backend is silent holds up another of the same connection.
func TestHTTP2SlowStreams(t *testing.T) {
	t.Parallel()
	release := make(chan bool)
	defer close(release)
	o := http2Options(startBackend(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/large":
			_, _ = w.Write(make([]byte, 50<<20))
		case "/unread", "/silent":
			<-release
		default:
			mirror(w, r)
		}
	}))
	_, address := startProxy(t, o)
	client := http2Client(t)
	get := func(path string, body io.Reader) (*http.Response, error) {
		r, _ := http.NewRequest("POST", "http://"+address+path, body)
		return client.Do(r)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for range 10 {
		response, err := get("/large", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close() // without a read: what the windows allow has been sent
		for path, body := range map[string]io.Reader{"/unread": &endless{ctx: ctx}, "/silent": nil} {
			go func() {
				if response, err := get(path, body); err == nil {
					response.Body.Close()
				}
			}()
		}
	}
	for i := range 100 {
		body := bytes.Repeat([]byte("x"), i*1000)
		response, err := get("/quick", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || !bytes.Equal(got, body) {
			t.Fatalf("request %d: %d bytes, %v", i, len(got), err)
		}
	}
}

// endless is a body that ends with its context.
type endless struct{ ctx context.Context }

func (e *endless) Read(p []byte) (int, error) { return len(p), e.ctx.Err() }

// TestHTTP2Timeouts checks that a client that is silent within its body, or takes nothing of the
// response, loses its stream alone, and an idle connection gets a GOAWAY.
func TestHTTP2Timeouts(t *testing.T) {
	t.Parallel()
	o := http2Options(startBackend(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = w.Write(make([]byte, 8<<20))
	}))
	o.Server.BodyTimeout, o.Server.IdleTimeout = 300*time.Millisecond, 400*time.Millisecond
	o.Server.ReadHeaderTimeout = 300 * time.Millisecond
	p, address := startProxy(t, o)
	f := dialFrames(t, address)
	stream := f.open(false, request("POST", "/", "content-length: 10")...)
	f.must(f.write.WriteData(stream, false, []byte("part")))
	if a := f.wait(stream); a.status != "408" {
		t.Errorf("a body that does not end gets %s", a)
	}
	stream = f.open(true, request("GET", "/")...)
	for {
		frame, err := f.write.ReadFrame() // and no window is opened
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := frame.(*http2.RSTStreamFrame); ok && frame.Header().StreamID == stream {
			break
		}
	}
	eventually(t, "the count of clients that are gone", func() bool { return errorsWith(p, "client_gone") == "1" })
	for {
		frame, err := f.write.ReadFrame()
		if err != nil {
			t.Fatalf("no GOAWAY came: %v", err)
		}
		if g, ok := frame.(*http2.GoAwayFrame); ok {
			if g.ErrCode != http2.ErrCodeNo {
				t.Errorf("GOAWAY with %s", g.ErrCode)
			}
			break
		}
	}
	eventually(t, "the end of the connection", func() bool { return metric(p, "lb_connections") == "0" })
	f = dialFrames(t, address) // with an open stream, so that it is not idle
	f.open(false, request("POST", "/")...)
	f.must(f.write.WriteHeaders(http2.HeadersFrameParam{StreamID: f.last + 2, BlockFragment: f.encode(request("GET", "/")...)}))
	if a := f.wait(f.last + 2); !a.closed {
		t.Errorf("a header that does not end: %s", a)
	}
}

// TestHTTP2Retries checks that a request goes to another backend where HTTP/1's would, also with a
// part of a body that streams.
func TestHTTP2Retries(t *testing.T) {
	t.Parallel()
	good := startBackend(t, mirror)
	for _, size := range []int{0, 1000, 50_000} {
		bad := startRawBackend(t, func(conn net.Conn) { _, _ = conn.Read(make([]byte, 100)) })
		o := http2Options(bad, good)
		pool := o.Pools["main"]
		pool.Health.Interval = time.Hour
		o.Pools["main"] = pool
		_, address := startProxy(t, o)
		client := http2Client(t)
		for range 4 {
			body := bytes.Repeat([]byte("x"), size)
			r, _ := http.NewRequest("PUT", "http://"+address, io.MultiReader(bytes.NewReader(body))) // of unknown length
			response, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(response.Body)
			response.Body.Close()
			if response.StatusCode != 200 || err != nil || !bytes.Equal(got, body) {
				t.Errorf("%d bytes: %d, %d bytes, %v", size, response.StatusCode, len(got), err)
			}
		}
	}
}
