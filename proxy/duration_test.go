package proxy

import (
	"bufio"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"loadbalancer/proxy/wire"
)

// TestDurations has requests that end in all ways, each of which takes as long as is
// logged and counted.
func TestDurations(t *testing.T) {
	const held = 300 * time.Millisecond
	hold := func() { time.Sleep(held) } // the time that is to be told
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
			"bytes_in": float64(len(upgradeRequest + "earlylate")), "bytes_out": float64(len(switched + "helloearlylate"))}},
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
