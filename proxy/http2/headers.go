package http2

import (
	"time"

	"golang.org/x/net/http2/hpack"

	"loadbalancer/proxy/message"
)

// headerReader reads header blocks. The goroutine that reads the connection's frames owns it.
type headerReader struct {
	decoder *hpack.Decoder
	list    list

	stream    uint32 // of the block that has begun; 0: none has
	what      headerKind
	ends      bool      // the stream ends with it
	why       *fault    // what is wrong with the stream; nil: nothing is
	into      *Stream   // of a request; nil: it is none, or none that is served
	by        time.Time // when it must have ended; zero: all frames of it have come
	fragments int       // CONTINUATION frames
	size      int       // bytes of the block so far

	trailers message.Trailers
}

// headerKind is what a header block is.
type headerKind uint8

const (
	ignored headerKind = iota // it is decoded for the table of HPACK alone
	aRequest
	ofTrailers
)

const (
	// maxFragments is how many CONTINUATION frames a block may have. Clients fill each frame.
	maxFragments = 32
)

func (h *headerReader) init(most int) {
	h.list.most = most
	h.decoder = hpack.NewDecoder(tableSize, h.list.add)
}

// take decodes a part of a block.
func (h *headerReader) take(part []byte) *fault {
	if h.size += len(part); h.size > 2*h.list.most+maxFrameSize {
		return connFault(codeEnhanceCalm)
	}
	if _, err := h.decoder.Write(part); err != nil {
		return connFault(codeCompression)
	}
	return nil
}

// close ends a block.
func (h *headerReader) close() *fault {
	h.stream = 0
	if h.decoder.Close() != nil {
		return connFault(codeCompression)
	}
	return nil
}

// receiveHeaders begins a header block: a request, or the trailers of one.
func (c *conn) receiveHeaders(f *frame) *fault {
	h := &c.header
	part, why := f.fragment()
	if why != nil && why.stream == 0 {
		return why
	}
	what, closed := c.expects(f)
	if closed != nil && closed.stream == 0 {
		return closed
	}
	if why == nil {
		why = closed
	}
	h.stream, h.what, h.ends, h.why, h.fragments, h.size = f.stream, what, f.flags.has(flagEndStream), why, 0, 0
	if what == aRequest && why == nil {
		h.into = newStream()
		h.list.begin(h.into.header)
	} else {
		h.trailers = message.Trailers{}
		h.list.beginTrailers(&h.trailers)
	}
	if why := h.take(part); why != nil {
		return why
	}
	if f.flags.has(flagEndHeaders) {
		return c.endHeaders()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	h.by = time.Now().Add(c.bounds.ReadHeaderTimeout)
	c.readBy(h.by)
	return nil
}

// receiveContinuation goes on with a block.
func (c *conn) receiveContinuation(f *frame) *fault {
	h := &c.header
	if h.fragments++; h.fragments > maxFragments {
		return connFault(codeEnhanceCalm)
	}
	if why := h.take(f.payload); why != nil || !f.flags.has(flagEndHeaders) {
		return why
	}
	c.mu.Lock()
	h.by = time.Time{}
	c.readBy(time.Now().Add(c.bounds.IdleTimeout))
	c.mu.Unlock()
	return c.endHeaders()
}

// expects returns what a HEADERS frame begins. A fault of its stream counts once the block was read.
func (c *conn) expects(f *frame) (what headerKind, why *fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.streams[f.stream]
	switch {
	case f.stream%2 == 0:
		return ignored, connFault(codeProtocol)
	case c.out.control > maxControl:
		return ignored, connFault(codeEnhanceCalm) // it does not read that its requests are malformed
	case s != nil && s.wasReset, s == nil && f.stream <= c.last && c.resets.has(f.stream):
		return ignored, nil // it was on its way
	case s != nil && s.remoteEnd:
		return ignored, connFault(codeStreamClosed)
	case s != nil && !f.flags.has(flagEndStream):
		return ignored, &fault{codeProtocol, f.stream}
	case s != nil:
		return ofTrailers, nil
	case f.stream <= c.last:
		return ignored, connFault(codeStreamClosed)
	case c.goAway == left:
		return ignored, nil
	}
	c.last = f.stream
	if c.open >= maxStreams {
		return ignored, &fault{codeRefusedStream, f.stream}
	}
	return aRequest, nil
}

// endHeaders takes a header list that is complete.
func (c *conn) endHeaders() *fault {
	h := &c.header
	stream := h.stream
	if why := h.close(); why != nil {
		return why
	}
	s := h.into
	h.into = nil
	switch {
	case s != nil:
		s.take(&h.list)
		c.begins(stream, s)
	case h.why != nil:
		return h.why
	case h.what == ofTrailers && (h.list.over || h.list.why != nil):
		return &fault{codeProtocol, stream}
	case h.what == ofTrailers:
		c.endsWith(stream, &h.trailers)
	}
	return nil
}
