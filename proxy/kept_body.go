package proxy

// keptBody holds what a streamed request body has given so far, without its
// framing, so that another try can send it again: at most 64 KiB, in a buffer that
// is taken when the first byte comes. While the body is sent it belongs to the
// goroutine that sends it. The zero value is empty and keeps what it is given.
type keptBody struct {
	buf  *[streamBufferSize]byte // nil: nothing is kept
	n    int                     // bytes kept
	sent int                     // how many of them this try has sent
	lost bool                    // bytes were, or would be, given and not kept: the body cannot be sent again
}

// next is body.next, but begins with what was kept in the tries before. At the
// end of the body ended returns true.
func (k *keptBody) next(b *body, dst []byte) ([]byte, error) {
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
func (k *keptBody) ended(b *body) bool { return b.ended && k.sent == k.n }

// keep adds bytes that are sent in this try. More than fit end the keeping.
func (k *keptBody) keep(b []byte) {
	switch {
	case k.lost || len(b) == 0:
		return
	case k.n+len(b) > streamBufferSize:
		k.lose()
		return
	case k.buf == nil:
		k.buf = streamBuffers.Get().(*[streamBufferSize]byte)
	}
	k.n += copy(k.buf[k.n:], b)
	k.sent = k.n
}

// rewind lets a try begin with what was kept.
func (k *keptBody) rewind() { k.sent = 0 }

// lose says that the body cannot be sent again, and gives the buffer back.
func (k *keptBody) lose() {
	k.lost = true
	k.release()
}

// release gives the buffer back.
func (k *keptBody) release() {
	if k.buf != nil {
		streamBuffers.Put(k.buf)
		k.buf, k.n, k.sent = nil, 0, 0
	}
}
