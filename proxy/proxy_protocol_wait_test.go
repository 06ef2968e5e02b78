package proxy

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// TestProxyHeaderTimeout has connections that stop at every stage. They end within
// read_header_timeout; a peer that has begun to send is told why.
func TestProxyHeaderTimeout(t *testing.T) {
	const limit = 60 * time.Millisecond
	for _, test := range []struct{ name, sent, want string }{
		{"nothing", "", ""},
		{"part of a v1 header", proxyV1[:20], "HTTP/1.1 408 "},
		{"part of a v2 signature", proxyV2(local, unspec, "")[:7], "HTTP/1.1 408 "},
		{"v2 header without its end", proxyV2(proxied, tcp4, v4Block)[:20], "HTTP/1.1 408 "},
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

// TestEndOfConnectionInProxyHeader: a proxy that only checks whether the port answers gets no
// response and counts as no error.
func TestEndOfConnectionInProxyHeader(t *testing.T) {
	p, address := startProxy(t, tellingOptions("http://"+closedPort(t)))
	for _, test := range []struct{ sent, want string }{
		{"", ""}, {proxyV2(local, unspec, ""), ""}, {proxyV1, ""}, {proxyV1[:20], "HTTP/1.1 400 "},
	} {
		w := newWire(t, address)
		w.send(test.sent)
		_ = w.Conn.(*net.TCPConn).CloseWrite()
		if got, err := io.ReadAll(w.in); err != nil || !strings.HasPrefix(string(got), test.want) || test.want == "" && len(got) > 0 {
			t.Errorf("after %q: got %q, %v", test.sent, got, err)
		}
	}
	if got := errorsWith(p, "bad_request"); got != "1" {
		t.Errorf("%s errors of bad_request, want 1", got)
	}
}

// TestSlowProxyHeaderHoldsUpNobody has connections wait in their PROXY header while
// another is served.
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
	for _, sent := range []string{"", proxyV1[:10], proxyV1, proxyV2(proxied, tcp4, v4Block)[:14]} {
		newWire(t, s.address).send(sent)
	}
	eventually(t, "four connections", func() bool { return metric(s.Proxy, "lb_connections") == "4" })
	s.stop()
	if err := s.ended(t, 2*time.Second); err != nil {
		t.Errorf("Serve: %v", err)
	}
}
