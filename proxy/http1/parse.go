package http1

import (
	"bufio"
	"bytes"

	"github.com/valyala/fasthttp"

	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
)

// Parse reads a request line and a header, which must end with an empty line, as the server reads
// them from a connection. For any that it refuses before the guard, it returns why, and that in
// words.
func (s *Server) Parse(text []byte) (r *message.Request, why reason.Code, cause error) {
	from := scannedText{text: bytes.NewReader(text)}
	var h fasthttp.RequestHeader
	if err := h.Read(bufio.NewReaderSize(&from, s.options.MaxHeaderSize)); err != nil {
		why, cause = refusal(from.scan.faulty, err)
		return nil, why, cause
	}
	if from.scan.faulty {
		return nil, reason.BadRequest, errRequestLines
	}
	return &message.Request{Method: h.Method(), Target: h.RequestURI(), Proto: h.Protocol(), Header: h.RawHeaders()}, reason.None, nil
}

// scannedText is read as a clientConn is: faulty lines end it.
type scannedText struct {
	text *bytes.Reader
	scan headerScan
}

// Read reads the text.
func (t *scannedText) Read(p []byte) (int, error) {
	n, err := t.text.Read(p)
	t.scan.end(p[:n])
	if err == nil {
		err = t.scan.fault()
	}
	return n, err
}
