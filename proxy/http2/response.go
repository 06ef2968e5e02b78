package http2

import (
	"bytes"
	"fmt"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
)

// response is the response on its way to the client.
type response struct {
	w        http.ResponseWriter
	status   int       // of the header that is complete
	size     int64     // of that header, in bytes
	ended    bool      // nothing follows what is in Out
	trailers []byte    // lines that follow the body
	patience *patience // nil before the first write
	large    *[ends.BufferSize]byte
	first    []byte // Out before large
}

// Begin is that of ends.Outgoing.
func (s *Stream) Begin(message.Framing, bool) []byte { return s.Buffer() }

// TakesTrailers is that of ends.Outgoing.
func (s *Stream) TakesTrailers() bool { return true }

// EndHeader is that of ends.Outgoing.
func (s *Stream) EndHeader(b []byte, status int) {
	header := s.response.w.Header()
	clear(header) // of a response that was not sent
	list(header, b)
	for _, name := range [...]string{"Content-Length", "Content-Type", "Date"} { // net/http adds none of its own
		if _, ok := header[name]; !ok {
			header[name] = nil
		}
	}
	if s.Request.LacksCertificate() { // the client has to make another connection
		header["Connection"] = []string{"close"} // for net/http: a GOAWAY
	}
	s.response.status, s.response.size = status, int64(len(b))
	s.Out = b[:0]
}

// list adds the fields of a block, behind the status line, to a list. What is about the connection
// is not for HTTP/2 (RFC 9113, section 8.2.2).
func list(header http.Header, block []byte) {
	text := string(block)
	values := make([]string, 0, strings.Count(text, "\n"))
	for text = text[strings.IndexByte(text, '\n')+1:]; text != ""; {
		end := strings.IndexByte(text, '\n')
		if end < 1 {
			break
		}
		line := text[:end-1] // without CR
		text = text[end+1:]
		colon := strings.IndexByte(line, ':')
		if colon < 0 {
			continue
		}
		name := textproto.CanonicalMIMEHeaderKey(line[:colon])
		switch name {
		case "Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade":
			continue
		}
		value := textproto.TrimString(line[colon+1:])
		if before, ok := header[name]; ok {
			header[name] = append(before, value)
			continue
		}
		values = append(values, value)
		header[name] = values[len(values)-1 : len(values) : len(values)]
	}
}

// Room is that of ends.Outgoing.
func (s *Stream) Room() []byte {
	if s.Status != 0 && s.response.large == nil {
		s.response.large = ends.Buffers.Get().(*[ends.BufferSize]byte)
		s.response.first, s.Out = s.Out, s.response.large[:0]
	}
	return s.Out
}

// narrow gives the large buffer back.
func (s *Stream) narrow() {
	if s.response.large != nil {
		ends.Buffers.Put(s.response.large)
		s.response.large, s.Out = nil, s.response.first
	}
}

// Add is that of ends.Outgoing.
func (s *Stream) Add(b []byte) { s.Out = b }

// EndBody is that of ends.Outgoing.
func (s *Stream) EndBody(r *message.Response, t *message.Trailers) {
	s.response.trailers = r.AppendTrailers(nil, t)
	s.response.ended = true
}

// FlushAhead is that of ends.Outgoing. It waits for a slow client: only its own stream is held up.
func (s *Stream) FlushAhead(int64, bool) reason.Code {
	r := &s.response
	if s.Status == 0 {
		r.w.WriteHeader(r.status)
		s.Status, s.Sent = r.status, s.Sent+r.size
	}
	rest := s.Out
	s.Out = s.Out[:0]
	for {
		part := rest[:min(len(rest), minFrameSize)]
		rest = rest[len(part):]
		if len(rest) == 0 && r.ended {
			return s.finish(s.writeLast(part))
		}
		if err := s.write(part, len(rest) == 0); err != nil || len(rest) == 0 {
			return s.finish(err)
		}
	}
}

