package proxy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// tellingOptions are testOptions for clients that begin with a PROXY header.
func tellingOptions(backends ...string) Options {
	o := testOptions(backends...)
	o.Server.ProxyProtocol = true
	o.Server.TrustedProxies = prefixes("127.0.0.1", "10.0.0.0/8")
	return o
}

// PROXY headers that tell of 192.0.2.1, and one of version 2 that tells no address.
const (
	proxyV1      = "PROXY TCP4 192.0.2.1 203.0.113.1 4711 80\r\n"
	proxyV2      = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + "\xc0\x00\x02\x01" + "\xcb\x00\x71\x01" + "\x12\x67\x00\x50"
	proxyV2Local = "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
)

// tellForwarded answers with what came as X-Forwarded-For, and the path.
func tellForwarded(w http.ResponseWriter, r *http.Request) {
	fmt.Fprint(w, strings.Join(r.Header["X-Forwarded-For"], "|"), " ", r.URL.Path)
}

// TestNoProxyHeaderExpected covers peers that must not send a PROXY header: one from them is a bad
// request.
func TestNoProxyHeaderExpected(t *testing.T) {
	url := startBackend(t, tellForwarded)
	for name, change := range map[string]func(*ServerConfig){
		"untrusted":  func(c *ServerConfig) { c.TrustedProxies = prefixes("10.0.0.1") },
		"turned off": func(c *ServerConfig) { c.ProxyProtocol = false },
	} {
		t.Run(name, func(t *testing.T) {
			o := tellingOptions(url)
			change(&o.Server)
			_, address := startProxy(t, o)
			for _, header := range []string{proxyV1, "PROXY UNKNOWN\r\n", proxyV2, proxyV2Local} {
				if got := talk(t, address, header+get("/")); !strings.HasPrefix(got, "HTTP/1.1 400 ") || strings.Contains(got, "200 OK") {
					t.Errorf("%q: got %q", header, got)
				}
			}
			if got := talk(t, address, get("/")); !strings.HasSuffix(got, "127.0.0.1 /") {
				t.Errorf("without a header: got %q", got)
			}
		})
	}
}

// TestRequestsBehindProxyHeader come in one segment with it, the last in pieces.
func TestRequestsBehindProxyHeader(t *testing.T) {
	_, address := startProxy(t, tellingOptions(startBackend(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprint(w, r.Header.Get("X-Forwarded-For"), " ", r.URL.Path, " ", string(body))
	})))
	w := newWire(t, address)
	w.send(proxyV1 + pipelinedGet + pipelinedFixed + pipelinedChunk + "\r\n" + pipelinedLast[:9])
	for _, want := range []string{"192.0.2.1 /one ", "192.0.2.1 /two GET / H", "192.0.2.1 /three abcdefg"} {
		if got := w.receive("GET"); string(got.body) != want {
			t.Errorf("got %q, want %q", got.body, want)
		}
	}
	for _, b := range pipelinedLast[9:] {
		w.send(string(b))
	}
	if got := w.receive("GET"); string(got.body) != "192.0.2.1 /four " {
		t.Errorf("got %q", got.body)
	}
	w.mustEnd()
}

// TestToldPeerIsThePeer to all that goes by it: the limits, X-Forwarded-For and whether that is
// believed, and the access log.
func TestToldPeerIsThePeer(t *testing.T) {
	log := &logLines{}
	o := tellingOptions(startBackend(t, tellForwarded))
	o.Limiter = limits(1, 0.001)
	o.Access, o.Log = AccessAll, zerolog.New(log)
	_, address := startProxy(t, o)
	for i, test := range []struct {
		peer, forwarded, client string
		status                  int
		seen                    string
	}{
		{"192.0.2.1", "", "192.0.2.1", 200, "192.0.2.1"},
		{"192.0.2.2", "", "192.0.2.2", 200, "192.0.2.2"},
		{"192.0.2.1", "", "192.0.2.1", 429, ""},
		{"192.0.2.1", "203.0.113.1", "192.0.2.1", 429, ""},
		{"192.0.2.3", "203.0.113.1", "192.0.2.3", 200, "192.0.2.3"},
		{"10.0.0.1", "203.0.113.1", "203.0.113.1", 200, "203.0.113.1, 10.0.0.1"},
		{"10.0.0.2", "203.0.113.1", "203.0.113.1", 429, ""},
		{"127.0.0.1", "203.0.113.2, 192.0.2.4", "192.0.2.4", 200, "203.0.113.2, 192.0.2.4, 127.0.0.1"},
	} {
		w := newWire(t, address)
		w.send(fmt.Sprintf("PROXY TCP4 %s 203.0.113.9 4711 80\r\nGET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: %s\r\nConnection: close\r\n\r\n", test.peer, test.forwarded))
		got := w.receive("GET")
		if got.StatusCode != test.status || test.status == 200 && string(got.body) != test.seen+" /" {
			t.Errorf("%s for %q: got %d %q", test.peer, test.forwarded, got.StatusCode, got.body)
		}
		eventually(t, "the line of the access log", func() bool { return len(log.parsed(t)) == i+1 })
		if logged := log.parsed(t)[i]["client"]; logged != test.client {
			t.Errorf("%s for %q: logged as %v, want %s", test.peer, test.forwarded, logged, test.client)
		}
	}
}

