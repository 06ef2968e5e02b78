package proxy

import (
	"bytes"
	"errors"
	"time"
)

// response is one backend's response.
type response struct {
	in      inbound
	status  int
	line    []byte // the status line from the status code on
	fields  []byte // the header's lines
	hop     hopOptions
	body    body
	http10  bool
	keep    bool   // the connection can serve another request
	upgrade []byte // the protocol it changes to, or asks for
}

// responseBufferSize bounds the header of a response.
const responseBufferSize = 16 << 10

var (
	errResponseHeader = errors.New("the response header is not valid HTTP/1.1")
	errResponseSize   = errors.New("the response header is larger than 16 KiB")
)

// readHeader reads up to the end of the next header: that of an interim response
// (RFC 9110, section 15.2), or of the final one. head is true for the answer to
// HEAD; timeout is the longest silence in the body. When it has timed out it may
// be called again, and goes on.
func (r *response) readHeader(head bool, timeout time.Duration) error {
	size, err := r.waitHeader()
	if err != nil {
		return err
	}
	if err := r.parseHeader(r.in.buffered()[:size], head, timeout); err != nil {
		return err
	}
	r.in.r += size
	return nil
}

// waitHeader reads until the buffer holds a whole header, and returns its size.
func (r *response) waitHeader() (int, error) {
	for scanned := 0; ; {
		have := r.in.buffered()
		if i := bytes.Index(have[scanned:], headerEnd); i >= 0 {
			return scanned + i + len(headerEnd), nil
		}
		scanned = max(0, len(have)-len(headerEnd)+1)
		if len(have) == len(r.in.buf) {
			return 0, errResponseSize
		}
		if err := r.in.fill(0); err != nil { // send has set the deadline
			return 0, err
		}
	}
}

var headerEnd = []byte("\r\n\r\n")

// parseHeader reads one header, of which b is the whole.
func (r *response) parseHeader(b []byte, head bool, timeout time.Duration) error {
	line := indexNewline(b)
	if line < len("HTTP/1.1 200\r") || b[line-1] != '\r' || !bytes.HasPrefix(b, protocolPrefix) ||
		b[7] != '0' && b[7] != '1' || b[8] != ' ' {
		return errResponseHeader
	}
	status, ok := parseLength(b[9:12])
	if !ok || status < 100 || status > 599 || b[12] != ' ' && b[12] != '\r' || !onlyClass(b[12:line-1], classValue) {
		return errResponseHeader
	}
	r.status = int(status)
	r.line = b[9 : line+1]
	r.fields = b[line+1 : len(b)-2]
	return r.readFields(b[7] == '0', head, timeout)
}

var protocolPrefix = []byte("HTTP/1.")

// readFields checks each field, and finds out how the body is framed and whether
// the connection will live on.
func (r *response) readFields(http10, head bool, timeout time.Duration) error {
	r.hop, r.upgrade, r.http10 = hopOptions{}, nil, http10
	r.keep = !http10
	var lengths, codings int
	var length int64
	for block := r.fields; len(block) > 0; {
		f, rest, ok := nextField(block)
		if !ok {
			return errResponseHeader
		}
		block = rest
		switch f.kind {
		case kindConnection:
			ok = r.hop.add(f.value)
			if namedBy(f.value, tokenClose) {
				r.keep = false
			} else if http10 && namedBy(f.value, tokenKeepAlive) {
				r.keep = true
			}
		case kindContentLength:
			lengths++
			length, ok = parseLength(f.value)
		case kindTransferEncoding:
			codings++
			ok = !http10 && isChunked(f.value)
		case kindUpgrade:
			r.upgrade = f.value
		}
		if !ok {
			return errResponseHeader
		}
	}
	if lengths+codings > 1 {
		return errResponseHeader
	}
	// RFC 9112, section 6.3, in the order of its rules.
	how := untilClose
	switch {
	case head || r.status < 200 || r.status == 204 || r.status == 304:
		how = noBody
		// Who frames a body that may not be there may send one, after this header.
		r.keep = r.keep && (head || r.status == 304 || codings == 0 && length == 0)
	case codings == 1:
		how = chunked
		r.hop.keep() // for the trailers: by then the body has gone through the buffer
	case lengths == 1:
		how = fixedLength
	default:
		r.keep = false
	}
	r.body = newBody(&r.in, how, length, timeout)
	return nil
}

var (
	tokenClose     = []byte("close")
	tokenKeepAlive = []byte("keep-alive")
)

// isChunked reports whether a Transfer-Encoding is the only one we understand.
func isChunked(value []byte) bool { return len(value) == 7 && equalFold(value, "chunked") }

// reusable reports whether the connection can go back to the pool: the response
// was read to its end, and nothing came behind it (what did would be taken for
// the answer to somebody else's request).
func (r *response) reusable() bool { return r.keep && r.body.ended && len(r.in.buffered()) == 0 }
