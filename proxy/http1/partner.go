package http1

import (
	"io"
	"sync/atomic"
)

// partner is what a client's connection has for itself, and closes when it ends. The zero value is
// none. It is safe for concurrent use.
type partner struct{ atomic.Pointer[io.Closer] }

// get returns what is set, or nil.
func (p *partner) get() io.Closer {
	if with := p.Load(); with != nil {
		return *with
	}
	return nil
}

// set replaces what was set before, and closes that.
func (p *partner) set(with io.Closer) { p.closed(p.Swap(&with)) }

// end closes what is set.
func (p *partner) end() { p.closed(p.Swap(nil)) }

func (p *partner) closed(before *io.Closer) {
	if before != nil {
		_ = (*before).Close()
	}
}
