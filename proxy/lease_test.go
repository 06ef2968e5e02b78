package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"loadbalancer/limiter"
	"loadbalancer/proxy/routes"
	"loadbalancer/proxy/upstream"
)

// visit is a request at a backend.
type visit struct {
	net.Conn
	in      *bufio.Reader
	request *http.Request
	n       int64 // 1 for the first of the test
}

// lease is a way that a request may go, and what is to be seen of it.
type lease struct {
	name    string
	change  func(*Options)
	backend func(v visit) // what one does with the request
	request string        // "": a GET
	rest    string        // sent once the backend has the request
	leaves  bool          // once the backend has the request, or has answered, the client goes
	status  int           // 0: none
	visits  int           // of the request to backends; there are as many
}

func answering(response string) func(visit) {
	return func(v visit) {
		_, _ = io.Copy(io.Discard, v.request.Body)
		_, _ = io.WriteString(v, response)
	}
}

func listening(v visit) { _, _ = io.Copy(io.Discard, v.in) }

var leases = []lease{
	{name: "GET", backend: answering(leaseOK), status: 200, visits: 1},
	{name: "no body", backend: answering(leaseNothing), status: 204, visits: 1},
	{name: "until close", backend: answering("HTTP/1.1 200 OK\r\n\r\nok"), status: 200, visits: 1},
	{name: "chunked", backend: answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"), status: 200, visits: 1},
	{name: "large response", backend: answering("HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + strings.Repeat("r", 3_000_000)), status: 200, visits: 1},
	{name: "HEAD", backend: answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"), status: 200, visits: 1,
		request: "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n"},
	{name: "POST", backend: answering(leaseOK), status: 200, visits: 1,
		request: "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"},
	{name: "upload", backend: answering(leaseOK), status: 200, visits: 1,
		request: "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("u", 1_000_000)},
	{name: "upload in chunks", backend: answering(leaseOK), status: 200, visits: 1,
		request: "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + inChunks(make([]byte, 300_000))},
	{name: "answer before the upload", status: 200, visits: 1, backend: func(v visit) { _, _ = io.WriteString(v, leaseOK) },
		request: "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\nu"},
	{name: "no route", status: 404, change: func(o *Options) { o.Routes = []routes.Config{{Path: "/a", Pool: "main"}} }},
	{name: "no route for a large body", status: 404, change: func(o *Options) { o.Routes = []routes.Config{{Path: "/a", Pool: "main"}} },
		request: "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\nu"},
	{name: "connect failed", status: 502},
	{name: "silent backend", backend: listening, change: shortTimeouts, status: 504, visits: 1},
	{name: "bad response", backend: answering("hello\r\n\r\n"), status: 502, visits: 1},
	{name: "every backend tried", status: 502, visits: 3, backend: func(v visit) { reset(v.Conn) }},
	{name: "another backend", status: 200, visits: 2, backend: func(v visit) {
		if v.n == 1 {
			reset(v.Conn)
			return
		}
		_, _ = io.WriteString(v, leaseOK)
	}},
	{name: "broken off", backend: answering("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"), visits: 1},
	{name: "body too large", backend: listening, status: 413, visits: 1, change: func(o *Options) { o.Server.MaxBodySize = 1000 },
		request: "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nu\r\n", rest: inChunks(make([]byte, 2000))},
	{name: "silent client", backend: listening, status: 408, visits: 1, change: shortTimeouts,
		request: "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\nu"},
	{name: "client leaves a silent backend", backend: listening, leaves: true, visits: 1},
	{name: "client leaves within the answer", leaves: true, visits: 1, backend: func(v visit) {
		_, _ = io.WriteString(v, "HTTP/1.1 200 OK\r\n\r\n")
		_, _ = io.Copy(v, zeros{})
	}},
	{name: "client leaves within its body", backend: listening, leaves: true, visits: 1,
		request: "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\nu"},
}

// boundOf returns how to make limiters in which loopback may have this many requests under way: as
// a registered client, or as any other.
func boundOf(most int64) map[string]func() *limiter.Limiter {
	return map[string]func() *limiter.Limiter{
		"registered": func() *limiter.Limiter { return limitsOf(limiter.Terms{Limit: ample, MaxInFlight: most}) },
		"unregistered": func() *limiter.Limiter {
			c := limiter.DefaultConfig()
			c.Default = limiter.Default{Limit: ample, MaxInFlight: most}
			return limiter.New(c)
		},
	}
}

const mostInFlight = 5

// TestLeases wants one request under way while a backend has it, and none after, whatever became of
// it.
func TestLeases(t *testing.T) {
	for name, of := range boundOf(1) {
		t.Run(name, func(t *testing.T) { eachLease(t, of) })
	}
}

func eachLease(t *testing.T, bounded func() *limiter.Limiter) {
	for _, test := range leases {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := bounded()
			visits, arrived := make(chan int64, 10), make(chan bool, 10)
			var n atomic.Int64
			urls := []string{"http://" + closedPort(t)}
			for i := range test.visits {
				urls = append(urls[:i], startRawBackend(t, func(conn net.Conn) {
					in := bufio.NewReader(conn)
					if r, err := http.ReadRequest(in); err == nil {
						visits <- underWay(l)
						arrived <- true
						test.backend(visit{conn, in, r, n.Add(1)})
					}
				}))
			}
			o := testOptions(urls...)
			o.Limiter = l
			if test.change != nil {
				test.change(&o)
			}
			_, address := startProxy(t, o)
			w := newWire(t, address)
			if test.request == "" {
				test.request = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
			}
			w.send(test.request)
			if test.rest != "" || test.leaves {
				<-arrived
			}
			w.send(test.rest)
			if test.leaves {
				w.Close()
			} else {
				method, _, _ := strings.Cut(test.request, " ")
				got, err := w.tryReceive(method)
				if broken := test.status == 0; broken != (err != nil) || err == nil && got.StatusCode != test.status {
					t.Errorf("got %v, %v, want %d", got.Response, err, test.status)
				}
			}
			eventually(t, "nothing to be under way", func() bool { return underWay(l) == 0 })
			if l.Registered() > 0 {
				if got := allowed(t, l, loopback); got != 1 {
					t.Errorf("%d requests were allowed, want 1", got)
				}
			}
			if got := len(visits); got != test.visits {
				t.Errorf("%d requests came to backends, want %d", got, test.visits)
			}
			for range len(visits) {
				if n := <-visits; n != 1 {
					t.Errorf("%d requests were under way while a backend had it, want 1", n)
				}
			}
		})
	}
}

// TestLeaseOfATunnel is held for as long as the tunnel stands.
func TestLeaseOfATunnel(t *testing.T) {
	o := testOptions(startTalk(t, func(in *bufio.Reader, conn net.Conn) { _, _ = io.Copy(conn, in) }))
	o.Limiter = limitsOf(limiter.Terms{Limit: ample, MaxInFlight: 1})
	_, address := startProxy(t, o)
	w := openTunnel(t, address)
	for range 3 {
		w.send("x")
		if _, err := w.in.ReadByte(); err != nil {
			t.Fatal(err)
		}
		if n := underWay(o.Limiter); n != 1 {
			t.Errorf("%d requests are under way in the tunnel, want 1", n)
		}
		second := newWire(t, address)
		second.send(upgradeRequest)
		checkProblem(t, second.receive("GET"), 429, "too_many_in_flight", "http://-:-")
	}
	_ = closeWrite(w.Conn)
	w.mustEnd()
	eventually(t, "the tunnel to be over", func() bool { return underWay(o.Limiter) == 0 })
	openTunnel(t, address)
}

// TestLeaseOfAPanic checks that a fault behind the limiter releases the lease.
func TestLeaseOfAPanic(t *testing.T) {
	o := testOptions("http://127.0.0.1:1")
	o.Limiter = limitsOf(limiter.Terms{Limit: ample, MaxInFlight: 1})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p, address := New(o), ln.Addr().String()
	p.settings.Load().routes = routes.New(nil, map[string]*upstream.Pool{"main": {}}) // pick has nothing to look into: no request makes the road fault
	serveUntilEnd(t, p, ln)
	for range 3 {
		w := newWire(t, address)
		w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		checkProblem(t, w.receive("GET"), 500, "internal_error", "http://-:-")
	}
	eventually(t, "nothing to be under way", func() bool { return underWay(o.Limiter) == 0 })
	if got := allowed(t, o.Limiter, loopback); got != 3 {
		t.Errorf("%d requests were allowed, want 3", got)
	}
}

// TestLimitedHasNoLease checks that a rejected request is not in flight, and keeps no other out.
func TestLimitedHasNoLease(t *testing.T) {
	o := testOptions(startRawBackend(t, answerAll(leaseOK)))
	o.Limiter = limitsOf(limiter.Terms{Limit: limiter.Limit{Capacity: 2, RatePerSecond: 0.0001}, MaxInFlight: 1})
	p, address := startProxy(t, o)
	w := newWire(t, address)
	for i, want := range []int{200, 200, 429, 429} {
		w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		got := w.receive("GET")
		if got.StatusCode != want {
			t.Errorf("request %d: got %d, want %d", i+1, got.StatusCode, want)
		}
		if want == 429 {
			checkProblem(t, got, 429, "limited", o.Pools["main"].Backends[0].URL.String())
		}
		if n := underWay(o.Limiter); n != 0 {
			t.Errorf("after request %d, %d are under way", i+1, n)
		}
	}
	eventually(t, "lb_limited_total", func() bool { return metric(p, "lb_limited_total") == "2" })
	if n := errorsWith(p, "too_many_in_flight"); n != "0" {
		t.Errorf("too_many_in_flight is counted %s times", n)
	}
}

// TestTooManyInFlight holds as many requests at the backend as may be there, of many more that come
// at once.
func TestTooManyInFlight(t *testing.T) {
	for name, of := range boundOf(mostInFlight) {
		t.Run(name, func(t *testing.T) { tooManyInFlight(t, of()) })
	}
}

func tooManyInFlight(t *testing.T, bounded *limiter.Limiter) {
	const most, clients = mostInFlight, 50
	release, entered := make(chan bool), make(chan bool, clients)
	o := testOptions(startHoldingBackend(t, entered, release))
	o.Limiter = bounded
	p, address := startProxy(t, o)
	answers := make(chan answer, clients)
	for range clients {
		w := newWire(t, address)
		go func() {
			_, _ = io.WriteString(w, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			a, err := w.tryReceive("GET")
			if err != nil {
				t.Error(err)
				a.Response = new(http.Response)
			}
			answers <- a
		}()
	}
	for range most {
		<-entered
	}
	for range clients - most {
		checkProblem(t, <-answers, 429, "too_many_in_flight", "http://-:-")
	}
	if n := underWay(o.Limiter); n != most || len(entered) != 0 {
		t.Errorf("%d requests are under way and %d more came to the backend, want %d and 0", n, len(entered), most)
	}
	for range most {
		release <- true
		if got := <-answers; got.StatusCode != 200 {
			t.Errorf("got %d", got.StatusCode)
		}
	}
	rejected := fmt.Sprint(clients - most)
	eventually(t, "the counts", func() bool {
		return metric(p, "lb_limited_total") == rejected && errorsWith(p, "too_many_in_flight") == rejected && errorsWith(p, "limited") == "0"
	})
}

// TestOneAfterTheOther checks that a client with one request at a time may send the next one, on
// any connection, as soon as it has read a whole answer.
func TestOneAfterTheOther(t *testing.T) {
	for name, of := range boundOf(1) {
		t.Run(name, func(t *testing.T) { oneAfterTheOther(t, of()) })
	}
}

func oneAfterTheOther(t *testing.T, bounded *limiter.Limiter) {
	o := testOptions(startBackend(t, mirror))
	o.Routes = []routes.Config{{Path: "/ok", Pool: "main"}}
	o.Limiter = bounded
	_, address := startProxy(t, o)
	for _, request := range []string{
		"GET /ok HTTP/1.1\r\nHost: h\r\n\r\n",
		"HEAD /ok HTTP/1.1\r\nHost: h\r\n\r\n",
		"GET /not HTTP/1.1\r\nHost: h\r\n\r\n",
		"POST /ok HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
		"POST /ok HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("u", 100_000),
	} {
		for i := range 300 {
			w := newWire(t, address)
			w.send(request)
			method, _, _ := strings.Cut(request, " ")
			if got := w.receive(method); got.StatusCode == 429 {
				t.Fatalf("%.20s number %d got %s", request, i, got.body)
			}
			w.Close()
		}
	}
}

// TestNeverMoreInFlight has clients come and go at the bound for a while.
func TestNeverMoreInFlight(t *testing.T) {
	for name, of := range boundOf(mostInFlight) {
		t.Run(name, func(t *testing.T) { neverMoreInFlight(t, of()) })
	}
}

func neverMoreInFlight(t *testing.T, bounded *limiter.Limiter) {
	const most, clients, requests = mostInFlight, 50, 40
	var now, peak, served atomic.Int64
	o := testOptions(startBackend(t, func(w http.ResponseWriter, _ *http.Request) {
		n := now.Add(1)
		for old := peak.Load(); n > old && !peak.CompareAndSwap(old, n); old = peak.Load() {
		}
		served.Add(1)
		time.Sleep(time.Millisecond) // so that they meet
		now.Add(-1)
		_, _ = io.WriteString(w, "ok")
	}))
	o.Limiter = bounded
	_, address := startProxy(t, o)
	counts := make(chan [2]int64, clients)
	for range clients {
		w := newWire(t, address)
		go func() {
			var passed, rejected int64
			for range requests {
				_, _ = io.WriteString(w, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
				switch a, err := w.tryReceive("GET"); {
				case err != nil:
					t.Error(err)
				case a.StatusCode == 200:
					passed++
				case a.StatusCode == 429:
					rejected++
				}
			}
			counts <- [2]int64{passed, rejected}
		}()
	}
	var passed, rejected int64
	for range clients {
		c := <-counts
		passed, rejected = passed+c[0], rejected+c[1]
	}
	if peak.Load() > most {
		t.Errorf("%d requests at the backend at once, want at most %d", peak.Load(), most)
	}
	if passed+rejected != clients*requests || passed != served.Load() || rejected == 0 {
		t.Errorf("%d passed, %d rejected, %d served, of %d", passed, rejected, served.Load(), clients*requests)
	}
	eventually(t, "nothing to be under way", func() bool { return underWay(o.Limiter) == 0 })
}
