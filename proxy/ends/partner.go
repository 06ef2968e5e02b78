package ends

import (
	"io"
	"sync/atomic"
)

// Partner is what a client's connection, which serves one request after another, has for itself,
// and closes when it ends. The zero value is none. It is safe for concurrent use.
type Partner struct{ with atomic.Pointer[io.Closer] }

// Get returns what is set, or nil.
func (p *Partner) Get() io.Closer {
	if with := p.with.Load(); with != nil {
		return *with
	}
	return nil
}

// Set replaces what was set before, and closes that.
func (p *Partner) Set(with io.Closer) { p.closed(p.with.Swap(&with)) }

// End closes what is set.
func (p *Partner) End() { p.closed(p.with.Swap(nil)) }

func (p *Partner) closed(before *io.Closer) {
	if before != nil {
		_ = (*before).Close()
	}
}
