package proxy

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// timedConn is a connection whose silence is bounded. Reading and writing may
// happen in two goroutines, each of which owns the deadline of its direction.
type timedConn struct {
	*socket
	readBy, writeBy time.Time   // the deadlines that are set
	stopped         atomic.Bool // by stop
}

// expectRead lets the following reads wait for timeout, or up to an eighth
// longer: a deadline that is far enough away is left alone, because setting one
// costs more than comparing two times.
func (c *timedConn) expectRead(now time.Time, timeout time.Duration) {
	if by, ok := roll(c.readBy, now, timeout); ok {
		_ = c.SetReadDeadline(by) // fails on a closed connection: the read says so
		c.keepStopped()
	}
}

// expectWrite is expectRead for the following writes.
func (c *timedConn) expectWrite(now time.Time, timeout time.Duration) {
	if by, ok := roll(c.writeBy, now, timeout); ok {
		c.writeBy = by
		_ = c.Conn.SetWriteDeadline(by)
		c.keepStopped()
	}
}

// tries is how often, within a timeout, deliver tries to write on.
const tries = 8

// deliver writes all of p to a peer that may be slow, but not take nothing for
// longer than timeout, or up to a quarter more. The kernel wakes a writer only once
// a third of its buffer is free, which a slow peer may take long for: a write that
// is tried again finds out earlier that it reads. now is the time.
func (c *timedConn) deliver(now time.Time, p []byte, timeout time.Duration) (n int, err error) {
	for silent := 0; silent < tries; now = time.Now() {
		var m int
		c.expectWrite(now, timeout/tries)
		m, err = c.Write(p[n:])
		n += m
		if err == nil || !timedOut(err) || c.stopped.Load() {
			break
		}
		if silent++; m > 0 {
			silent = 0
		}
	}
	return n, err
}

// SetReadDeadline sets the deadline and remembers it.
func (c *timedConn) SetReadDeadline(by time.Time) error {
	c.readBy = by
	return c.Conn.SetReadDeadline(by)
}

// stop ends what another goroutine reads or writes, and whatever it starts before
// resume.
func (c *timedConn) stop() {
	c.stopped.Store(true)
	_ = c.SetDeadline(longAgo)
}

// keepStopped takes back a deadline that was set while the connection was stopped.
func (c *timedConn) keepStopped() {
	if c.stopped.Load() {
		_ = c.SetDeadline(longAgo)
	}
}

// resume follows stop, once the other goroutine has ended.
func (c *timedConn) resume() {
	c.stopped.Store(false)
	c.readBy, c.writeBy = time.Time{}, time.Time{}
}

// roll returns the deadline to set, if the present one is off.
func roll(by, now time.Time, timeout time.Duration) (time.Time, bool) {
	slack := timeout / 8
	if left := by.Sub(now); left >= timeout && left <= timeout+slack {
		return by, false
	}
	return now.Add(timeout + slack), true
}

// timedOut reports whether a deadline has ended what was waited for.
func timedOut(err error) bool {
	var netErr net.Error
	return errors.As(err, &netErr) && netErr.Timeout()
}

// longAgo is a deadline that ends whatever waits.
var longAgo = time.Unix(1, 0)

// listener hands out client connections and keeps count of those that are open.
type listener struct {
	net.Listener
	clients  *clientSet
	turnAway func(net.Conn) // answers a connection that is one too many
	wait     headerTimeouts
	proxied  func(peer netip.Addr) bool // whether its connections begin with a PROXY header
	closed   atomic.Bool
}

// Accept waits for the next client.
func (l *listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &clientConn{timedConn: timedConn{socket: newSocket(conn)}, peer: peerOf(conn), set: l.clients, wait: &l.wait}
		c.in.conn = &c.timedConn
		c.awaitsProxy = l.proxied(c.peer)
		if l.clients.add(c) {
			return c, nil
		}
		l.turnAway(conn)
		_ = conn.Close()
	}
}

// Close stops accepting; a second call does nothing.
func (l *listener) Close() error {
	if l.closed.Swap(true) {
		return nil
	}
	return l.Listener.Close()
}

