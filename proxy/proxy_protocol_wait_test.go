package proxy

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
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

// deadlineConn notes the deadlines that are set.
type deadlineConn struct {
	*piecesConn
	set []time.Time
}

func (c *deadlineConn) SetReadDeadline(by time.Time) error {
	c.set = append(c.set, by)
	return nil
}

// TestOneDeadlineForBothHeaders does not let a proxy begin anew with each piece.
func TestOneDeadlineForBothHeaders(t *testing.T) {
	conn := &deadlineConn{piecesConn: newPieces(proxyV1+pipelinedGet, 5, 10, len(proxyV1), len(proxyV1)+4)}
	c := newTellingConn(conn)
	if got, err := io.ReadAll(c); err != nil || string(got) != pipelinedGet {
		t.Fatalf("got %q, %v", got, err)
	}
	if len(conn.set) != 1 {
		t.Errorf("the deadlines %v were set, want one", conn.set)
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

// FuzzProxyHeader begins a connection with any bytes. No more is buffered than a
// header and one read; what is accepted is a header to the parser of go-proxyproto
// too, and every byte behind it is handed on.
func FuzzProxyHeader(f *testing.F) {
	for _, header := range []string{
		proxyV1, "PROXY UNKNOWN\r\n", "PROXY TCP6 ::1 ::1 1 2\r\n", "PROXY TCP4 192.0.2.1", "PROXY " + strings.Repeat("x", 200), "GET / HTTP/1.1\r\n",
		proxyV2(proxied, tcp4, v4Block), proxyV2(proxied, tcp6, v6Block(ipv6)+tlv), proxyV2(local, unspec, ""), proxyV2(local, tcp6, "abc"),
		proxyV2(proxied, unspec, tlv), proxyV2(proxied, 0x01, ""), proxyV2(local, 0x99, ""), proxyV2(proxied, 0x31, strings.Repeat("/", 216)), proxyV2(proxied, tcp4, v4Block)[:20],
		proxyV2(proxied, tcp4, strings.Repeat("x", 5000)), "\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff",
	} {
		f.Add([]byte(header+pipelinedGet), uint16(len(header)/2), uint16(len(header)))
	}
	f.Fuzz(func(t *testing.T, raw []byte, first, second uint16) {
		in := newPieces(string(raw), int(min(first, second)), int(max(first, second)))
		c := newTellingConn(in)
		room := make([]byte, 2*streamBufferSize)
		err := c.readProxyHeader(room)
		if n := len(c.in.buffered()); n > streamBufferSize {
			t.Fatalf("%d bytes are buffered", n)
		}
		if err != nil {
			return
		}
		rest := string(c.in.buffered()) + in.unread()
		header, ok := bytes.CutSuffix(raw, []byte(rest))
		if !ok || len(header) > maxProxyHeader {
			t.Fatalf("of %q is left %q", raw, rest)
		}
		if v2, ok := bytes.CutPrefix(header, []byte("\r\n\r\n\x00\r\nQUIT\n")); ok && (v2[0] == local || v2[0] == proxied && v2[1]&0xf0 == unspec) {
			if c.peer.IsValid() {
				t.Errorf("%q tells of %s", header, c.peer)
			}
			return // the parser refuses some of these, and we do not
		}
		reader := bufio.NewReaderSize(bytes.NewReader(raw), streamBufferSize)
		want, err := proxyproto.Read(reader)
		if err != nil {
			t.Fatalf("%q is accepted, but: %v", header, err)
		}
		if left, _ := io.ReadAll(reader); string(left) != rest {
			t.Errorf("%q is left, want %q", rest, left)
		}
		if tcp, isTCP := want.SourceAddr.(*net.TCPAddr); want.Command.IsProxy() && isTCP && c.peer != addrOf(tcp) {
			t.Errorf("the peer is %s, want %s", c.peer, tcp)
		}
	})
}
