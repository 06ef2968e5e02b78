package http1

// replay holds what has been read of a streamed request body, without framing, so that another
// attempt can send it again: at most 64 KiB, in a buffer that is taken with the first byte, or the
// whole body, if it was read before. While the body is being sent, it belongs to the sending
// goroutine. The zero value is empty and ready to keep data.
type replay struct {
	buf   []byte  // nil: nothing is kept
	n     int     // bytes kept
	sent  int     // how many of them this attempt has sent
	lost  bool    // the body cannot be sent again: some bytes were not kept, or it must not be
	whole *budget // the budget of a whole body, which is kept until it was sent; nil: it is streamed
}

// fill reads a whole body of known length, whose size was taken from the budget.
func (k *replay) fill(b *body, from *budget) error {
	k.whole = from
	if b.length <= streamBufferSize {
		k.buf = streamBuffers.Get().(*[streamBufferSize]byte)[:b.length]
	} else {
		k.buf = make([]byte, b.length)
	}
	for !b.ended {
		read, err := b.next(k.buf[:k.n])
		if err != nil {
			return err
		}
		k.n = len(read)
	}
	return nil
}

// next is body.next, preceded by what earlier attempts kept. At the end of the body, ended returns
// true.
func (k *replay) next(b *body, dst []byte) ([]byte, error) {
	if k.sent < k.n {
		again := k.buf[k.sent:min(k.n, k.sent+cap(dst)-len(dst))]
		k.sent += len(again)
		return append(dst, again...), nil
	}
	start := len(dst)
	dst, err := b.next(dst)
	k.keep(dst[start:])
	return dst, err
}

// ended reports whether next has returned the whole body.
func (k *replay) ended(b *body) bool { return b.ended && k.sent == k.n }

// keep adds bytes that this attempt sends. If they do not fit, nothing is kept any more.
func (k *replay) keep(b []byte) {
	switch {
	case k.lost || len(b) == 0:
		return
	case k.n+len(b) > streamBufferSize:
		k.lose()
		return
	case k.buf == nil:
		k.buf = streamBuffers.Get().(*[streamBufferSize]byte)[:]
	}
	k.n += copy(k.buf[k.n:], b)
	k.sent = k.n
}

// rewind lets an attempt start with what was kept.
func (k *replay) rewind() { k.sent = 0 }

// lose marks the body as one that cannot be sent again, and gives the buffer back, unless it holds
// a whole body that was not sent yet.
func (k *replay) lose() {
	k.lost = true
	if k.whole == nil || k.sent == k.n {
		k.release()
	}
}

// release gives the buffer back.
func (k *replay) release() {
	if k.buf == nil {
		return
	}
	if k.whole != nil {
		k.whole.give(int64(len(k.buf)))
	}
	if cap(k.buf) == streamBufferSize {
		streamBuffers.Put((*[streamBufferSize]byte)(k.buf[:streamBufferSize]))
	}
	k.buf, k.n, k.sent = nil, 0, 0
}