// TestProxyHeaderOverUnixSocket is wanted where 127.0.0.1 is trusted.
func TestProxyHeaderOverUnixSocket(t *testing.T) {
	url := startBackend(t, tellForwarded)
	for trusted, want := range map[string][2]string{ // the answers with and without a header
		"127.0.0.1": {"192.0.2.1 /", "400 Bad Request"},
		"10.0.0.1":  {"400 Bad Request", "127.0.0.1 /"},
	} {
		o := tellingOptions(url)
		o.Server.TrustedProxies = prefixes(trusted)
		path := filepath.Join(t.TempDir(), "s")
		ln, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		startProxyOn(t, o, ln)
		for i, header := range []string{proxyV1, ""} {
			conn, err := net.Dial("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(conn, header+get("/")); err != nil {
				t.Fatal(err)
			}
			got, _ := io.ReadAll(conn)
			conn.Close()
			if !strings.Contains(string(got), want[i]) {
				t.Errorf("%s trusted, header %q: got %q, want %q", trusted, header, got, want[i])
			}
		}
	}
}

// TestProxyHeaderTimeout has connections that stop at every stage. They end within
// read_header_timeout; a peer that has begun to send is told why.
func TestProxyHeaderTimeout(t *testing.T) {
	const limit = 60 * time.Millisecond
	for _, test := range []struct{ name, sent, want string }{
		{"nothing", "", ""},
		{"part of a v1 header", proxyV1[:20], "HTTP/1.1 408 "},
		{"part of a v2 signature", proxyV2Local[:7], "HTTP/1.1 408 "},
		{"v2 header without its end", proxyV2[:20], "HTTP/1.1 408 "},
		{"header alone", proxyV1, ""},
		{"header and part of a request", proxyV1 + "GET / HTTP/1.1\r\nHost:", "HTTP/1.1 408 "},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o := tellingOptions("http://" + closedPort(t))
			o.Server.ReadHeaderTimeout = limit
			p, address := startProxy(t, o)
			start := time.Now()
			got := talk(t, address, test.sent)
			if took := time.Since(start); took < limit/2 || took > limit+2*time.Second {
				t.Errorf("ended after %s, want about %s", took, limit)
			}
			count := "0"
			if test.want != "" {
				count = "1"
			}
			if !strings.HasPrefix(got, test.want) || test.want == "" && got != "" || errorsWith(p, "request_timeout") != count {
				t.Errorf("got %q, and %s errors of request_timeout", got, errorsWith(p, "request_timeout"))
			}
		})
	}
}

// TestEndOfConnectionInProxyHeader checks that a proxy that only tests whether the port answers
// gets no response and counts as no error.
func TestEndOfConnectionInProxyHeader(t *testing.T) {
	p, address := startProxy(t, tellingOptions("http://"+closedPort(t)))
	for _, test := range []struct{ sent, want string }{
		{"", ""}, {proxyV2Local, ""}, {proxyV1, ""}, {proxyV1[:20], "HTTP/1.1 400 "},
	} {
		w := newWire(t, address)
		w.send(test.sent)
		_ = closeWrite(w.Conn)
		if got, err := io.ReadAll(w.in); err != nil || !strings.HasPrefix(string(got), test.want) || test.want == "" && len(got) > 0 {
			t.Errorf("after %q: got %q, %v", test.sent, got, err)
		}
	}
	if got := errorsWith(p, "bad_request"); got != "1" {
		t.Errorf("%s errors of bad_request, want 1", got)
	}
}

// TestSlowProxyHeaderHoldsUpNobody has connections wait in their PROXY header while another is
// served.
func TestSlowProxyHeaderHoldsUpNobody(t *testing.T) {
	_, address := startProxy(t, tellingOptions(startRawBackend(t, answerAll("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))))
	for range 3 {
		newWire(t, address).send(proxyV1[:10])
	}
	if got := talk(t, address, proxyV1+get("/")); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
		t.Errorf("got %q", got)
	}
}

// TestShutdownWithinProxyHeader closes at once what no request has come on.
func TestShutdownWithinProxyHeader(t *testing.T) {
	s := serve(t, tellingOptions("http://"+closedPort(t)))
	for _, sent := range []string{"", proxyV1[:10], proxyV1, proxyV2[:14]} {
		newWire(t, s.address).send(sent)
	}
	eventually(t, "four connections", func() bool { return metric(s.Proxy, "lb_connections") == "4" })
	s.stop()
	if err := s.ended(t, 2*time.Second); err != nil {
		t.Errorf("Serve: %v", err)
	}
}
