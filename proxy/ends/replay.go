package ends

// Replay holds what has been read of a streamed request body, without framing, so that another
// attempt can send it again: at most 64 KiB, in a buffer that is taken with the first byte, or the
// whole body, if it was read before. While the body is being sent, it belongs to the sending
// goroutine. The zero value is empty and ready to keep data.
type Replay struct {
	buf   []byte  // nil: nothing is kept
	n     int     // bytes kept
	sent  int     // how many of them this attempt has sent
	lost  bool    // the body cannot be sent again: some bytes were not kept, or it must not be
	whole *Budget // the budget of a whole body, which is kept until it was sent; nil: it is streamed
}

// fill reads a whole body of known length, whose size was taken from the budget.
func (k *Replay) fill(b Incoming, length int64, from *Budget) error {
	k.whole = from
	if length <= BufferSize {
		k.buf = Buffers.Get().(*[BufferSize]byte)[:length]
	} else {
		k.buf = make([]byte, length)
	}
	for !b.HasReadBody() {
		read, err := b.ReadBody(k.buf[:k.n])
		if err != nil {
			return err
		}
		k.n = len(read)
	}
	return nil
}

// Next is ReadBody of the body, preceded by what earlier attempts kept. At the end of the body,
// Ended returns true.
func (k *Replay) Next(b Incoming, dst []byte) ([]byte, error) {
	if k.sent < k.n {
		again := k.buf[k.sent:min(k.n, k.sent+cap(dst)-len(dst))]
		k.sent += len(again)
		return append(dst, again...), nil
	}
	start := len(dst)
	dst, err := b.ReadBody(dst)
	k.keep(dst[start:])
	return dst, err
}

// Ended reports whether Next has returned the whole body.
func (k *Replay) Ended(b Incoming) bool { return b.HasReadBody() && k.sent == k.n }

// Lost reports whether the body cannot be sent again.
func (k *Replay) Lost() bool { return k.lost }

// keep adds bytes that this attempt sends. If they do not fit, nothing is kept any more.
func (k *Replay) keep(b []byte) {
	switch {
	case k.lost || len(b) == 0:
		return
	case k.n+len(b) > BufferSize:
		k.Lose()
		return
	case k.buf == nil:
		k.buf = Buffers.Get().(*[BufferSize]byte)[:]
	}
	k.n += copy(k.buf[k.n:], b)
	k.sent = k.n
}

// Rewind lets an attempt start with what was kept.
func (k *Replay) Rewind() { k.sent = 0 }

// Lose marks the body as one that cannot be sent again, and gives the buffer back, unless it holds
// a whole body that was not sent yet.
func (k *Replay) Lose() {
	k.lost = true
	if k.whole == nil || k.sent == k.n {
		k.Release()
	}
}

// Release gives the buffer back.
func (k *Replay) Release() {
	if k.buf == nil {
		return
	}
	if k.whole != nil {
		k.whole.Give(int64(len(k.buf)))
	}
	if cap(k.buf) == BufferSize {
		Buffers.Put((*[BufferSize]byte)(k.buf[:BufferSize]))
	}
	k.buf, k.n, k.sent = nil, 0, 0
}
