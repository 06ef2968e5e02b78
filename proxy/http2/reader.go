package http2

import (
	"io"
	"sync"
)

// frameReader reads frames. One that was read in part when the connection's deadline has passed is
// read on by the next call. It waits for a frame with a small buffer: most connections wait most of
// the time.
type frameReader struct {
	from   io.Reader
	first  [512]byte // backs buf before something has come
	large  *[readSize]byte
	buf    []byte
	r, w   int
	parsed frame // its header was read
	has    bool
}

// readSize is the size of the buffer for frames: the largest fits.
const readSize = maxFrameSize + 1<<10

var readBuffers = sync.Pool{New: func() any { return new([readSize]byte) }}

// next reads the next frame.
func (r *frameReader) next() (*frame, *fault, error) {
	if !r.has {
		if err := r.need(frameHeaderSize); err != nil {
			return nil, nil, err
		}
		r.parsed = parseHeader(r.buf[r.r:])
		r.r += frameHeaderSize
		if why := r.parsed.check(); why != nil && why.stream == 0 {
			return nil, why, nil
		}
		r.has = true
	}
	if err := r.need(r.parsed.size); err != nil {
		return nil, nil, err
	}
	r.parsed.payload = r.buf[r.r : r.r+r.parsed.size : r.r+r.parsed.size]
	r.r += r.parsed.size
	r.has = false
	return &r.parsed, r.parsed.check(), nil
}

// preface reads what a client begins with.
func (r *frameReader) preface(want string) (ok bool, err error) {
	if err := r.need(len(want)); err != nil {
		return false, err
	}
	ok = string(r.buf[r.r:r.r+len(want)]) == want
	r.r += len(want)
	return ok, nil
}

// need reads until there are n bytes.
func (r *frameReader) need(n int) error {
	for r.w-r.r < n {
		r.makeRoom(n)
		m, err := r.from.Read(r.buf[r.w:])
		if r.w += m; m == 0 {
			if err == nil {
				err = io.ErrNoProgress
			}
			return err
		}
	}
	return nil
}

// makeRoom makes room for n bytes, of which some are there.
func (r *frameReader) makeRoom(n int) {
	unread := r.buf[r.r:r.w]
	switch {
	case len(unread) == 0 && n <= frameHeaderSize:
		r.settle()
		r.buf = r.first[:]
	case r.large == nil:
		r.large = readBuffers.Get().(*[readSize]byte)
		r.buf = r.large[:]
	case r.r+n <= len(r.buf) && r.w < len(r.buf):
		return
	}
	r.r, r.w = 0, copy(r.buf, unread)
}

// settle gives the large buffer back, which nothing is in.
func (r *frameReader) settle() {
	if r.large != nil {
		readBuffers.Put(r.large)
		r.large = nil
	}
	r.buf, r.r, r.w = nil, 0, 0
}

// discard reads on, up to this many bytes, the end of the connection, or its deadline.
func (r *frameReader) discard(most int) {
	r.r, r.w, r.has = 0, 0, false
	for most > 0 && r.need(1) == nil {
		most -= r.w - r.r
		r.r = r.w
	}
}
