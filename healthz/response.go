package healthz

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
)

const (
	// maxHeaderSize is the most bytes that one check reads of the response header, interim (1xx)
	// responses included.
	maxHeaderSize = 64 << 10
	// maxBodySize is the most bytes of the body that a check looks at, without their chunks.
	maxBodySize = 64 << 10
	// maxCodedSize is the most bytes that one check reads of the body, with their chunks.
	maxCodedSize = 1 << 20
)

// response is the answer to a check, as far as it was read.
type response struct {
	limited *io.LimitedReader
	lines   *textproto.Reader

	status  int   // of the final response
	chunked bool  // its body has the chunked transfer coding
	length  int64 // of its body; -1: unknown
}

func newResponse(conn io.Reader) *response {
	limited := &io.LimitedReader{R: conn, N: maxHeaderSize}
	return &response{limited: limited, lines: textproto.NewReader(bufio.NewReaderSize(limited, 1<<10))}
}

// readHeader reads up to the end of the final response's header.
func (r *response) readHeader() error {
	for {
		if err := r.readOneHeader(); err != nil {
			if r.limited.N <= 0 {
				return fmt.Errorf("it is longer than %d bytes", maxHeaderSize)
			}
			return err
		}
		// RFC 9110, section 15.2: any number of 1xx responses may come first. A 101 is the last
		// response of HTTP.
		if r.status >= 200 || r.status == http.StatusSwitchingProtocols {
			return nil
		}
	}
}

// readOneHeader reads one header, up to its empty line. It ignores fields that make no sense: the
// proxy forwards responses with odd ones, so those must not take a backend out.
func (r *response) readOneHeader() error {
	r.chunked, r.length = false, -1
	line, err := r.lines.ReadLine()
	if err == nil {
		r.status, err = parseStatusLine(line)
	}
	for err == nil && line != "" {
		if line, err = r.lines.ReadLine(); err == nil {
			r.readField(line)
		}
	}
	return endsEarly(err)
}

// readField notes what a field says of the body's end.
func (r *response) readField(line string) {
	name, value, _ := strings.Cut(line, ":")
	switch {
	case strings.EqualFold(name, "Content-Length"):
		first, _, _ := strings.Cut(value, ",")
		if n, err := strconv.ParseInt(strings.TrimSpace(first), 10, 64); err == nil && n >= 0 && r.length < 0 {
			r.length = n
		}
	case strings.EqualFold(name, "Transfer-Encoding"):
		codings := strings.Split(value, ",")
		r.chunked = strings.EqualFold(strings.TrimSpace(codings[len(codings)-1]), "chunked")
	}
}

// bodyContains reads the body until it has found the text, but no more than maxBodySize of it. An
// error means that the body broke off, and that the text was not in what came before.
func (r *response) bodyContains(text string) (bool, error) {
	if r.status == http.StatusNoContent || r.status == http.StatusNotModified {
		return false, nil
	}
	r.limited.N = maxCodedSize
	body, limit := io.Reader(r.lines.R), int64(maxBodySize)
	switch {
	case r.chunked: // RFC 9112, section 6.3: it overrides Content-Length
		body = &chunks{lines: r.lines}
	case r.length >= 0:
		limit = min(limit, r.length)
	}
	n, found, err := search(io.LimitReader(body, limit), []byte(text))
	if err == nil && !found && !r.chunked && r.length >= 0 && n < limit {
		err = io.ErrUnexpectedEOF
	}
	return found, err
}

// search reads until it has found the text, or to the end, and returns how many bytes it has read.
func search(r io.Reader, text []byte) (n int64, found bool, err error) {
	var seen []byte
	for buf := make([]byte, 4<<10); ; {
		n, err := r.Read(buf)
		from := max(0, len(seen)-len(text)+1) // it may begin in what came before
		seen = append(seen, buf[:n]...)
		found := bytes.Contains(seen[from:], text)
		if err == io.EOF || found {
			err = nil
		} else if err == nil {
			continue
		}
		return int64(len(seen)), found, err
	}
}

// chunks reads the data of a body with the chunked transfer coding, up to the last chunk. Unlike
// the reader of httputil, it returns what has come rather than wait for its buffer to be full.
type chunks struct {
	lines *textproto.Reader
	left  int64 // of the chunk's data
	ends  bool  // a chunk's data was read, and its line end comes next
}

func (c *chunks) Read(p []byte) (n int, err error) {
	if c.left == 0 {
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	n, err = c.lines.R.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	c.ends = c.left == 0
	return n, endsEarly(err)
}

// next reads the line that begins a chunk. It returns io.EOF at the last one.
func (c *chunks) next() error {
	if c.ends {
		if line, err := c.lines.ReadLine(); err != nil || line != "" {
			return cmp.Or(endsEarly(err), fmt.Errorf("invalid chunk: %.100q follows its data", line))
		}
	}
	line, err := c.lines.ReadLine()
	if err != nil {
		return endsEarly(err)
	}
	digits, _, _ := strings.Cut(line, ";")
	size, err := strconv.ParseUint(strings.TrimRight(digits, " \t"), 16, 62)
	if err != nil {
		return fmt.Errorf("invalid chunk: %.100q is no size", line)
	}
	if size == 0 {
		return io.EOF
	}
	c.left = int64(size)
	return nil
}

// endsEarly returns the error of a read that must not meet the end.
func endsEarly(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// parseStatusLine returns the status code of a line such as "HTTP/1.1 200 OK", with or without the
// phrase.
func parseStatusLine(line string) (status int, err error) {
	version, rest, _ := strings.Cut(line, " ")
	code, _, _ := strings.Cut(rest, " ")
	status, err = strconv.Atoi(code)
	if version != "HTTP/1.1" && version != "HTTP/1.0" || len(code) != 3 || err != nil || status < 100 {
		return 0, fmt.Errorf("malformed HTTP status line %.100q", line)
	}
	return status, nil
}
