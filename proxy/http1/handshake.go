package http1

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"loadbalancer/proxy/wire"
)

// HandshakeFault is why a connection to a listener of TLS had no handshake.
type HandshakeFault uint8

// The faults, from the one that counts first.
const (
	HandshakeLate    HandshakeFault = iota // it took longer than a header may
	HandshakeGone                          // the client closed the connection
	HandshakeInProxy                       // what came was no PROXY header
	HandshakePlain                         // what came was no TLS, such as HTTP in the clear
	HandshakeDenied                        // the client refused the certificate, or what else it was offered
	HandshakeRefused                       // nothing that the client offered, or no certificate that it showed, is accepted
	handshakeFaults
)

// String returns the fault as metrics have it.
func (f HandshakeFault) String() string {
	return [...]string{"timeout", "gone", "proxy_header", "not_tls", "refused_by_client", "refused"}[f]
}

// handshakes are those of a server. They are safe for concurrent use.
type handshakes struct {
	gate  wire.Gate
	fault [handshakeFaults]atomic.Uint64
	log   zerolog.Logger
}

// Handshake does what comes before the first header on a connection of TLS: the handshake and,
// before it, the PROXY header if one is due. In the clear it looks for the preface of HTTP/2.
// fasthttp calls it first of all, and then asks ConnectionState for the protocol. After an error,
// Read returns that error.
func (c *clientConn) Handshake() error {
	if c.security.Load() != nil { // it was parked since
		return nil
	}
	if c.tls == nil {
		c.http2 = c.mayBeHTTP2 && c.bounds.Load().H2C && c.lastUse.IsZero() && c.beginsHTTP2()
		return nil
	}
	if c.unshaken = c.shake(); c.unshaken != nil && !errors.Is(c.unshaken, errChallenge) {
		c.shakes.failed(c, c.unshaken)
	}
	return c.unshaken
}

// challengeProtocol is that of a handshake with which an authority checks a domain (RFC 8737).
// No data follows it.
const challengeProtocol = "acme-tls/1"

var errChallenge = errors.New("the connection was for a challenge of ACME, which is answered")

// shake does the handshake within the time of a header, which the PROXY header is a part of.
func (c *clientConn) shake() error {
	if c.awaitsProxy {
		if err := c.readProxyHeader(make([]byte, maxProxyLine)); err != nil {
			return err
		}
	} else {
		c.headerBy = time.Now().Add(c.bounds.Load().ReadHeaderTimeout)
	}
	early := bytes.Clone(c.in.buffered())
	c.in.r = c.in.w
	c.in.settle()
	c.used.Store(false) // no byte of a request
	c.set.secure(c, c.tls, early)
	if err := c.Conn.Handshake(c.headerBy, c.shakes.gate); err != nil {
		return err
	}
	c.headerBy = time.Time{}
	state := c.ConnectionState()
	if state.NegotiatedProtocol == challengeProtocol {
		return errChallenge
	}
	c.security.Store(newSecurity(state, nil))
	return nil
}

// secured returns what the handshake has agreed on, by the authorities of now, or nil in the clear.
// It is safe for concurrent use.
func (c *clientConn) secured() *Security {
	s := c.security.Load()
	if s == nil || c.authorities == nil {
		return s
	}
	if now := c.authorities(); now != s.signers {
		s = newSecurity(c.ConnectionState(), now)
		c.security.Store(s)
	}
	return s
}

// failed counts and logs a handshake that has failed.
func (h *handshakes) failed(c *clientConn, err error) {
	fault := handshakeFault(err)
	h.fault[fault].Add(1)
	h.log.Debug().Err(err).Stringer("cause", fault).Stringer("address", c.peer).Msg("a client's TLS handshake has failed")
	if fault == HandshakePlain {
		c.answerPlain(err)
	}
}

// handshakeFault returns the fault that an error is.
func handshakeFault(err error) HandshakeFault {
	var alert *net.OpError
	switch {
	case errors.Is(err, errProxyHeader):
		return HandshakeInProxy
	case wire.TimedOut(err):
		return HandshakeLate
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		return HandshakeGone
	case errors.As(err, new(tls.RecordHeaderError)):
		return HandshakePlain
	case errors.As(err, &alert) && alert.Op == "remote error":
		return HandshakeDenied
	}
	return HandshakeRefused
}

// plainAnswer is for HTTP in the clear where TLS is spoken.
const plainAnswer = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n" +
	"Content-Length: 40\r\nConnection: close\r\n\r\nThis port speaks TLS: use https instead\n"

// answerPlain answers a client that has sent HTTP in the clear.
func (c *clientConn) answerPlain(err error) {
	var header tls.RecordHeaderError
	if !errors.As(err, &header) || header.Conn == nil || !beginsLikeHTTP(header.RecordHeader[:]) {
		return
	}
	_ = header.Conn.SetWriteDeadline(time.Now().Add(time.Second)) // it fits into the socket's buffer
	_, _ = io.WriteString(header.Conn, plainAnswer)
	c.ending.Raise(wire.Linger)
}

// beginsLikeHTTP reports whether the first bytes of a connection are those of a method.
func beginsLikeHTTP(b []byte) bool {
	for i, letter := range b {
		if letter == ' ' && i >= len("GET") {
			return true
		}
		if letter < 'A' || letter > 'Z' {
			return false
		}
	}
	return true
}
