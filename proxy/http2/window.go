package http2

import (
	"sync"

	"loadbalancer/proxy/ends"
)

// maxWindow is the most bytes that a window may have (RFC 9113, section 6.9.1).
const maxWindow = 1<<31 - 1

// defaultWindow is what a stream or a connection may send at first (RFC 9113, section 6.9.2).
const defaultWindow = 65535

// What clients may send before it is read, in bytes. A stream's is what one buffer holds. The bytes
// of a connection count as read once they are with their stream: so a stream that is not read never
// keeps another from sending, and what a connection holds is bounded by its streams, 250 of 64 KiB.
//
// A stream of which more than a buffer has been read may send more ahead, where the server's budget
// for buffered bodies has room: 64 KiB for each round trip would make uploads from far away slow.
const (
	streamWindow = defaultWindow
	wideWindow   = 256 << 10
	connWindow   = 1 << 20
)

var wideBuffers = sync.Pool{New: func() any { return new([wideWindow]byte) }}

// widen adds to a window for sending. ok is false if it becomes too large.
func widen(window *int64, by int64) (ok bool) {
	*window += by
	return *window <= maxWindow
}

// inbox holds what has come of a request's body and is not read yet, at most streamWindow bytes:
// buf[r:w]. The zero value is empty.
type inbox struct {
	buf    []byte
	r, w   int
	first  []byte                 // backs buf while little has come
	large  *[ends.BufferSize]byte // then this does; nil: not yet
	wide   *[wideWindow]byte      // then this does, once the window is wide
	isWide bool                   // the window is
	window int                    // bytes that the client may send
	unsaid int                    // bytes that were read, which the client does not know
}

// firstSize is the size of the buffer for bodies of which little has come: clients that send one
// byte and no more must not make each stream hold a large one.
const firstSize = 2 << 10

// arrive counts a DATA frame of this size, with its padding. ok is false if the window does not
// allow it.
func (b *inbox) arrive(size int) (ok bool) {
	b.window -= size
	return b.window >= 0
}

// put adds the data of a frame that has arrived.
func (b *inbox) put(data []byte) {
	if b.w+len(data) > len(b.buf) {
		b.makeRoom(len(data))
	}
	b.w += copy(b.buf[b.w:], data)
}

func (b *inbox) makeRoom(n int) {
	unread := b.buf[b.r:b.w]
	switch {
	case len(unread)+n <= len(b.buf):
	case b.first == nil && len(unread)+n <= firstSize:
		b.first = make([]byte, firstSize)
		b.buf = b.first
	case len(unread)+n > ends.BufferSize:
		b.wide = wideBuffers.Get().(*[wideWindow]byte)
		b.buf = b.wide[:]
	default:
		b.large = ends.Buffers.Get().(*[ends.BufferSize]byte)
		b.buf = b.large[:]
	}
	b.r, b.w = 0, copy(b.buf, unread)
	if b.wide != nil && b.large != nil {
		ends.Buffers.Put(b.large)
		b.large = nil
	}
}

// widen widens the window. more is what the client may be told to send more.
func (b *inbox) widen() (more int) {
	b.isWide = true
	b.window += wideWindow - streamWindow
	return wideWindow - streamWindow
}

// take moves data to dst, up to its capacity. more is what the client may be told to send more: 0
// until that is half a window.
func (b *inbox) take(dst []byte) (_ []byte, more int) {
	n := copy(dst[len(dst):cap(dst)], b.buf[b.r:b.w])
	if b.r += n; b.r == b.w {
		b.release()
	}
	return dst[:len(dst)+n], b.credit(n)
}

// credit counts bytes as read.
func (b *inbox) credit(n int) (more int) {
	if b.unsaid += n; b.unsaid < streamWindow/2 {
		return 0
	}
	more, b.unsaid = b.unsaid, 0
	b.window += more
	return more
}

func (b *inbox) empty() bool { return b.r == b.w }

// release gives the large buffers back, in which nothing is needed any more.
func (b *inbox) release() {
	if b.large != nil {
		ends.Buffers.Put(b.large)
		b.large = nil
	}
	if b.wide != nil {
		wideBuffers.Put(b.wide)
		b.wide = nil
	}
	b.buf, b.r, b.w = b.first, 0, 0
}

// reset readies the inbox for another stream. It keeps the small buffer.
func (b *inbox) reset() {
	b.release()
	*b = inbox{first: b.first, buf: b.first, window: streamWindow}
}
