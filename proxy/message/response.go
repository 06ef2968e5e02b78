package message

import (
	"bytes"
	"time"
)

// Response is the header of a backend's response. Its slices point into the header, and so are
// valid only until the buffer that holds it is used again.
type Response struct {
	Status  int
	HTTP10  bool
	HTTP2   bool // it came in HTTP/2; set after Parse
	Framing Framing
	Length  int64 // of a FixedLength body, in bytes
	Keep    bool  // the connection can serve another request after the body
	// KeepFor is how long the backend keeps the connection after the body, where its Keep-Alive field
	// says so; 0: it says nothing.
	KeepFor time.Duration
	Upgrade []byte // the protocol that it switches to, or asks for; nil: none
	HasID   bool   // it has an X-Request-Id, which goes on to the client

	line   []byte // the status line, starting at the status code
	fields []byte // the header's lines
	hop    hop
}

// Version returns the version of HTTP that the response came in.
func (r *Response) Version() Version {
	switch {
	case r.HTTP2:
		return HTTP2
	case r.HTTP10:
		return HTTP10
	}
	return HTTP11
}

// Protocol is what every response of HTTP/1 begins with.
var Protocol = []byte("HTTP/1.")

// Parse reads a response's header, which ends in an empty line and whose lines all end in CRLF.
// head is true for the response to HEAD. ok is false if the header is not valid HTTP/1.1, or can be
// read in more than one way.
func (r *Response) Parse(header []byte, head bool) (ok bool) {
	*r = Response{}
	line := indexNewline(header)
	if line < len("HTTP/1.1 200\r") || header[line-1] != '\r' || !bytes.HasPrefix(header, Protocol) ||
		header[7] != '0' && header[7] != '1' || header[8] != ' ' {
		return false
	}
	status, ok := parseLength(header[9:12])
	if !ok || status < 100 || header[12] != ' ' && header[12] != '\r' || !Text.HasAll(header[12:line-1]) {
		return false
	}
	r.Status = int(status)
	r.HTTP10 = header[7] == '0'
	r.line = header[9 : line+1]
	r.fields = header[line+1 : len(header)-2]
	return r.readFields(head)
}

// readFields checks each field, and determines how the body is framed and whether the connection
// stays open.
func (r *Response) readFields(head bool) (ok bool) {
	var framed framingFields
	var closes, persists bool
	for block := r.fields; len(block) > 0; {
		f, rest, ok := nextField(block, Text)
		if !ok {
			return false
		}
		block = rest
		switch f.kind {
		case kindConnection:
			ok = r.hop.add(f.value)
			closes = closes || lists(f.value, tokenClose)
			persists = persists || r.HTTP10 && lists(f.value, tokenKeepAlive)
		case kindKeepAlive:
			closes = !r.noteKeepAlive(f.value) || closes
		case kindContentLength:
			ok = framed.addLength(f.value)
		case kindTransferEncoding:
			framed.codings++
			ok = isChunked(f.value)
		case kindUpgrade:
			r.Upgrade = f.value
		case kindRequestID:
			r.HasID = true
		}
		if !ok {
			return false
		}
	}
	if r.Framing, ok = framed.framing(r.Status, head); !ok {
		return false
	}
	r.Length = framed.bytes
	// An interim response is followed by the final one. HTTP/1.0 knows no chunks: software
	// disagrees on where a chunked body ends there (RFC 9112, section 6.1).
	r.Keep = r.Status >= 200 && !closes && (!r.HTTP10 || persists && framed.codings == 0) &&
		r.Framing != UntilClose && (r.Framing != NoBody || !framed.announceBody(r.Status, head))
	if framed.repeated {
		r.fields = framed.lengthOnce(r.fields)
	}
	if r.Framing == Chunked {
		r.hop.keep() // for the trailers: by then the body has passed through the buffer
	}
	return true
}

var (
	tokenClose     = []byte("close")
	tokenKeepAlive = []byte("keep-alive")
)

// isChunked reports whether a Transfer-Encoding is chunked, the only coding supported.
func isChunked(value []byte) bool { return len(value) == 7 && equalFold(value, "chunked") }

// CallStatus returns the status of a call of gRPC in the response's header, where it is if the
// response has nothing else, or -1. The header must still be there.
func (r *Response) CallStatus() int { return callStatus(r.fields) }
