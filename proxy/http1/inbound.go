package http1

import (
	"io"
	"time"

	"loadbalancer/proxy/wire"
)

// inbound holds the bytes that were read from a connection and not used yet: buf[r:w]. The zero
// value, with conn set, is empty; a buffer is taken when one is needed.
type inbound struct {
	conn    *wire.Conn
	watch   *wire.Watch // ends a wait for a backend when the client leaves; nil: none is watched
	buf     []byte
	r, w    int
	arrived bool // a byte has arrived through receive
}

// buffered returns the bytes at hand.
func (in *inbound) buffered() []byte { return in.buf[in.r:in.w] }

// keep adds bytes that were read elsewhere, at most streamBufferSize in all.
func (in *inbound) keep(b []byte) {
	in.grow()
	in.w += copy(in.buf[in.w:], b)
}

// grow takes a buffer if there is none.
func (in *inbound) grow() {
	if in.buf == nil {
		in.buf = streamBuffers.Get().(*[streamBufferSize]byte)[:]
	}
	if in.r == in.w {
		in.r, in.w = 0, 0
	}
}

// settle gives back an empty buffer.
func (in *inbound) settle() {
	if in.r == in.w && len(in.buf) == streamBufferSize {
		streamBuffers.Put((*[streamBufferSize]byte)(in.buf))
		in.buf, in.r, in.w = nil, 0, 0
	}
}

// widen makes room in a full buffer for a header of up to this size.
func (in *inbound) widen(most int) {
	full := in.buf
	if len(full) < streamBufferSize {
		in.buf = streamBuffers.Get().(*[streamBufferSize]byte)[:]
	} else {
		in.buf = make([]byte, min(2*len(full), most))
	}
	in.r, in.w = 0, copy(in.buf, full[in.r:in.w])
	if len(full) == streamBufferSize {
		streamBuffers.Put((*[streamBufferSize]byte)(full))
	}
}

// narrow undoes widen. The buffer must not be used any more.
func (in *inbound) narrow(to []byte) {
	if len(in.buf) == streamBufferSize {
		streamBuffers.Put((*[streamBufferSize]byte)(in.buf))
	}
	in.buf = to
}

// fill waits for more bytes and adds them to the buffer, which must not be full. timeout is that of
// receive.
func (in *inbound) fill(timeout time.Duration) error {
	in.grow()
	if in.r > 0 {
		in.w = copy(in.buf, in.buf[in.r:in.w])
		in.r = 0
	}
	n, err := in.receive(in.buf[in.w:], timeout)
	in.w += n
	return err
}

// read takes bytes out of the buffer. If it is empty, read reads from the connection straight into
// p.
func (in *inbound) read(p []byte, timeout time.Duration) (int, error) {
	if in.r < in.w {
		n := copy(p, in.buf[in.r:in.w])
		in.r += n
		return n, nil
	}
	return in.receive(p, timeout)
}

// receive waits for bytes from the connection, for timeout or, if that is 0, until the deadline
// already set. It returns at least one byte or an error.
func (in *inbound) receive(p []byte, timeout time.Duration) (int, error) {
	first := timeout
	if in.watch != nil && !in.watch.Started() {
		first = min(timeout, in.watch.After())
	}
	if timeout > 0 {
		in.conn.ExpectRead(time.Now(), first)
	}
	n, err := in.conn.Read(p)
	if n == 0 && first < timeout && wire.TimedOut(err) && in.watch.Start() {
		in.conn.ExpectRead(time.Now(), timeout)
		n, err = in.conn.Read(p)
	}
	if n > 0 {
		in.arrived = true
		return n, nil // an error that came with the last bytes will come again
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return 0, err
}

// unexpected names the end of a connection in the middle of a message.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
