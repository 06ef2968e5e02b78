// Package mux speaks HTTP/2 with a backend: one connection carries several streams at once, each of
// which is a request and the response to it (RFC 9113).
//
// No connection has more streams than its backend allows, which is known before the first one
// begins. What a stream receives and nothing has read yet takes at most 128 KiB. A stream that is
// not read holds up no other: the room that it takes of its connection is given back at once. A
// caller never waits for the connection to be writable: what the system does not take is written by
// a goroutine of the connection.
//
// Frames are read and written by the Framer of golang.org/x/net/http2. Its Transport is not used:
// here the order of fields stays, it is known whether a backend has looked at a request, and a wait
// can be interrupted for one stream alone.
//
// The package knows fields, frames and their limits, but no meaning of a field except :status.
package mux

import (
	"bufio"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"loadbalancer/proxy/wire"
)

// What a connection tells its backend.
const (
	// streamWindow is how much of a body a backend may send ahead of its reader. Slow clients make it
	// take that much memory for each of their requests. A backend within 1 ms sends 128 MB/s of one
	// body with it.
	streamWindow = 128 << 10
	// connWindow is how much a backend may send on all streams within a round trip: 1 GB/s at 1 ms.
	// It takes no memory, as it does not wait for the readers of streams.
	connWindow = 1 << 20
	// frameSize is the size of the largest frame, which a connection keeps a buffer for. It is what
	// every peer has to take.
	frameSize = 16 << 10
	// largestHeader is the size of the largest header that ends its stream alone. A larger one ends the
	// connection, with all others.
	largestHeader = 1 << 20
	// headerTable is the size of the table of fields in either direction.
	headerTable = 4 << 10
)

// Bounds of HTTP/2.
const (
	defaultWindow = 65_535
	maxWindow     = 1<<31 - 1
	lastID        = 1<<31 - 1
	largestFrame  = 64 << 10 // that is sent, even if the backend takes larger ones
	// manyStreams stands in for a bound where a backend sets none. RFC 9113, section 5.1.2,
	// recommends at least 100; a backend that can bear any number has another connection soon.
	manyStreams = 1000
)

// Options are what a connection goes by.
type Options struct {
	Keep      time.Duration // how long the connection is kept after its last stream
	MaxHeader int           // bytes of the fields of each header, each counted with 32 more
	Ended     func(*Conn)   // called once, when a connection that Open has returned has been closed
}

// Conn is a connection to a backend. It is safe for concurrent use.
type Conn struct {
	wire    *wire.Conn
	options Options
	places  places
	writer  writer
	reader  *http2.Framer
	served  atomic.Bool   // a place was taken
	ready   chan struct{} // closed when the backend's settings have come, or the connection has failed
	quiet   quiet         // the reader's
	unread  int           // bytes received that the backend was not given back; the reader's

	mu       sync.Mutex
	streams  map[uint32]*Stream // that have begun
	next     uint32             // the number of the next stream
	window   int64              // bytes of bodies that the backend takes
	initial  int64              // the window of a new stream
	settled  bool               // the backend's settings have come
	opened   bool               // Open has returned it
	goneAway bool               // the backend takes no stream any more
	retired  bool               // no stream begins any more
	err      error              // why the connection has ended; nil: it has not
	expiry   *time.Timer        // while it has no stream
}

// Open begins HTTP/2 on a connection that was just made, and waits for the backend's settings, until
// by at most. The caller takes a place on the connection, or retires it; after an error it closes the
// connection.
func Open(conn *wire.Conn, by time.Time, o Options) (*Conn, error) {
	c := &Conn{
		wire: conn, options: o, ready: make(chan struct{}), streams: map[uint32]*Stream{}, next: 1,
		window: defaultWindow, initial: defaultWindow,
	}
	c.reader = http2.NewFramer(nil, bufio.NewReaderSize(patient{c}, frameSize))
	c.reader.SetReuseFrames()
	c.reader.SetMaxReadFrameSize(frameSize)
	c.reader.ReadMetaHeaders = hpack.NewDecoder(headerTable, nil)
	c.reader.MaxHeaderListSize = uint32(max(o.MaxHeader, largestHeader))
	c.writer.init(conn)
	c.expiry = time.AfterFunc(time.Hour, c.expire)
	c.expiry.Stop()
	c.greet()
	go c.run()
	wait := time.NewTimer(time.Until(by))
	defer wait.Stop()
	select {
	case <-c.ready:
	case <-wait.C:
		c.fail(errNoSettings)
		<-c.ready
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, c.err
	}
	c.opened = true
	return c, nil
}

// greet sends the connection's preface.
func (c *Conn) greet() {
	w := &c.writer
	w.mu.Lock()
	w.out = append(w.out, http2.ClientPreface...)
	_ = w.framer.WriteSettings(
		http2.Setting{ID: http2.SettingEnablePush, Val: 0},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: streamWindow},
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: uint32(c.options.MaxHeader)},
	)
	_ = w.framer.WriteWindowUpdate(0, connWindow-defaultWindow)
	w.flush()
}

