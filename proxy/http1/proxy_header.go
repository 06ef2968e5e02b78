package http1

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/pires/go-proxyproto"
)

// Sizes of a PROXY header, in bytes. In version 1 it is a line of at most 107 (proxy-protocol.txt,
// section 2.1). Version 2 allows 64 KiB (section 2.2), far more than any proxy sends.
const (
	maxProxyLine   = 107
	proxyPrefix    = 16 // of version 2: signature, command, family and length
	maxProxyHeader = 4 << 10
)

var errProxyHeader = errors.New("the connection does not begin with a valid PROXY header")

// readProxyHeader waits for the PROXY header and takes the address in it as the peer's. The
// balancer never guesses whether there is one: a client that could choose would choose its own
// address (proxy-protocol.txt, section 2). Bytes after the header stay in c.in. p is room to read
// into, so that a silent connection holds no buffer.
func (c *clientConn) readProxyHeader(p []byte) error {
	if c.headerBy.IsZero() {
		c.boundHeader()
	}
	for {
		have := c.in.buffered()
		size, err := proxyHeaderSize(have)
		if err != nil {
			return err
		}
		if size > 0 {
			return c.takeProxyHeader(have[:size])
		}
		n, err := c.Conn.Read(p[:min(len(p), streamBufferSize-len(have))])
		c.in.keep(p[:n])
		if n == 0 && err != nil {
			if len(have) > 0 {
				err = fmt.Errorf("%w: %w", errProxyHeader, err)
			}
			return err
		}
	}
}

func (c *clientConn) takeProxyHeader(header []byte) error {
	source, err := sourceOf(header)
	if err != nil {
		return err
	}
	if source.IsValid() {
		c.peer = source
	}
	c.awaitsProxy, c.forwarded = false, true
	c.in.r += len(header)
	if c.in.r < c.in.w {
		c.used.Store(true)
	}
	c.in.settle()
	return nil
}

// proxyHeaderSize returns the length of the PROXY header that b begins with, or 0 if it is
// incomplete. Bytes that cannot become one are an error at once.
func proxyHeaderSize(b []byte) (int, error) {
	switch {
	case beginsLike(b, proxyproto.SIGV2):
		if len(b) < proxyPrefix {
			return 0, nil
		}
		size := proxyPrefix + int(binary.BigEndian.Uint16(b[proxyPrefix-2:]))
		if size > maxProxyHeader {
			return 0, errProxyHeader
		}
		if len(b) < size {
			return 0, nil
		}
		return size, nil
	case beginsLike(b, proxyproto.SIGV1):
		end := indexNewline(b[:min(len(b), maxProxyLine)])
		if end < 0 && len(b) >= maxProxyLine {
			return 0, errProxyHeader
		}
		return end + 1, nil
	}
	return 0, errProxyHeader
}

// beginsLike reports whether b agrees with the signature, as far as both go.
func beginsLike(b, signature []byte) bool {
	n := min(len(b), len(signature))
	return bytes.Equal(b[:n], signature[:n])
}

// sourceOf parses a complete PROXY header. It returns the zero address if the socket's own address
// counts: the proxy speaks for itself (LOCAL), does not know its client (UNKNOWN, UNSPEC), or its
// client did not come by TCP.
func sourceOf(header []byte) (netip.Addr, error) {
	if lacksSource(header) {
		return netip.Addr{}, nil
	}
	h, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(header), maxProxyLine))
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%w: %w", errProxyHeader, err)
	}
	if tcp, ok := h.SourceAddr.(*net.TCPAddr); ok && h.Command.IsProxy() {
		return addrOf(tcp), nil
	}
	return netip.Addr{}, nil
}

// lacksSource reports whether a version 2 header carries no address that counts, so that the
// receiver uses the connection's own (section 2.2): the command is LOCAL, whatever the family, or
// the family is AF_UNSPEC, whatever the transport. The parser rejects some of these.
func lacksSource(header []byte) bool {
	if header[0] != proxyproto.SIGV2[0] {
		return false
	}
	command, family := proxyproto.ProtocolVersionAndCommand(header[12]), header[13]>>4
	return command == proxyproto.LOCAL || command == proxyproto.PROXY && family == 0
}
