package proxy

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"
)

// logLines collects a log.
type logLines struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

// parsed returns the lines so far.
func (l *logLines) parsed(t *testing.T) (all []map[string]any) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range bytes.Lines(l.all.Bytes()) {
		var m map[string]any
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		all = append(all, m)
	}
	return all
}

// logged sends requests that end their connection. It returns the answers and the
// lines of the access log.
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
	host := func(url string) string { return strings.TrimPrefix(url, "http://") }
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

// brief stands for the duration of a request for which nothing was waited.
var brief = interval{0, 1000}

// interval stands for a number of milliseconds from and up to these.
type interval struct{ from, to float64 }

// checkLine compares the fields that are wanted; nil: the field is absent.
func checkLine(t *testing.T, line, want map[string]any) {
	t.Helper()
	for key, value := range want {
		got, there := line[key]
		switch value := value.(type) {
		case nil:
			if there {
				t.Errorf("%s is there: %v", key, got)
			}
		case interval:
			if ms, ok := got.(float64); !ok || ms < value.from || ms > value.to {
				t.Errorf("%s is %v, want %g to %g", key, got, value.from, value.to)
			}
		default:
			if got != value {
				t.Errorf("%s is %v, want %v", key, got, value)
			}
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

// readAndAnswer reads requests with their bodies and answers each.
func readAndAnswer(conn net.Conn) {
	for in := bufio.NewReader(conn); ; {
		if _, _, err := readRequest(in); err != nil {
			return
		}
		if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"); err != nil {
			return
		}
	}
}
