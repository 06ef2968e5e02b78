package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"loadbalancer/proxy/wire"
)

// logged sends requests that end their connection. It returns the answers and the lines of the
// access log.
func logged(t *testing.T, o Options, requests string) (answers string, lines []map[string]any) {
	t.Helper()
	var log logLines
	o.Log = zerolog.New(&log).Level(zerolog.ErrorLevel) // which is no matter of the access log's
	p, address := startProxy(t, o)
	w := newWire(t, address)
	w.send(requests)
	all, _ := io.ReadAll(w.in)
	w.Close()
	eventually(t, "the request to end", func() bool { return metric(p, "lb_connections") == "0" })
	return string(all), log.parsed(t)
}

func TestAccessLog(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	good := startRawBackend(t, answerAll(ok))
	failing := startRawBackend(t, answerAll("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"))
	closing := startRawBackend(t, func(conn net.Conn) { _, _ = conn.Read(make([]byte, 1)) })
	truncating := startRawBackend(t, func(conn net.Conn) {
		_, _ = readRequestHeader(bufio.NewReader(conn))
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
	})
	host := func(url string) string { return nameOf(url) }
	for _, test := range []struct {
		name, backend, request string
		isError                bool
		want                   map[string]any
	}{
		{"served", good, "GET /a?b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", false,
			map[string]any{"client": "127.0.0.1", "address": "127.0.0.1", "method": "GET", "host": "h", "path": "/a", "proto": "HTTP/1.1", "status": 200., "pool": "main", "backend": host(good),
				"reason": nil, "shadow": nil, "level": "info", "message": "request", "attempts": nil, "target": nil}},
		{"of another version", good, "GET http://h/a?b HTTP/1.0\r\n\r\n", false,
			map[string]any{"host": "h", "path": "/a", "proto": "HTTP/1.0"}},
		{"for the server", good, "OPTIONS * HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", false,
			map[string]any{"path": "*"}},
		{"behind a proxy", good, "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 2001:db8::1\r\nConnection: close\r\n\r\n", false,
			map[string]any{"client": "2001:db8::1", "address": "2001:db8::1"}},
		{"failing backend", failing, get("/f"), true,
			map[string]any{"status": 500., "backend": host(failing), "reason": nil, "level": "error"}},
		{"no answer", closing, "POST /p HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", true,
			map[string]any{"method": "POST", "status": 502., "reason": "backend_reset", "backend": host(closing), "pool": "main", "level": "error"}},
		{"broken off", truncating, get("/t"), true,
			map[string]any{"status": 200., "reason": "backend_aborted", "backend": host(truncating), "level": "error"}},
		{"refused by the guard", good, "GET /g?secret HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", true,
			map[string]any{"client": "127.0.0.1", "method": "GET", "path": "/g", "proto": "HTTP/1.1", "status": 400., "reason": "bad_request", "level": "info", "pool": nil, "backend": nil}},
		{"refused for its protocol", good, "GET / HTTP/1.9\r\nHost: h\r\n\r\n", true,
			map[string]any{"proto": "HTTP/1.9", "status": 400., "host": nil}},
		{"refused for its password", good, "GET http://user:password@h/ HTTP/1.1\r\nHost: h\r\n\r\n", true,
			map[string]any{"path": nil, "host": "h", "status": 400.}},
		{"not understood at all", good, "GET\r\n\r\n", true,
			map[string]any{"client": "127.0.0.1", "status": 400., "reason": "bad_request", "method": nil, "path": nil, "host": nil, "proto": nil, "bytes_in": 7., "duration_ms": brief}},
	} {
		for _, access := range []Access{AccessOff, AccessErrors, AccessAll} {
			t.Run(test.name+" "+string(access), func(t *testing.T) {
				o := testOptions(test.backend)
				o.Server.TrustedProxies = prefixes("127.0.0.1")
				o.Access = access
				_, got := logged(t, o, test.request)
				if wanted := access == AccessAll || access == AccessErrors && test.isError; !wanted {
					if len(got) != 0 {
						t.Errorf("logged %v", got)
					}
					return
				}
				if len(got) != 1 {
					t.Fatalf("%d lines: %v", len(got), got)
				}
				checkLine(t, got[0], test.want)
			})
		}
	}
}

