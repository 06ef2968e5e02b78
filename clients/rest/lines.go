package rest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"

	"github.com/valyala/fasthttp"
)

// MaxLine is the length of the longest line that Lines returns, in bytes, without its line break.
const MaxLine = 1 << 20

// Lines reads the body of a request line by line, while it comes, whatever its length: it is bounded
// neither by MaxBody nor by server.max_body_size. It holds one line at a time, and at most 1 MiB. The
// client must not be silent for 30 s (on the proxy's listener: server.body_timeout), but may take any
// time in all. Lines is for the goroutine of the call, until it returns: not for what Stream calls.
type Lines struct {
	in     *bufio.Reader
	number int    // of the last line
	long   []byte // a line that did not fit into the buffer of in
	failed error  // what Next returns from now on
}

// readAhead is how much of an upload is read at once, in bytes.
const readAhead = 64 << 10

// NewLines returns the lines of the body of a call.
func NewLines(ctx *fasthttp.RequestCtx) *Lines {
	boundSilence(ctx.Conn())
	body := ctx.RequestBodyStream()
	if body == nil {
		body = bytes.NewReader(ctx.Request.Body())
	}
	return &Lines{in: bufio.NewReaderSize(body, readAhead)}
}

// Number returns the number of the line that Next has returned last, from 1.
func (l *Lines) Number() int { return l.number }

// Next returns the next line without its line break, which is LF or CRLF and may be missing from the
// last one. A byte order mark before the first line is left out. The line is valid until the next
// call. At the end of the body the error is io.EOF. All others are Faults: code TooLarge for a line
// longer than MaxLine, whose number the message has, after which Next goes on with the line that
// follows; Late for a silent client, Unavailable at the end of the server and Malformed for a body
// that breaks off, after which there are no more lines.
func (l *Lines) Next() ([]byte, error) {
	if l.failed != nil {
		return nil, l.failed
	}
	line, long, err := l.read()
	if err != nil && err != io.EOF {
		l.failed = bodyFault(err)
		return nil, l.failed
	}
	if err == io.EOF {
		if l.failed = err; len(line) == 0 && !long {
			return nil, err
		}
	}
	l.number++
	line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
	if long || len(line) > MaxLine {
		return nil, &Fault{Code: TooLarge,
			Message: fmt.Sprintf("line %d is too long; allowed are %d bytes", l.number, MaxLine)}
	}
	if l.number == 1 {
		line = bytes.TrimPrefix(line, byteOrderMark)
	}
	return line, nil
}

// read reads up to the next line break or the end. Of a line that is long beyond MaxLine it keeps
// nothing.
func (l *Lines) read() (line []byte, long bool, err error) {
	part, err := l.in.ReadSlice('\n')
	if err != bufio.ErrBufferFull {
		return part, false, err
	}
	l.long = l.long[:0]
	for {
		if long = long || len(l.long)+len(part) > MaxLine+len("\r\n"); !long {
			l.long = append(l.long, part...)
		}
		if err != bufio.ErrBufferFull {
			break
		}
		part, err = l.in.ReadSlice('\n')
	}
	if long {
		return nil, true, err
	}
	return l.long, false, err
}
