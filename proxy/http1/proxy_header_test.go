package http1

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
)

// proxyV2 is a PROXY header of version 2, made byte by byte from section 2.2.
func proxyV2(command, family byte, rest string) string {
	h := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), command, family)
	return string(binary.BigEndian.AppendUint16(h, uint16(len(rest)))) + rest
}

const (
	local, proxied = 0x20, 0x21
	unspec         = 0x00
	tcp4, tcp6     = 0x11, 0x21

	proxyV1    = "PROXY TCP4 192.0.2.1 203.0.113.1 4711 80\r\n"
	v4Block    = "\xc0\x00\x02\x01" + "\xcb\x00\x71\x01" + "\x12\x67\x00\x50"
	ipv6       = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07"
	mappedIPv4 = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\x00\x02\x01"
	tlv        = "\x04\x00\x05noop!" // PP2_TYPE_NOOP
)

func v6Block(source string) string { return source + ipv6 + "\x12\x67\x00\x50" }

const getPath = "GET /p HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n"

// telling is a server whose connections begin with a PROXY header. It answers with the peer and the
// target of each request that passes the guard, and refuses the others.
type telling struct {
	address   string
	told, bad atomic.Int64
}

func startTelling(t *testing.T) *telling {
	t.Helper()
	server := &telling{}
	_, server.address = startServer(t, Options{
		Bounds:  Bounds{ReadHeaderTimeout: time.Minute},
		Proxied: func(netip.Addr) bool { return true },
		Handle: func(s ends.Stream) {
			defer s.End()
			if why := s.Guard(testLimits); why != reason.None {
				if why == reason.BadRequest {
					server.bad.Add(1)
				}
				refuse(s, why)
				return
			}
			server.told.Add(1)
			body := fmt.Sprint(s.Peer(), " ", string(s.Request.Target))
			s.EndHeader(fmt.Appendf(s.Begin(message.FixedLength, true), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n", len(body)), 200)
			s.Add(append(s.Room(), body...))
			s.FlushAhead(0, true)
		},
	})
	return server
}

// talk sends bytes on a new connection and returns all that comes back until the server closes it.
func (s *telling) talk(t *testing.T, request string) string {
	t.Helper()
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil && !strings.Contains(err.Error(), "reset") {
		t.Fatalf("after %q: %v", answer, err)
	}
	return string(answer)
}

func TestProxyHeader(t *testing.T) {
	server := startTelling(t)
	for _, test := range []struct{ name, header, want string }{
		{"v1 IPv4", proxyV1, "192.0.2.1"},
		{"v1 IPv6", "PROXY TCP6 2001:db8::7 2001:db8::8 65535 0\r\n", "2001:db8::7"},
		{"v1 longest IPv6", "PROXY TCP6 2001:0db8:0000:0000:0000:0000:0000:0007 2001:0db8:0000:0000:0000:0000:0000:0008 65535 65535\r\n", "2001:db8::7"},
		{"v1 IPv4-mapped", "PROXY TCP6 ::ffff:192.0.2.1 ::ffff:203.0.113.1 4711 80\r\n", "192.0.2.1"},
		{"v1 unknown", "PROXY UNKNOWN\r\n", "127.0.0.1"},
		{"v1 unknown, longest", "PROXY UNKNOWN " + strings.Repeat("f", 91) + "\r\n", "127.0.0.1"},
		{"v2 IPv4", proxyV2(proxied, tcp4, v4Block), "192.0.2.1"},
		{"v2 IPv6", proxyV2(proxied, tcp6, v6Block(ipv6)), "2001:db8::7"},
		{"v2 IPv4-mapped", proxyV2(proxied, tcp6, v6Block(mappedIPv4)), "192.0.2.1"},
		{"v2 with TLVs", proxyV2(proxied, tcp4, v4Block+tlv+tlv), "192.0.2.1"},
		{"v2 with a broken TLV", proxyV2(proxied, tcp4, v4Block+"\x04\xff\xff"), "192.0.2.1"},
		{"v2 longest", proxyV2(proxied, tcp4, v4Block+strings.Repeat("x", 4<<10-16-len(v4Block))), "192.0.2.1"},
		{"v2 local", proxyV2(local, unspec, ""), "127.0.0.1"},
		{"v2 local with addresses", proxyV2(local, tcp4, v4Block), "127.0.0.1"},
		{"v2 local with less than addresses", proxyV2(local, tcp6, "abc"), "127.0.0.1"},
		{"v2 unspecified", proxyV2(proxied, unspec, ""), "127.0.0.1"},
		{"v2 unspecified with TLVs", proxyV2(proxied, unspec, tlv), "127.0.0.1"},
		{"v2 unspecified stream", proxyV2(proxied, 0x01, ""), "127.0.0.1"},
		{"v2 unspecified stream with TLVs", proxyV2(proxied, 0x01, tlv), "127.0.0.1"},
		{"v2 unspecified datagram", proxyV2(proxied, 0x02, v4Block), "127.0.0.1"},
		{"v2 unspecified, any transport", proxyV2(proxied, 0x0f, ""), "127.0.0.1"},
		{"v2 local of an unknown family", proxyV2(local, 0x99, ""), "127.0.0.1"},
		{"v2 local stream", proxyV2(local, 0x01, "abc"), "127.0.0.1"},
		{"v2 unix", proxyV2(proxied, 0x31, strings.Repeat("/", 216)), "127.0.0.1"},
		{"v2 UDP", proxyV2(proxied, 0x12, v4Block), "127.0.0.1"},
		{"address of a proxy", "PROXY TCP4 10.0.0.1 203.0.113.1 4711 80\r\n", "10.0.0.1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := server.talk(t, test.header+getPath); !strings.HasSuffix(got, "\r\n\r\n"+test.want+" /p") {
				t.Errorf("got %q, want the peer %s", got, test.want)
			}
		})
	}
}