// TestAccessLogOfHostileBytes has a line of valid JSON for whatever a client sends.
func TestAccessLogOfHostileBytes(t *testing.T) {
	good := startRawBackend(t, answerAll("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	const quoted, control, invalid, wide = "\"a\"\\", "\x01\x1b[31m\x7f", "\xff\xfe\xc3", "\u00e9\u2028"
	replaced := strings.Repeat("\ufffd", 3)
	for _, test := range []struct {
		request string
		want    map[string]any
	}{
		{"GET /" + quoted + " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", map[string]any{"path": "/" + quoted, "status": 200.}},
		{"GET /" + control + " HTTP/1.1\r\nHost: h\r\n\r\n", map[string]any{"status": 400.}},
		{"GET /" + invalid + " HTTP/1.1\r\nHost: h\r\n\r\n", map[string]any{"path": "/" + replaced, "status": 400.}},
		{"GET /" + wide + " HTTP/1.1\r\nHost: h\r\n\r\n", map[string]any{"path": "/" + wide, "status": 400.}},
		{"GET / HTTP/1.1\r\nHost: " + quoted + "\r\n\r\n", map[string]any{"status": 400.}},
		{"GET / HTTP/1.1\r\nHost: " + invalid + "\r\n\r\n", map[string]any{"host": replaced, "status": 400.}},
		{"G" + quoted + " / HTTP/1.1\r\nHost: h\r\n\r\n", map[string]any{"status": 400.}},
		{"G" + invalid + " / HTTP/1.1\r\nHost: h\r\n\r\n", map[string]any{"status": 400.}},
		{"G" + control + " / HTTP/1.1\r\nHost: h\r\n\r\n", map[string]any{"status": 400.}},
		{"GET / " + invalid + "\r\nHost: h\r\n\r\n", map[string]any{"status": 400.}},
	} {
		t.Run(fmt.Sprintf("%.20q", test.request), func(t *testing.T) {
			o := testOptions(good)
			o.Access = AccessAll
			_, got := logged(t, o, test.request)
			if len(got) != 1 {
				t.Fatalf("%d lines: %v", len(got), got)
			}
			checkLine(t, got[0], test.want)
		})
	}
}

// TestAccessLogBytes compares what is logged with what has gone over the wire.
func TestAccessLogBytes(t *testing.T) {
	const end = "Host: h\r\nConnection: close\r\n\r\n"
	body := strings.Repeat("x", 100_000)
	for _, test := range []struct {
		name, requests string
		backend        func(net.Conn)
		framing        int // bytes of the last request's chunked coding
	}{
		{"no body", "GET / HTTP/1.1\r\n" + end, answerAll("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), 0},
		{"behind an empty line", "\r\nGET / HTTP/1.1\r\n" + end, answerAll("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), 0},
		{"chunked answer", "GET / HTTP/1.1\r\n" + end, answerOnce("HTTP/1.1 200 OK\r\n\r\n" + body), 0},
		{"behind 103", "GET / HTTP/1.1\r\n" + end, answerAll("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"), 0},
		{"small body", "POST / HTTP/1.1\r\nContent-Length: 5\r\n" + end + "hello", readAndAnswer, 0},
		{"large body", "POST / HTTP/1.1\r\nContent-Length: 100000\r\n" + end + body, readAndAnswer, 0},
		{"chunked body", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + end + "5\r\nhello\r\n6\r\n, moon\r\n0\r\n\r\n", readAndAnswer, len("5\r\n\r\n6\r\n\r\n0\r\n\r\n")},
		{"refused", "POST / HTTP/1.1\r\nContent-Length: 5\r\nExpect: cake\r\n" + end, readAndAnswer, 0},
		{"the second of two", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhelloPOST / HTTP/1.1\r\nContent-Length: 6\r\n" + end + ", moon", readAndAnswer, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := testOptions(startRawBackend(t, test.backend))
			o.Access = AccessAll
			answers, lines := logged(t, o, test.requests)
			var in, out float64
			for _, line := range lines {
				in += line["bytes_in"].(float64)
				out += line["bytes_out"].(float64)
			}
			if want := len(test.requests) - test.framing; in != float64(want) || out != float64(len(answers)) {
				t.Errorf("bytes_in %g, want %d; bytes_out %g, want %d", in, want, out, len(answers))
			}
		})
	}
	t.Run("100 Continue", func(t *testing.T) {
		var log logLines
		o := testOptions(startRawBackend(t, readAndAnswer))
		o.Access, o.Log = AccessAll, zerolog.New(&log)
		_, address := startProxy(t, o)
		w := newWire(t, address)
		const request = "POST / HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n" + end
		w.send(request)
		got := make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))
		if _, err := io.ReadFull(w.in, got); err != nil {
			t.Fatal(err)
		}
		w.send("hello")
		rest, _ := io.ReadAll(w.in)
		eventually(t, "the line", func() bool { return len(log.parsed(t)) == 1 })
		checkLine(t, log.parsed(t)[0], map[string]any{"bytes_in": float64(len(request) + 5), "bytes_out": float64(len(got) + len(rest))})
	})
	t.Run("API", func(t *testing.T) {
		o := testOptions("http://" + closedPort(t))
		o.Access, o.API = AccessAll, apiOf(echoAPI)
		_, lines := logged(t, o, "POST /v1/api/ HTTP/1.1\r\nContent-Length: 5\r\n"+end+"hello")
		checkLine(t, lines[0], map[string]any{"path": "/v1/api/", "status": 201., "pool": nil, "bytes_out": float64(len("/v1/api/ hello"))})
	})
}

// TestDurations has requests that end in all ways, each of which takes as long as is logged and
// counted.
func TestDurations(t *testing.T) {
	const held = 300 * time.Millisecond
	// hold waits a little longer than the time that is to be told: the proxy may begin to count
	// when the client already waits.
	hold := func() { time.Sleep(held + held/10) }
	const ms = float64(held / time.Millisecond)
	long := interval{ms, 10 * ms}
	watched := interval{float64(wire.WatchAfter / time.Millisecond), 10 * ms} // a client is watched only then
	short := interval{0, ms * 9 / 10}
	silent := func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }
	half := func(conn net.Conn) {
		_, _ = readRequestHeader(bufio.NewReader(conn))
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
	}
	for _, test := range []struct {
		name    string
		change  func(*Options)
		backend func(net.Conn)
		client  func(*rawClient)
		want    map[string]any
	}{
		{"client gone before the answer", nil, silent, func(w *rawClient) {
			w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			hold()
		}, map[string]any{"reason": "client_gone", "status": 499., "bytes_out": 0., "duration_ms": watched}},
		{"client gone within the answer", nil, func(conn net.Conn) { half(conn); silent(conn) }, func(w *rawClient) {
			w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			_, _ = w.in.ReadByte()
			hold()
		}, map[string]any{"reason": "client_gone", "status": 200., "duration_ms": watched}},
		{"client gone within its body", nil, silent, func(w *rawClient) {
			w.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\nhalf")
			hold()
		}, map[string]any{"reason": "client_gone", "status": 499., "bytes_in": 56., "duration_ms": long}},
		{"client gone within its small body", nil, silent, func(w *rawClient) {
			w.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf")
			hold()
		}, map[string]any{"reason": "client_gone", "status": 499., "duration_ms": long}},
		{"client that does not read", func(o *Options) { o.Server.BodyTimeout = held }, func(conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
			_, _ = io.Copy(conn, zeros{})
		}, func(w *rawClient) {
			w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			hold()
			hold()
		}, map[string]any{"reason": "client_gone", "status": 200., "duration_ms": long}},
		{"broken off", nil, func(conn net.Conn) { half(conn); hold() }, func(w *rawClient) {
			w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			_, _ = io.ReadAll(w.in)
		}, map[string]any{"reason": "backend_aborted", "status": 200., "level": "error", "duration_ms": long}},
		{"body that is late", func(o *Options) { o.Server.BodyTimeout = held }, silent, func(w *rawClient) {
			w.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n")
			w.receive("POST")
		}, map[string]any{"reason": "request_timeout", "status": 408., "duration_ms": long}},
		{"header that is late", func(o *Options) { o.Server.ReadHeaderTimeout = held }, silent, func(w *rawClient) {
			w.send("GET")
			w.receive("GET")
		}, map[string]any{"reason": "request_timeout", "status": 408., "bytes_in": 3., "duration_ms": short}},
		{"body that is late behind the answer", func(o *Options) { o.Limiter = limits(1, 0.0001) }, half, func(w *rawClient) {
			w.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
			_, _ = io.ReadAll(w.in)
			w = newWire(w.t, w.RemoteAddr().String())
			w.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n")
			w.receive("POST")
			hold()
			w.send("xxxxxxxxxx")
			w.Close()
		}, map[string]any{"reason": "limited", "status": 429., "bytes_in": 58., "duration_ms": short}},
		{"tunnel", nil, func(conn net.Conn) {
			in := bufio.NewReader(conn)
			_, _ = readRequestHeader(in)
			_, _ = io.WriteString(conn, switched+"hello")
			_, _ = io.Copy(conn, in)
		}, func(w *rawClient) {
			w.send(upgradeRequest + "early")
			w.receive("GET")
			_, _ = io.ReadFull(w.in, make([]byte, len("helloearly")))
			hold()
			w.send("late")
			_, _ = io.ReadFull(w.in, make([]byte, len("late")))
		}, map[string]any{"reason": nil, "status": 101., "level": "info", "duration_ms": long,
			"bytes_in": float64(len(upgradeRequest + "earlylate")), "bytes_out": float64(len(switched+"helloearlylate") + idSize)}},
		{"tunnel in silence", func(o *Options) {
			pool := o.Pools["main"]
			pool.Timeouts.Tunnel = held
			o.Pools["main"] = pool
		}, func(conn net.Conn) {
			_, _ = readRequestHeader(bufio.NewReader(conn))
			_, _ = io.WriteString(conn, switched)
			silent(conn)
		}, func(w *rawClient) {
			w.send(upgradeRequest)
			w.receive("GET")
			w.mustEnd()
		}, map[string]any{"reason": "tunnel_timeout", "status": 101., "duration_ms": long}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if test.want["duration_ms"] == watched && runtime.GOOS != "linux" {
				t.Skip("clients are watched on Linux alone")
			}
			var log logLines
			o := testOptions(startRawBackend(t, test.backend))
			o.Access, o.Log = AccessAll, zerolog.New(&log)
			if test.change != nil {
				test.change(&o)
			}
			p, address := startProxy(t, o)
			w := newWire(t, address)
			test.client(w)
			w.Close()
			eventually(t, "the connections to end", func() bool { return metric(p, "lb_connections") == "0" })
			lines, seconds := log.parsed(t), 0.
			for _, line := range lines {
				seconds += line["duration_ms"].(float64) / 1000
			}
			checkLine(t, lines[len(lines)-1], test.want)
			var counted float64
			for series, value := range metricsOf(t, p) {
				if strings.HasPrefix(series, "lb_request_duration_seconds_sum") {
					counted += value
				}
			}
			if counted < seconds || counted > seconds+0.001*float64(len(lines)) {
				t.Errorf("lb_request_duration_seconds is %g in sum, the log says %g", counted, seconds)
			}
		})
	}
}
