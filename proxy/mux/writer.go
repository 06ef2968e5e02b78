package mux

import (
	"bytes"
	"errors"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"loadbalancer/proxy/wire"
)

const (
	// mostBehind is how much may wait to be written before those that send bodies wait, in bytes.
	mostBehind = 256 << 10
	// patience is how long a backend may take nothing of what waits to be written.
	patience = 30 * time.Second
	// maxAnswers is how many frames may wait that answer the backend's: more come only if it sends
	// PING or SETTINGS and does not read.
	maxAnswers = 1000
)

// writer writes frames to a connection. Frames are appended while mu is held, and then leave by
// flush. It writes at once what the system takes, and the rest in its goroutine.
type writer struct {
	conn    *wire.Conn
	behind  chan struct{} // wakes the goroutine: going is not written yet
	gone    chan struct{} // closed by end
	fields  bytes.Buffer  // what encoder has made
	going   []byte        // what is being written; the writing goroutine's
	written int           // of going

	mu       sync.Mutex
	room     sync.Cond      // out has become short
	out      []byte         // frames that wait
	framer   *http2.Framer  // appends to out
	encoder  *hpack.Encoder // of headers, in their order
	maxFrame int
	answers  int // frames in out that answer the backend's
	writing  bool
	err      error
}

func (w *writer) init(conn *wire.Conn) {
	w.conn = conn
	w.behind, w.gone = make(chan struct{}, 1), make(chan struct{})
	w.room.L = &w.mu
	w.framer = http2.NewFramer((*appender)(w), nil)
	w.encoder = hpack.NewEncoder(&w.fields)
	w.maxFrame = frameSize
	go w.run()
}

// appender is how the Framer appends frames.
type appender writer

func (w *appender) Write(p []byte) (int, error) {
	w.out = append(w.out, p...)
	return len(p), nil
}

// flush sends what waits, as far as the system takes it. It is called while mu is held, and unlocks
// it.
func (w *writer) flush() {
	defer w.mu.Unlock()
	if w.writing || w.err != nil || len(w.out) == 0 {
		return
	}
	w.writing = true
	w.swap()
	w.mu.Unlock()
	w.conn.ExpectWrite(time.Now(), patience)
	n, _ := w.conn.Offer(w.going)
	w.mu.Lock()
	if w.written = n; n < len(w.going) || len(w.out) > 0 {
		w.behind <- struct{}{} // goes on
		return
	}
	w.writing = false
}

// swap makes what waits what is being written.
func (w *writer) swap() {
	w.out, w.going, w.written, w.answers = w.going[:0], w.out, 0, 0
	if cap(w.out) > 4*mostBehind {
		w.out = nil
	}
	w.room.Broadcast()
}

// run writes what flush has left.
func (w *writer) run() {
	for {
		select {
		case <-w.behind:
		case <-w.gone:
			return
		}
		for {
			if _, err := w.conn.Deliver(time.Now(), w.going[w.written:], patience); err != nil {
				w.end(err)
				_ = w.conn.Close() // the reader is told
				return
			}
			w.mu.Lock()
			if w.writing = len(w.out) > 0; !w.writing {
				w.mu.Unlock()
				break
			}
			w.swap()
			w.mu.Unlock()
		}
	}
}

// isFlooded reports whether so much waits to be written that frames which need an answer must be
// those of a backend that does not read its answers.
func (w *writer) isFlooded() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.out) > 4*mostBehind
}

var errFlood = errors.New("the backend sends PING or SETTINGS, and does not read the answers")

// end makes what follows fail.
func (w *writer) end(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
		close(w.gone)
		w.room.Broadcast()
	}
}

// begin is Stream.Begin. The numbers of streams and their headers are in one order.
func (w *writer) begin(s *Stream, fields []hpack.HeaderField, body []byte, ends bool) (sent bool, err error) {
	w.mu.Lock()
	if err = w.err; err == nil {
		err = s.conn.begin(s)
	}
	if err != nil {
		w.mu.Unlock()
		return false, err
	}
	sent = len(body) == 0 || s.takeAll(len(body))
	w.header(s.id, fields, ends && len(body) == 0)
	if sent && len(body) > 0 {
		w.append(s.id, body, ends)
	}
	s.sent = sent && ends
	w.flush()
	return sent, nil
}

// append appends a part of a body.
func (w *writer) append(id uint32, p []byte, ends bool) {
	for first := true; first || len(p) > 0; first = false {
		part := p[:min(len(p), w.maxFrame)]
		p = p[len(part):]
		_ = w.framer.WriteData(id, ends && len(p) == 0, part)
	}
}

// header appends a header.
func (w *writer) header(id uint32, fields []hpack.HeaderField, ends bool) {
	w.fields.Reset()
	for _, f := range fields {
		_ = w.encoder.WriteField(f)
	}
	for first, block := true, w.fields.Bytes(); first || len(block) > 0; first = false {
		part := block[:min(len(block), w.maxFrame)]
		block = block[len(part):]
		if first {
			_ = w.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: part, EndStream: ends, EndHeaders: len(block) == 0})
		} else {
			_ = w.framer.WriteContinuation(id, len(block) == 0, part)
		}
	}
}

// data sends a part of a body, once there is room for it.
func (w *writer) data(s *Stream, p []byte, ends bool) error {
	w.mu.Lock()
	for len(w.out) > mostBehind && w.err == nil && s.mayWrite() == nil {
		w.room.Wait()
	}
	if err := s.mayWrite(); w.err != nil || err != nil {
		defer w.mu.Unlock()
		if err == nil {
			err = w.err
		}
		return err
	}
	w.append(s.id, p, ends)
	w.flush()
	return nil
}

// trailers ends a body with fields.
func (w *writer) trailers(s *Stream, fields []hpack.HeaderField) error {
	w.mu.Lock()
	if err := s.mayWrite(); w.err != nil || err != nil {
		defer w.mu.Unlock()
		if err == nil {
			err = w.err
		}
		return err
	}
	w.header(s.id, fields, true)
	w.flush()
	return nil
}

// reset sends RST_STREAM.
func (w *writer) reset(id uint32, code http2.ErrCode) {
	w.mu.Lock()
	_ = w.framer.WriteRSTStream(id, code)
	w.flush()
}

// credit lets the backend send more of a stream's body.
func (w *writer) credit(id uint32, n int) {
	w.mu.Lock()
	_ = w.framer.WriteWindowUpdate(id, uint32(n))
	w.flush()
}
