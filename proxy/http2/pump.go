package http2

import (
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// pump reads a body in a goroutine of its own, one piece after another, when it is asked to. So the
// wait for a piece can be given up, and taken up again by another attempt: a deadline of net/http's
// would end the body. One goroutine at a time uses it; interrupt may be called by any.
type pump struct {
	buf     *[minFrameSize]byte
	timer   *time.Timer
	ask     chan struct{} // for another piece; closed at the end
	got     chan piece
	reading bool // a piece was asked for, and has not come

	stopped atomic.Bool
	stop    chan struct{} // has a value after interrupt
}

// pieces holds buffers that nothing uses, each for the data of one frame.
var pieces = sync.Pool{New: func() any { return new([minFrameSize]byte) }}

// piece is what a read has returned.
type piece struct {
	n   int
	err error
}

func newPump() *pump {
	return &pump{ask: make(chan struct{}, 1), got: make(chan piece, 1), stop: make(chan struct{}, 1)}
}

// read waits for the next piece. ok is false if it does not come within the timeout, or interrupt
// was called: then the next read goes on to wait for it.
func (p *pump) read(from io.Reader, timeout time.Duration) (n int, err error, ok bool) {
	if p.stopped.Load() {
		return 0, nil, false
	}
	if p.buf == nil {
		p.buf = pieces.Get().(*[minFrameSize]byte)
		p.timer = time.NewTimer(timeout)
		go p.run(from)
	}
	if !p.reading {
		p.reading = true
		p.ask <- struct{}{}
	}
	p.timer.Reset(timeout)
	defer p.timer.Stop()
	select {
	case piece := <-p.got:
		p.reading = false
		return piece.n, piece.err, true
	case <-p.stop:
	case <-p.timer.C:
	}
	return 0, nil, false
}

// run reads pieces until the end.
func (p *pump) run(from io.Reader) {
	for range p.ask {
		n, err := from.Read(p.buf[:])
		p.got <- piece{n, err}
	}
}

// interrupt makes a read, and those that follow, return until resume.
func (p *pump) interrupt() {
	p.stopped.Store(true)
	select {
	case p.stop <- struct{}{}:
	default:
	}
}

// resume undoes interrupt.
func (p *pump) resume() {
	p.stopped.Store(false)
	select {
	case <-p.stop:
	default:
	}
}

// end closes the body, and returns once nothing reads from it.
func (p *pump) end(from io.Closer) {
	_ = from.Close()
	if p.buf == nil {
		return
	}
	if p.reading {
		<-p.got
	}
	close(p.ask)
	pieces.Put(p.buf)
}
