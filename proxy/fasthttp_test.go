package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// The tests of this file hold what fasthttp does by default away from the wire.

// fieldNames lists the names in a response's header, in order.
func fieldNames(t *testing.T, response string) (names []string) {
	t.Helper()
	header, _, ok := strings.Cut(response, "\r\n\r\n")
	if !ok {
		t.Fatalf("no header: %q", response)
	}
	for _, line := range strings.Split(header, "\r\n")[1:] {
		name, _, _ := strings.Cut(line, ":")
		names = append(names, name)
	}
	return names
}

// TestOurErrorsSayWhatWeMean: no Server, one Date, and nothing that is not meant for
// the client.
func TestOurErrorsSayWhatWeMean(t *testing.T) {
	o := testOptions(startBackend(t, mirror))
	o.Server.MaxBodySize = 10
	o.Routes = []RouteConfig{{Path: "/a", Pool: "main"}}
	o.API = apiOf(func(*fasthttp.RequestCtx) { panic("the API is broken") })
	_, address := startProxy(t, o)
	plain := []string{"Content-Type", "Content-Length", "Date", "Connection"}
	for _, test := range []struct {
		request string
		status  int
		want    []string
	}{
		{withHost("GET /a#b HTTP/1.1"), 400, plain},
		{"GET\r\n\r\n", 400, plain},
		{"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400, plain}, // the beginning of TLS
		{get("/b"), 404, plain},
		{"GET /b HTTP/1.0\r\n\r\n", 404, plain},
		{withHost("CONNECT a:1 HTTP/1.1"), 405, []string{"Content-Type", "Content-Length", "Date", "Allow", "Connection"}},
		{withHost("POST /a HTTP/1.1", "Content-Length: 11"), 413, plain},
		{withHost("GET /a HTTP/1.1", "A: "+strings.Repeat("a", 17<<10)), 431, plain},
		{get("/v1/api/"), 500, plain},
	} {
		got := talk(t, address, test.request)
		if names := fieldNames(t, got); !strings.HasPrefix(got, fmt.Sprintf("HTTP/1.1 %d ", test.status)) || !slices.Equal(names, test.want) {
			t.Errorf("%.60q: got %.20q with %q, want %d with %q", test.request, got, names, test.status, test.want)
		}
	}
}

// TestAPIResponseGainsDate: an answer of the API has the fields that the API gives
// it, and Date.
func TestAPIResponseGainsDate(t *testing.T) {
	o := testOptions(startBackend(t, mirror))
	o.API = apiOf(func(ctx *fasthttp.RequestCtx) { _, _ = ctx.WriteString("ok") })
	_, address := startProxy(t, o)
	got := talk(t, address, get("/v1/api/"))
	if names := fieldNames(t, got); !slices.Equal(names, []string{"Date", "Content-Length", "Connection"}) || !strings.HasSuffix(got, "ok") {
		t.Errorf("got %q", got)
	}
}

// TestPanicEndsOneConnection: the others, and the process, live on.
func TestPanicEndsOneConnection(t *testing.T) {
	o := testOptions(startBackend(t, mirror))
	o.API = apiOf(func(*fasthttp.RequestCtx) { panic("the API is broken") })
	_, address := startProxy(t, o)
	other := newWire(t, address)
	for range 3 {
		if got := talk(t, address, "GET /v1/api/ HTTP/1.1\r\nHost: h\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 500 ") {
			t.Errorf("got %q", got)
		}
		other.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		if got := other.receive("GET"); got.StatusCode != 200 || got.Close {
			t.Errorf("another client got %d, close: %v", got.StatusCode, got.Close)
		}
	}
}

// TestExpectInAnyCase: fasthttp looks for it in one case only once it leaves
// names as they are.
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

// TestBodiesOutliveTheHeaderTimeout: fasthttp's ReadTimeout would end an upload,
// its WriteTimeout a download.
func TestBodiesOutliveTheHeaderTimeout(t *testing.T) {
	const timeout = 100 * time.Millisecond
	pieces := func(w io.Writer) {
		for range 6 {
			time.Sleep(timeout / 2) // the pace is what is tested
			_, _ = io.WriteString(w, "5\r\npiece\r\n")
		}
		_, _ = io.WriteString(w, lastChunk)
	}
	o := testOptions(startRawBackend(t, func(conn net.Conn) {
		if _, _, err := readRequest(bufio.NewReader(conn)); err == nil {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			pieces(conn)
		}
	}))
	o.Server.ReadHeaderTimeout, o.Server.IdleTimeout = timeout, timeout
	_, address := startProxy(t, o)
	w := newWire(t, address)
	w.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
	pieces(w)
	if got := w.receive("POST"); got.StatusCode != 200 || len(got.body) != 30 {
		t.Errorf("got %d and %d bytes", got.StatusCode, len(got.body))
	}
}

// TestManyRequestsAtOneBackend: fasthttp opens 512 connections by default, and
// refuses what is beyond them.
func TestManyRequestsAtOneBackend(t *testing.T) {
	const many = 600
	var waiting atomic.Int32
	all := make(chan struct{})
	_, address := startProxy(t, testOptions(startBackend(t, func(_ http.ResponseWriter, r *http.Request) {
		if waiting.Add(1) == many {
			close(all)
		}
		select {
		case <-all:
		case <-r.Context().Done():
		case <-time.After(10 * time.Second):
		}
	})))
	var clients sync.WaitGroup
	for range many {
		w := newWire(t, address)
		w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		clients.Go(func() {
			if got, err := w.tryReceive("GET"); err != nil || got.StatusCode != 200 {
				t.Errorf("%v, %v", got.Response, err)
			}
		})
	}
	clients.Wait()
}

// TestLastUsedConnectionIsUsedFirst: so the others may age out of the pool.
func TestLastUsedConnectionIsUsedFirst(t *testing.T) {
	var dials atomic.Int32
	arrived, answer := make(chan int32), make(chan bool)
	p, address := startProxy(t, testOptions(startRawBackend(t, func(conn net.Conn) {
		number := dials.Add(1)
		for in := bufio.NewReader(conn); ; {
			if _, err := readRequestHeader(in); err != nil {
				return
			}
			arrived <- number
			<-answer
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})))
	clients := []*rawClient{newWire(t, address), newWire(t, address), newWire(t, address)}
	for _, w := range clients {
		w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		<-arrived
	}
	for range clients {
		answer <- true
	}
	for _, w := range clients {
		w.receive("GET")
	}
	waitIdle(t, p)
	var first int32
	for i := range 10 {
		clients[i%3].send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		number := <-arrived
		answer <- true
		clients[i%3].receive("GET")
		waitIdle(t, p)
		if first == 0 {
			first = number
		}
		if number != first {
			t.Errorf("request %d came over connection %d, the one before over %d", i, number, first)
		}
	}
}

// countedConn counts the writes on a connection. It is no syscall.Conn: the proxy
// writes to it as to any net.Conn.
type countedConn struct {
	net.Conn
	writes *atomic.Int32
}

func (c countedConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// countedListener hands out connections whose writes are counted together.
type countedListener struct {
	net.Listener
	writes atomic.Int32
}

func (l *countedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return countedConn{conn, &l.writes}, err
}

// TestSmallResponseIsOneWrite: fasthttp would flush the header and then each chunk.
func TestSmallResponseIsOneWrite(t *testing.T) {
	for _, response := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
		"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 204 No Content\r\n\r\n",
		"garbage\r\n\r\n",
	} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l := &countedListener{Listener: ln}
		startProxyOn(t, testOptions(startRawBackend(t, answerAll(response))), l)
		w := newWire(t, ln.Addr().String())
		for i := range int32(3) {
			w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			w.receive("GET")
			if n := l.writes.Load(); n != i+1 {
				t.Errorf("%.20q: %d writes for %d responses", response, n, i+1)
			}
		}
	}
}

// TestOneAuthority has one authority decide about the pool and about what the backend sees: Host as it
// was received or, where HTTP/1.0 sent none, that of the target.
func TestOneAuthority(t *testing.T) {
	named := func(name string) string {
		return startBackend(t, func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%s %s %s", name, r.Host, r.Header.Get("X-Forwarded-Host"))
		})
	}
	o := testOptions(named("main"))
	o.Pools["shop"] = testOptions(named("shop")).Pools["main"]
	o.Routes = []RouteConfig{{Host: "shop.example", Pool: "shop"}, {Pool: "main"}}
	_, address := startProxy(t, o)
	for request, want := range map[string]string{
		"GET http://shop.example/ HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n":       "shop shop.example shop.example",
		"GET http://Shop.Example:80/ HTTP/1.1\r\nHost: shop.example:80\r\nConnection: close\r\n\r\n": "shop shop.example:80 shop.example:80",
		"GET https://shop.example:443?a HTTP/1.1\r\nHost: SHOP.example\r\nConnection: close\r\n\r\n": "shop SHOP.example SHOP.example",
		"GET http://shop.example/ HTTP/1.0\r\n\r\n":                                                  "shop shop.example shop.example",
		"GET http://other.example/ HTTP/1.0\r\n\r\n":                                                 "main other.example other.example",
		"GET / HTTP/1.1\r\nHost: SHOP.example\r\nX-Forwarded-Host: a\r\nConnection: close\r\n\r\n":   "shop SHOP.example SHOP.example",
	} {
		if got := talk(t, address, request); !strings.HasSuffix(got, "\r\n\r\n"+want) {
			t.Errorf("%q: got %q, want %q", request, got, want)
		}
	}
}

// TestOptionsOfTheServer: RFC 9112, section 3.2.4, has the last proxy turn a target
// without a path into *.
func TestOptionsOfTheServer(t *testing.T) {
	url, got := startVerbatimBackend(t)
	_, address := startProxy(t, testOptions(url))
	for target, want := range map[string]string{
		"*": "*", "/": "/", "http://example.com": "*", "http://example.com/": "/", "http://example.com/*": "/*",
	} {
		w := newWire(t, address)
		w.send(withHost("OPTIONS " + target + " HTTP/1.1"))
		w.receive("OPTIONS")
		if r := <-got; !strings.HasPrefix(r.header, "OPTIONS "+want+" HTTP/1.1\r\n") {
			t.Errorf("OPTIONS %s arrived as %.30q, want %s", target, r.header, want)
		}
	}
}
