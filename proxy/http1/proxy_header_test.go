package http1

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
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

// TestProxyHeaderInPieces cuts a header and what follows it at every byte: the
// reader gets every byte behind the header, and none of it.
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

// TestLargeReadWithinProxyHeader brings more than a buffer holds behind a part of
// the header.
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