// write writes a part of the body, which the client has to take within the body timeout.
func (s *Stream) write(part []byte, flush bool) error {
	r := &s.response
	if r.patience == nil {
		r.patience = new(patience)
	}
	r.patience.begin(r.w, s.Limits.BodyTimeout)
	defer r.patience.end()
	n, err := r.w.Write(part)
	if s.Sent += int64(n); err == nil && flush {
		err = http.NewResponseController(r.w).Flush()
	}
	return err
}

// writeLast writes the end of the body. What fits into net/http's buffer is sent once the handler has
// returned: see clientConn.leave.
func (s *Stream) writeLast(part []byte) error {
	if len(part) > lastChunk {
		return s.write(part, false)
	}
	if len(part) == 0 {
		return nil
	}
	n, err := s.response.w.Write(part)
	s.Sent += int64(n)
	return err
}

// finish notes the trailers, which net/http sends when the handler returns, or that the client has
// not taken what was written.
func (s *Stream) finish(err error) reason.Code {
	if err == nil && s.response.ended && s.gone() {
		err = s.request.Context().Err()
	}
	if err != nil {
		s.Cause, s.broken = s.untaken(err), true
		return reason.ClientGone
	}
	if s.response.ended && len(s.response.trailers) > 0 {
		header := s.response.w.Header()
		clear(header)
		for line := range bytes.SplitSeq(s.response.trailers, []byte("\r\n")) {
			if name, value, ok := bytes.Cut(line, []byte(":")); ok {
				header.Add(http.TrailerPrefix+textproto.CanonicalMIMEHeaderKey(string(name)), string(bytes.Trim(value, " \t")))
			}
		}
	}
	return reason.None
}

// untaken puts into words why the client did not take the response.
func (s *Stream) untaken(err error) error {
	if s.gone() {
		return errGone
	}
	return fmt.Errorf("write to the client: %w", err)
}

// AwaitAhead is that of ends.Outgoing.
func (s *Stream) AwaitAhead() reason.Code { return reason.None }

// BreakOff is that of ends.Outgoing. A call of gRPC ends with a status of its own, which tells its
// client more than RST_STREAM does.
func (s *Stream) BreakOff(f message.Framing) {
	if !s.Request.GRPC.Is || s.Status == 0 || f == message.FixedLength {
		s.broken = true
		return
	}
	s.response.ended, s.response.trailers = true, reason.BrokenCall
	if s.FlushAhead(0, false) == reason.None {
		s.CallStatus = reason.BrokenCallStatus
	}
}

// SendInterim is that of ends.Outgoing.
func (s *Stream) SendInterim(b []byte) reason.Code {
	header := s.response.w.Header()
	list(header, b)
	status, _ := strconv.Atoi(string(b[len("HTTP/1.1 "):len("HTTP/1.1 103")]))
	s.response.w.WriteHeader(status)
	clear(header)
	return s.finish(nil)
}

// BeginAnswer is that of ends.Outgoing.
func (s *Stream) BeginAnswer(why reason.Code) (header []byte, ok bool) {
	answer := why.Answer()
	if s.Status != 0 || answer == nil {
		s.broken = s.broken || !s.response.ended || why == reason.InternalError
		return nil, false
	}
	return message.AppendDate(append(s.Buffer(), answer.Head...), time.Now()), true
}

// EndAnswer is that of ends.Outgoing.
func (s *Stream) EndAnswer(header []byte, why reason.Code) reason.Code {
	if why == reason.MethodNotAllowed {
		header = append(header, ends.Allow...)
	}
	return s.EndReply(header, why.Status(), why.Answer().Body)
}

// BeginReply is that of ends.Outgoing.
func (s *Stream) BeginReply(status, size int) (header []byte) {
	return message.AppendDate(message.AppendStatus(s.Buffer(), status, size), time.Now())
}

// EndReply is that of ends.Outgoing.
func (s *Stream) EndReply(header []byte, status int, body []byte) reason.Code {
	s.EndHeader(header, status)
	if !s.Request.Head {
		s.Out = append(s.Out, body...)
	}
	s.response.ended, s.response.trailers = true, nil
	return s.FlushAhead(0, true)
}
