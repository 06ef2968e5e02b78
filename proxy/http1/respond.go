package http1

import (
	"time"

	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
)

// Buffer returns an empty buffer for a header to a backend or to the client. It is the stream's: a
// later call returns the same one.
func (s *Stream) Buffer() []byte { return s.out[:0] }

// SendInterim sends an interim response (RFC 9110, section 15.2), whose header b holds without its
// empty line. b is from Buffer. It returns ClientGone if the client did not take all of it.
func (s *Stream) SendInterim(b []byte) reason.Code {
	s.out = append(b, "\r\n"...)
	return s.write(s.out)
}

// Begin begins a response whose body a backend frames in this way, and returns the buffer for its
// header. uploaded reports whether the request's body was read: otherwise the connection ends. The
// header is complete with EndHeader; nothing is sent before Flush.
func (s *Stream) Begin(f message.Framing, uploaded bool) []byte {
	s.framing = f
	s.closeIf(s.activity.draining.Load() || !uploaded || s.Request.HTTP10 && s.unknownLength())
	return s.Buffer()
}

// unknownLength reports whether the header of the response does not give the length of its body.
func (s *Stream) unknownLength() bool {
	return s.framing == message.Chunked || s.framing == message.UntilClose
}

// Chunks reports whether the response's body is sent to the client in chunks: its length is unknown
// and the client understands chunks.
func (s *Stream) Chunks() bool { return s.unknownLength() && !s.Request.HTTP10 }

// EndHeader ends the header that b holds, and tells the client how the body is framed and whether
// the connection stays open.
func (s *Stream) EndHeader(b []byte, status int) {
	s.status = status
	if s.Chunks() {
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	if status == message.UpgradeRequired || status == message.SwitchingProtocols {
		b = append(b, "Connection: Upgrade\r\n"...)
	}
	if status == message.SwitchingProtocols {
		s.out = append(b, "\r\n"...)
		return
	}
	s.out = s.appendConnection(b)
}

// appendConnection ends a header, and tells the client whether its connection stays open.
func (s *Stream) appendConnection(dst []byte) []byte {
	if s.Ends() {
		return append(dst, "Connection: close\r\n\r\n"...)
	}
	if s.Request.HTTP10 {
		return append(dst, "Connection: keep-alive\r\n\r\n"...)
	}
	return append(dst, "\r\n"...)
}

// Room returns the buffer to which the next data of the body is appended, up to its capacity,
// before it is passed to Add. It is full if a large header has to be flushed first.
func (s *Stream) Room() []byte {
	if s.Status != 0 && s.large == nil {
		s.widen()
	}
	if !s.Chunks() {
		return s.out
	}
	return s.out[:len(s.out):max(len(s.out), cap(s.out)-chunkOverhead)]
}

// Add adds what was appended to Room to the bytes to send, framed for the client.
func (s *Stream) Add(b []byte) {
	start := len(s.out)
	s.out = s.out[:len(b)]
	if s.Chunks() && len(b) > start {
		s.out = appendChunk(s.out, start)
	}
}

// EndBody ends the body, with those of the response's trailers that go on.
func (s *Stream) EndBody(r *message.Response, t *message.Trailers) {
	if s.Chunks() {
		s.out = append(s.out, "0\r\n"...)
		s.out = r.AppendTrailers(s.out, t)
		s.out = append(s.out, "\r\n"...)
	}
}

// Flush sends the header, and the data that was added. From then on the response has begun. It
// returns ClientGone if the client did not take all of it, which resets the connection.
func (s *Stream) Flush() reason.Code {
	s.Status = s.status
	why := s.write(s.out)
	s.out = s.out[:0]
	return why
}

// widen puts a larger buffer in place, for a body that did not fit into the first write.
func (s *Stream) widen() {
	s.large = streamBuffers.Get().(*[streamBufferSize]byte)
	s.first, s.out = s.out, s.large[:0]
}

// narrow undoes widen.
func (s *Stream) narrow() {
	if s.large != nil {
		streamBuffers.Put(s.large)
		s.large, s.out = nil, s.first
	}
}

// write writes to the client's connection, without fasthttp. The client must take something within
// every body timeout.
func (s *Stream) write(b []byte) reason.Code {
	if len(b) == 0 {
		return reason.None
	}
	n, err := s.conn.Deliver(time.Now(), b, s.limits.BodyTimeout)
	s.Sent += int64(n)
	if err != nil {
		s.Cause = untaken(err, s.limits.BodyTimeout)
		s.conn.abort() // it may only have paused: a truncated response must not look complete
		return reason.ClientGone
	}
	return reason.None
}