// TestBadProxyHeader wants 400 for all that a trusted proxy must not send, and no guess at what it
// meant.
func TestBadProxyHeader(t *testing.T) {
	server := startTelling(t)
	headers := []string{
		"", "\r\n", "\x16\x03\x01", "proxy TCP4 192.0.2.1 203.0.113.1 4711 80\r\n", "PROXY\r\n", "PROXY \r\n", "PROXYUNKNOWN\r\n",
		"PROXY  TCP4 192.0.2.1 203.0.113.1 4711 80\r\n", "PROXY TCP5 192.0.2.1 203.0.113.1 4711 80\r\n", "PROXY UDP4 192.0.2.1 203.0.113.1 4711 80\r\n",
		"PROXY TCP4 192.0.2.1 203.0.113.1 4711\r\n", "PROXY TCP4 192.0.2.1 203.0.113.1 4711 80 1\r\n", "PROXY TCP4 192.0.2.1 203.0.113.1 4711 65536\r\n",
		"PROXY TCP4 192.0.2.01 203.0.113.1 4711 80\r\n", "PROXY TCP4 ::1 ::1 4711 80\r\n", "PROXY TCP6 192.0.2.1 203.0.113.1 4711 80\r\n",
		"PROXY TCP6 fe80::1%eth0 ::1 4711 80\r\n", "PROXY TCP4 localhost 203.0.113.1 4711 80\r\n", strings.TrimSuffix(proxyV1, "\r\n") + "\n",
		"PROXY UNKNOWN " + strings.Repeat("f", 92) + "\r\n", " " + proxyV1, "\r\n" + proxyV1, proxyV1 + proxyV1, proxyV1 + proxyV2(local, unspec, ""),
		proxyV2(0x11, tcp4, v4Block), proxyV2(0x22, tcp4, v4Block), proxyV2(proxied, 0x13, v4Block), proxyV2(proxied, 0x41, v4Block), proxyV2(0x22, 0x01, ""), proxyV2(0x11, 0x01, ""), proxyV2(0x01, unspec, ""),
		proxyV2(proxied, tcp4, v4Block[:11]), proxyV2(proxied, tcp6, v4Block), proxyV2(proxied, 0x31, v4Block),
		proxyV2(proxied, tcp4, strings.Repeat("x", 4<<10-16+1)), proxyV2(local, unspec, strings.Repeat("x", 65535)),
		strings.Replace(proxyV2(local, unspec, ""), "QUIT", "QUIZ", 1),
	}
	for _, header := range headers {
		got := server.talk(t, header+getPath)
		if !strings.HasPrefix(got, "HTTP/1.1 400 ") || strings.Contains(got, "HTTP/1.1 200 ") {
			t.Errorf("%.60q: got %q", header, got)
		}
	}
	if n := server.told.Load(); n != 0 {
		t.Errorf("%d requests passed the guard", n)
	}
	if n := server.bad.Load(); n != int64(len(headers)) {
		t.Errorf("%d bad requests, want %d", n, len(headers))
	}
}

// TestProxyHeaderInPieces cuts a header and what follows it at every byte: the reader gets every
// byte behind the header, and none of it.
func TestProxyHeaderInPieces(t *testing.T) {
	for _, header := range []string{proxyV1, proxyV2(proxied, tcp4, v4Block+tlv)} {
		all := header + pipelinedGet
		every := make([]int, len(all)-1)
		for i := range every {
			every[i] = i + 1
		}
		cuts := [][]int{nil, every}
		for _, cut := range every {
			cuts = append(cuts, []int{cut})
		}
		for _, cut := range cuts {
			c := newTellingConn(newPieces(all, cut...))
			got, err := io.ReadAll(c)
			if err != nil || string(got) != pipelinedGet || c.peer != netip.MustParseAddr("192.0.2.1") {
				t.Fatalf("cut at %v: got %q from %s, %v", cut, got, c.peer, err)
			}
			if c.in.buf != nil || !c.used.Load() {
				t.Fatalf("cut at %v: an empty buffer is kept, or the connection counts as unused", cut)
			}
		}
	}
}

// TestLargeReadWithinProxyHeader brings more than a buffer holds behind a part of the header.
func TestLargeReadWithinProxyHeader(t *testing.T) {
	behind := strings.Repeat("x", 2*streamBufferSize)
	in := newPieces(proxyV1+behind, 10)
	c := newTellingConn(in)
	if err := c.readProxyHeader(make([]byte, 2*streamBufferSize)); err != nil {
		t.Fatal(err)
	}
	if n := len(c.in.buffered()) + len(in.unread()); n != len(behind) {
		t.Errorf("%d bytes are left, want %d", n, len(behind))
	}
}

// newTellingConn is a client's connection that has to begin with a PROXY header.
func newTellingConn(conn net.Conn) *clientConn {
	c := newTestConn(conn)
	c.awaitsProxy, c.peer = true, netip.Addr{}
	return c
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

// FuzzProxyHeader begins a connection with any bytes. No more is buffered than a header and one
// read; what is accepted is a header to the parser of go-proxyproto too, and every byte behind it
// is handed on.
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