// timeoutError is an error of a time that is over.
type timeoutError string

func (e timeoutError) Error() string { return string(e) }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

var (
	errNoSettings = timeoutError("the backend did not begin HTTP/2 in time")
	errClosed     = errors.New("the connection was closed")
	errExhausted  = errors.New("the connection has no number left for a stream")
)

// run reads frames until the connection ends, and then ends it.
func (c *Conn) run() {
	err := c.readFrames()
	c.mu.Lock()
	settled := c.settled
	c.mu.Unlock()
	if !settled {
		err = fmt.Errorf("the backend does not speak HTTP/2: %w", err)
	}
	c.fail(err)
}

// Reserve takes a place for a stream on the connection, or returns nil where it has none. The place
// is given back by Stream.End.
func (c *Conn) Reserve() *Stream {
	before, ok := c.places.take()
	if !ok {
		return nil
	}
	return newStream(c, before == 0 && c.served.Swap(true))
}

// HasRoom reports whether the connection has a place for a stream.
func (c *Conn) HasRoom() bool { return c.places.left() > 0 }

// Places returns how many streams the backend allows at once now, 0 where it takes none any more.
func (c *Conn) Places() int { return int(c.places.most.Load()) }

// HasEnded reports whether the connection has been closed.
func (c *Conn) HasEnded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err != nil
}

// Retire ends the connection once it has no stream: no other one begins.
func (c *Conn) Retire() {
	c.mu.Lock()
	c.retired = true
	c.places.close()
	unused := c.places.taken.Load() == 0
	c.mu.Unlock()
	if unused {
		c.leave()
	}
}

// leave closes the connection, and tells the backend that this is no failure.
func (c *Conn) leave() {
	w := &c.writer
	w.mu.Lock()
	_ = w.framer.WriteGoAway(0, http2.ErrCodeNo, nil)
	w.flush()
	c.fail(errClosed)
}

// Recall interrupts the streams that wait for the first byte of a response and allow it.
func (c *Conn) Recall() {
	for _, s := range c.all() {
		s.Recall()
	}
}

// all returns the streams that have begun.
func (c *Conn) all() (streams []*Stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.streams {
		streams = append(streams, s)
	}
	return streams
}

// fail closes the connection, and fails its streams. Only the first call does something.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	c.places.close()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err, c.retired = err, true
	c.expiry.Stop()
	streams := c.streams
	c.streams = map[uint32]*Stream{}
	if !c.settled {
		close(c.ready)
	}
	opened := c.opened
	c.mu.Unlock()
	c.writer.end(err)
	_ = c.wire.Close()
	for _, s := range streams {
		s.fail(err)
	}
	if opened {
		c.options.Ended(c)
	}
}

// begin gives a stream its number.
func (c *Conn) begin(s *Stream) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		return c.err
	case c.goneAway:
		return ErrUnprocessed
	case c.next > lastID-2:
		c.places.close()
		return errExhausted
	}
	s.id, s.window = c.next, c.initial
	c.next += 2
	c.streams[s.id] = s
	c.quiet.busy.Store(true)
	return nil
}

// forget gives back the place of a stream, which has ended.
func (c *Conn) forget(s *Stream) {
	c.mu.Lock()
	if s.id != 0 {
		delete(c.streams, s.id)
	}
	c.quiet.busy.Store(len(c.streams) > 0)
	c.places.free()
	c.rest()
	last := c.retired && c.places.taken.Load() == 0
	c.mu.Unlock()
	if last {
		c.leave()
	}
}

// rest has a connection without streams end after a time. It is called while mu is held.
func (c *Conn) rest() {
	if c.err == nil && !c.retired && c.places.taken.Load() == 0 {
		c.expiry.Reset(c.options.Keep)
	}
}

// expire ends a connection that has had no stream for a time.
func (c *Conn) expire() {
	c.mu.Lock()
	most := c.places.close()
	unused := c.places.taken.Load() == 0
	switch {
	case c.retired: // it ends with its last stream
	case unused:
		c.retired = true
	default:
		c.places.open(most) // one has begun just now
	}
	c.mu.Unlock()
	if unused {
		c.leave()
	}
}

// places counts the streams of a connection.
type places struct{ taken, most atomic.Int64 }

// take takes a place, if one is left, and returns how many were taken before.
func (p *places) take() (before int64, ok bool) {
	for {
		n := p.taken.Load()
		if n >= p.most.Load() {
			return n, false
		}
		if !p.taken.CompareAndSwap(n, n+1) {
			continue
		}
		if p.most.Load() > 0 {
			return n, true
		}
		p.taken.Add(-1) // closed since just now
		return n, false
	}
}

func (p *places) free() { p.taken.Add(-1) }

func (p *places) left() int64 { return p.most.Load() - p.taken.Load() }

// close lets no place be taken any more, and returns how many there were.
func (p *places) close() (most int64) { return p.most.Swap(0) }

// open allows this many places.
func (p *places) open(most int64) { p.most.Store(most) }
