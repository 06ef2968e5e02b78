package proxy

import (
	"errors"
	"time"

	"loadbalancer/proxy/message"
)

// response is one backend's response.
type response struct {
	message.Response
	in   inbound
	body body
}

// responseBufferSize is the largest response header.
const responseBufferSize = 16 << 10

var (
	errResponseHeader = errors.New("the response header is not valid HTTP/1.1")
	errResponseSize   = errors.New("the response header is larger than 16 KiB")
)

// readHeader reads the next header: that of an interim response (RFC 9110, section 15.2) or of the
// final one. head is true for the response to HEAD; timeout is the longest pause in the body. After
// a timeout it may be called again, and continues.
func (r *response) readHeader(head bool, timeout time.Duration) error {
	lines, size, err := r.waitHeader()
	if err != nil {
		return err
	}
	header := r.in.buffered()[:size]
	if lines.lone {
		header = inCRLF(header)
	}
	if !r.Parse(header, head) {
		return errResponseHeader
	}
	r.in.r += size
	r.body = newBody(&r.in, r.Framing, r.Length, timeout)
	r.body.trailers.Lax = true
	return nil
}

// waitHeader reads until the buffer holds a complete header, and returns its lines and its size.
// Bytes that cannot become a header are an error at once: a backend that speaks another protocol,
// such as TLS or SMTP, may be waiting for its peer.
func (r *response) waitHeader() (lines headerLines, size int, err error) {
	for {
		have := r.in.buffered()
		if size, err = lines.end(have); size > 0 || err != nil {
			return lines, size, err
		}
		if !beginsLike(have, message.Protocol) {
			return lines, 0, errResponseHeader
		}
		if len(have) == len(r.in.buf) {
			return lines, 0, errResponseSize
		}
		if err := r.in.fill(0); err != nil { // send has set the deadline
			return lines, 0, err
		}
	}
}

// reusable reports whether the connection can go back to the pool: the response was read to its
// end, and no bytes followed it. Such bytes would be taken for the response to another request.
func (r *response) reusable() bool { return r.Keep && r.body.ended && len(r.in.buffered()) == 0 }
