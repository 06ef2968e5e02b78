package http2

import (
	"errors"
	"math"
	"sync"
	"time"

	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/wire"
)

// conn is a client's connection. The goroutine that serves it reads, each stream has one, and one
// writes while there is something to write.
type conn struct {
	ends.Conn
	options *Options
	bounds  Bounds

	in     frameReader
	header headerReader
	budget allowance // guarded by mu

	mu       sync.Mutex // guards what follows
	ended    sync.Cond  // the last stream has ended, or the last write
	out      output
	streams  map[uint32]*Stream // those whose handler runs
	last     uint32             // the last stream that has begun
	open     int                // streams that count for maxStreams
	window   int64              // bytes that the connection may send
	initial  int64              // bytes that a new stream may send
	received int                // bytes of DATA that the client does not know to be taken
	resets   recent             // streams that were reset, of which more may be on its way

	idle      bool      // no stream is open and nothing is being written
	idleSince time.Time // while idle
	goAway    goAway
	closeBy   time.Time // nothing is to be done any more but to let the client read; zero: there is
	failed    error     // why nothing can be read or sent any more
}

// goAway is how far the end of a connection has come (RFC 9113, section 6.8).
type goAway uint8

const (
	staying   goAway = iota
	announced        // the client knows; streams that it has begun before are served
	left             // no more streams begin
)

// Times of a connection's end.
const (
	// announceTime is how long after the first GOAWAY a client that does not answer the PING behind
	// it may still begin streams.
	announceTime = time.Second
	// lingerTime is how long a client has to read the last GOAWAY, and to close the connection: if
	// the balancer closed it first, what is on its way from the client would make the system send
	// RST, which can destroy what the client has not read. lingerSize bounds what it may send.
	lingerTime = time.Second
	lingerSize = 256 << 10
)

// What ends the streams of a connection, for an operator to read.
var (
	errGone   = errors.New("the client reset the stream, or closed the connection")
	errFrames = errors.New("the client has broken the rules of HTTP/2")
	errCalm   = errors.New("the client sends too many frames that cost it nothing, or resets too many streams")
)

func newConn(with ends.Conn, o *Options, b Bounds) *conn {
	c := &conn{
		Conn: with, options: o, bounds: b,
		in:      frameReader{from: with},
		streams: map[uint32]*Stream{},
		window:  defaultWindow, initial: defaultWindow,
	}
	c.ended.L = &c.mu
	c.header.init(o.MaxHeaderSize)
	c.out.begin, c.out.encoder.most = c.write, tableSize
	c.budget.begin(time.Now())
	// Before all else: another goroutine may call drain.
	c.out.buf = appendSettings(c.out.space(),
		setting{settingStreams, maxStreams},
		setting{settingListSize, uint32(min(o.MaxHeaderSize, math.MaxUint32))},
		setting{settingNoPriorities, 1})
	c.out.buf = appendWindow(c.out.space(), 0, connWindow-defaultWindow)
	return c
}

// serve serves the connection until it is closed and its last stream has ended.
func (c *conn) serve() {
	err := c.run()
	c.mu.Lock()
	c.fail(err)
	c.mu.Unlock()
	_ = c.Close()
	c.mu.Lock()
	for len(c.streams) > 0 || c.out.writing {
		c.ended.Wait()
	}
	c.mu.Unlock()
	c.in.settle()
}

// fail ends the streams of a connection that cannot be used any more. It is called while mu is held.
func (c *conn) fail(err error) {
	if c.failed != nil {
		return
	}
	c.failed = err
	for _, s := range c.streams {
		s.die(errGone)
	}
	c.wakeBlocked()
}

