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
	line    []byte // the status line, starting at the status code
	fields  []byte // the header's lines
	hop     hopOptions
	body    body
	http10  bool
	keep    bool   // the connection can serve another request after this body
	upgrade []byte // the protocol that it switches to, or asks for
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
	if err := r.parseHeader(header, head, timeout); err != nil {
		return err
	}
	r.in.r += size
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
		if !beginsLike(have, protocolPrefix) {
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

// parseHeader parses the header b, whose lines all end in CRLF.
func (r *response) parseHeader(b []byte, head bool, timeout time.Duration) error {
	line := indexNewline(b)
	if line < len("HTTP/1.1 200\r") || b[line-1] != '\r' || !bytes.HasPrefix(b, protocolPrefix) ||
		b[7] != '0' && b[7] != '1' || b[8] != ' ' {
		return errResponseHeader
	}
	status, ok := parseLength(b[9:12])
	if !ok || status < 100 || b[12] != ' ' && b[12] != '\r' || !onlyClass(b[12:line-1], classText) {
		return errResponseHeader
	}
	r.status = int(status)
	r.line = b[9 : line+1]
	r.fields = b[line+1 : len(b)-2]
	return r.readFields(b[7] == '0', head, timeout)
}

var protocolPrefix = []byte("HTTP/1.")

// readFields checks each field, and determines how the body is framed and whether the connection
// stays open.
func (r *response) readFields(http10, head bool, timeout time.Duration) error {
	r.hop, r.upgrade, r.http10 = hopOptions{}, nil, http10
	var framed framingFields
	var closes, persists bool
	for block := r.fields; len(block) > 0; {
		f, rest, ok := nextField(block, classText)
		if !ok {
			return errResponseHeader
		}
		block = rest
		switch f.kind {
		case kindConnection:
			ok = r.hop.add(f.value)
			closes = closes || namedBy(f.value, tokenClose)
			persists = persists || http10 && namedBy(f.value, tokenKeepAlive)
		case kindContentLength:
			ok = framed.addLength(f.value)
		case kindTransferEncoding:
			framed.codings++
			ok = isChunked(f.value)
		case kindUpgrade:
			r.upgrade = f.value
		}
		if !ok {
			return errResponseHeader
		}
	}
	how, ok := framed.framing(r.status, head)
	if !ok {
		return errResponseHeader
	}
	// An interim response is followed by the final one. HTTP/1.0 knows no chunks: software
	// disagrees on where a chunked body ends there (RFC 9112, section 6.1).
	r.keep = r.status >= 200 && !closes && (!http10 || persists && framed.codings == 0) &&
		how != untilClose && (how != noBody || !framed.announceBody(r.status, head))
	if framed.repeated {
		r.fields = framed.lengthOnce(r.fields)
	}
	r.body = newBody(&r.in, how, framed.bytes, timeout)
	if how == chunked {
		r.body.trailers.values = classText
		r.hop.keep() // for the trailers: by then the body has passed through the buffer
	}
	return nil
}

var (
	tokenClose     = []byte("close")
	tokenKeepAlive = []byte("keep-alive")
)

// isChunked reports whether a Transfer-Encoding is chunked, the only coding supported.
func isChunked(value []byte) bool { return len(value) == 7 && equalFold(value, "chunked") }

// reusable reports whether the connection can go back to the pool: the response was read to its
// end, and no bytes followed it. Such bytes would be taken for the response to another request.
func (r *response) reusable() bool { return r.keep && r.body.ended && len(r.in.buffered()) == 0 }