// peerOf is the address at the other end. Who connects over a unix socket is on
// this machine.
func peerOf(conn net.Conn) netip.Addr {
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return addrOf(tcp)
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

// addrOf is an address in the form that all of them are compared in.
func addrOf(tcp *net.TCPAddr) netip.Addr {
	return tcp.AddrPort().Addr().Unmap().WithZone("")
}

// clientConn is a client's connection. fasthttp reads the headers of requests
// from it, one at a time and no byte more. Bodies are read, and the responses of
// backends written, by us and past fasthttp: its Request and Response would
// reorder and rewrite fields, and hide where a body begins and ends.
type clientConn struct {
	timedConn
	peer     netip.Addr // who is at the other end, or told by the PROXY header to be
	set      *clientSet
	closed   atomic.Bool
	used     atomic.Bool // a byte of a request has come
	wait     *headerTimeouts
	headerBy time.Time // when a header that has begun must have ended
	lastUse  time.Time // the end of the last exchange; zero before the first
	scan     headerScan
	in       inbound // what came behind the header: a body, or the next request
	answered bool    // the response is sent: fasthttp's own is to be dropped
	linger   bool    // the client may still be sending: let it read the answer first
	aborted  bool    // ends with RST, whatever else is said

	awaitsProxy bool // a PROXY header has to come first
	forwarded   bool // one has come
}

// Read gives fasthttp the bytes of a header, and what follows that in no case.
func (c *clientConn) Read(p []byte) (int, error) {
	if c.awaitsProxy {
		if err := c.readProxyHeader(p); err != nil {
			return 0, err
		}
	}
	if ahead := c.in.buffered(); len(ahead) > 0 {
		n := copy(p, ahead)
		n = c.scan.end(p[:n])
		c.in.r += n
		c.in.settle()
		return n, c.scan.fault()
	}
	c.expectHeader()
	n, err := c.timedConn.Read(p[:min(len(p), streamBufferSize)])
	if n > 0 && !c.used.Load() {
		c.used.Store(true)
	}
	if end := c.scan.end(p[:n]); end < n {
		c.in.keep(p[end:n])
		n = end
	}
	if err == nil {
		err = c.scan.fault()
	}
	return n, err
}

// headerTimeouts bounds the wait for a request. On a connection that begins with a
// PROXY header, header bounds that and the first request's header together.
type headerTimeouts struct {
	header time.Duration // for the first byte on a new connection, and from the first byte to the end of a header
	idle   time.Duration // for the first byte on a connection that has served
}

// expectHeader sets the deadline for the read of a header. fasthttp could do so,
// but reads the clock and sets a deadline twice for each request.
func (c *clientConn) expectHeader() {
	switch {
	case !c.headerBy.IsZero():
	case c.scan != headerScan{}:
		c.boundHeader()
	case c.lastUse.IsZero():
		c.expectRead(time.Now(), c.wait.header)
	default:
		c.expectRead(c.lastUse, c.wait.idle)
	}
}

// boundHeader sets the deadline for the end of the header that begins now.
func (c *clientConn) boundHeader() {
	c.headerBy = time.Now().Add(c.wait.header)
	_ = c.SetReadDeadline(c.headerBy)
}

// Write is called by fasthttp alone. It writes each response with one call.
func (c *clientConn) Write(p []byte) (int, error) {
	if c.answered {
		c.answered = false
		return len(p), nil
	}
	return c.timedConn.Write(p)
}

const (
	lingerTime   = time.Second
	lingerBytes  = 16 << 20
	lingerBuffer = 4 << 10 // small: bad requests are cheap to send, and each has one for lingerTime
)

// Close ends the connection. After a response behind which not all was read that
// the client sends it first sends FIN and reads on for a while: unread data would
// make the kernel send RST, which can destroy the response before the client reads
// it (RFC 9112, section 9.6).
func (c *clientConn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	defer c.set.remove(c)
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && c.linger && !c.aborted && half.CloseWrite() == nil {
		_ = c.Conn.SetReadDeadline(time.Now().Add(lingerTime))
		scratch := make([]byte, lingerBuffer)
		for left := lingerBytes; left > 0; {
			n, err := c.Conn.Read(scratch)
			if err != nil {
				break
			}
			left -= n
		}
	}
	return c.Conn.Close()
}

// abort makes Close cut the connection with RST, so that the client can tell a
// response that ends with the connection from one that was broken off.
func (c *clientConn) abort() {
	c.aborted = true
	endWithReset(c.Conn)
}

// endWithReset makes Close send RST, over TCP.
func endWithReset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
}

// headerScan finds the end of a header in bytes that come in pieces.
type headerScan struct {
	line   int  // bytes of the line so far
	last   byte // the one before
	begun  bool // the request line has come
	faulty bool // a line ended without CR, more than one empty line came first, or a method has no end
	blank  bool // an empty line came first
	spaced bool // a space has come in the request line, which has no end so far
}

// end returns how much of b belongs to the header that is being read: all of it,
// or what is up to and with the empty line.
func (s *headerScan) end(b []byte) int {
	for i := 0; i < len(b); i++ {
		next := indexNewline(b[i:])
		if next < 0 {
			s.unended(b[i:])
			return len(b)
		}
		if next > 0 {
			s.line += next
			s.last = b[i+next-1]
		}
		i += next
		crlf := s.line > 0 && s.last == '\r'
		empty := s.line == 1 && crlf || s.line == 0
		s.faulty = s.faulty || !crlf
		s.line, s.last, s.spaced = 0, '\n', false
		switch {
		case !empty:
			s.begun = true
		case s.begun && crlf:
			return i + 1
		case !s.begun:
			s.faulty = s.faulty || s.blank
			s.blank = true
		}
	}
	return len(b)
}

// unended takes the beginning of a line, or more of one. A method that is too long
// is a fault here already: the line may never end.
func (s *headerScan) unended(part []byte) {
	if !s.begun && !s.spaced && s.line <= maxMethod {
		head := part[:min(len(part), maxMethod+1-s.line)]
		s.spaced = bytes.IndexByte(head, ' ') >= 0
		s.faulty = s.faulty || !s.spaced && s.line+len(head) > maxMethod
	}
	s.line += len(part)
	s.last = part[len(part)-1]
}

// fault is errLine for a faulty header: fasthttp might wait for another end of it,
// until its time is over.
func (s *headerScan) fault() error {
	if s.faulty {
		return errLine
	}
	return nil
}

// take returns whether the header that was read last is faulty, and makes ready
// for the next.
func (s *headerScan) take() (faulty bool) {
	faulty = s.faulty
	*s = headerScan{}
	return faulty
}
