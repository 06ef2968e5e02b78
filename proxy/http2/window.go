package http2

import "loadbalancer/proxy/ends"

// maxWindow is the most bytes that a window may have (RFC 9113, section 6.9.1).
const maxWindow = 1<<31 - 1

// defaultWindow is what a stream or a connection may send at first (RFC 9113, section 6.9.2).
const defaultWindow = 65535

// What clients may send before it is read, in bytes. A stream's is what one buffer holds. The bytes
// of a connection count as read once they are with their stream: so a stream that is not read never
// keeps another from sending, and what a connection holds is bounded by its streams, 250 of 64 KiB.
const (
	streamWindow = defaultWindow
	connWindow   = 1 << 20
)

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
	default:
		b.large = ends.Buffers.Get().(*[ends.BufferSize]byte)
		b.buf = b.large[:]
	}
	b.r, b.w = 0, copy(b.buf, unread)
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

// release gives the large buffer back, in which nothing is needed any more.
func (b *inbox) release() {
	if b.large != nil {
		ends.Buffers.Put(b.large)
		b.large = nil
	}
	b.buf, b.r, b.w = b.first, 0, 0
}

// reset readies the inbox for another stream. It keeps the small buffer.
func (b *inbox) reset() {
	b.release()
	*b = inbox{first: b.first, buf: b.first, window: streamWindow}
}
