package http2

import (
	"net/http"
	"sync"
	"time"
)

// patience ends the stream of a client that does not take what is written to it.
type patience struct {
	mu    sync.Mutex
	write http.ResponseWriter // under way; nil: none is
	timer *time.Timer
}

// begin bounds the write that follows.
func (p *patience) begin(w http.ResponseWriter, timeout time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.write = w
	if p.timer == nil {
		p.timer = time.AfterFunc(timeout, p.over)
	} else {
		p.timer.Reset(timeout)
	}
}

// end ends what begin has begun.
func (p *patience) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.write = nil
	p.timer.Stop()
}

// over resets the stream, where the write is still under way: once the handler has returned, its
// ResponseWriter must not be used any more.
func (p *patience) over() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.write != nil {
		_ = http.NewResponseController(p.write).SetWriteDeadline(longAgo)
	}
}

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)