// run reads frames until the connection has ended. A panic ends it.
func (c *conn) run() (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			c.options.Activity.LogFault(fault)
			err = errFrames
		}
	}()
	if err := c.begin(); err != nil {
		return err
	}
	for {
		f, why, err := c.in.next()
		if err != nil {
			if !wire.TimedOut(err) || !c.mayGoOn() {
				return err
			}
			continue
		}
		if why == nil {
			why = c.receive(f)
		}
		if why == nil {
			continue
		}
		if why.stream == 0 {
			return c.endFor(why.code)
		}
		if !c.resetFor(why) {
			return c.endFor(codeEnhanceCalm)
		}
	}
}

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// begin sends the settings, and reads the preface and the client's settings.
func (c *conn) begin() error {
	c.mu.Lock()
	_ = c.SetReadDeadline(time.Now().Add(c.bounds.ReadHeaderTimeout))
	c.flush()
	c.mu.Unlock()
	ok, err := c.in.preface(preface)
	if err != nil {
		return err
	}
	f, why, err := &frame{}, connFault(codeProtocol), error(nil)
	if ok {
		f, why, err = c.in.next()
	}
	if err != nil {
		return err
	}
	if why == nil && (f.kind != frameSettings || f.flags.has(flagAck)) {
		why = connFault(codeProtocol)
	}
	if why == nil {
		why = c.receive(f)
	}
	if why != nil {
		return c.endFor(why.code)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle()
	return c.SetReadDeadline(time.Now().Add(c.bounds.IdleTimeout))
}

// mayGoOn decides what follows once the deadline for reading has passed, which is not moved as
// streams begin and end. It reports whether reading goes on.
func (c *conn) mayGoOn() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	by := now.Add(c.bounds.IdleTimeout)
	switch {
	case !c.closeBy.IsZero():
		if !now.Before(c.closeBy) {
			return false
		}
		by = c.closeBy
	case !c.header.by.IsZero():
		if !now.Before(c.header.by) {
			return false
		}
		by = c.header.by
	case c.idle:
		if by = c.idleSince.Add(c.bounds.IdleTimeout); !now.Before(by) {
			c.leave(codeNone)
			by = c.closeBy
		}
	}
	_ = c.SetReadDeadline(by)
	return c.failed == nil
}

// readBy sets the deadline for reading. It is called while mu is held.
func (c *conn) readBy(by time.Time) {
	if c.closeBy.IsZero() {
		_ = c.SetReadDeadline(by)
	}
}

// drain tells the client that the connection is about to end. The PING is behind the GOAWAY: once it
// is answered, no stream comes any more that has begun before the client knew.
func (c *conn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.goAway != staying || c.failed != nil {
		return
	}
	c.goAway = announced
	c.out.buf = appendGoAway(c.out.space(), maxStreamID, codeNone)
	c.out.buf = appendPing(c.out.space(), 0, drainPing)
	c.flush()
	time.AfterFunc(announceTime, c.drained)
}

var drainPing = []byte("draining")

// drained ends what drain has begun.
func (c *conn) drained() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.goAway == announced && c.failed == nil {
		c.leave(codeNone)
	}
}

// leave lets no more streams begin, and the connection end with the last. It is called while mu is
// held.
func (c *conn) leave(code errorCode) {
	if c.goAway != left {
		c.goAway = left
		c.out.buf = appendGoAway(c.out.space(), c.last, code)
		c.flush()
	}
	c.settle()
}

// endFor ends the connection because of what the client has sent.
func (c *conn) endFor(code errorCode) error {
	err := errFrames
	if code == codeEnhanceCalm {
		err = errCalm
	}
	c.mu.Lock()
	if c.failed == nil {
		c.goAway = left
		c.out.buf = appendGoAway(c.out.space(), c.last, code)
		c.flush()
		for _, s := range c.streams {
			s.die(err)
		}
		c.wakeBlocked()
	}
	_ = c.SetReadDeadline(time.Now().Add(lingerTime))
	c.mu.Unlock()
	c.in.discard(lingerSize)
	return err
}

// settle notes whether the connection is idle, once a stream or a write has ended. It is called
// while mu is held.
func (c *conn) settle() {
	if c.open > 0 || len(c.streams) > 0 || c.out.writing || len(c.out.buf) > 0 || c.failed != nil {
		return
	}
	if !c.idle {
		c.idle, c.idleSince = true, time.Now()
		c.SetIdle(true)
	}
	if c.goAway == left && c.closeBy.IsZero() {
		c.closeBy = time.Now().Add(lingerTime)
		_ = c.SetReadDeadline(c.closeBy)
	}
}
