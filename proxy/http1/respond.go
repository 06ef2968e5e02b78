package http1

import (
	"time"

	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
)

// SendInterim is that of ends.Outgoing.
func (s *Stream) SendInterim(b []byte) reason.Code {
	s.Out = append(b, "\r\n"...)
	return s.write(s.Out)
}

// Begin is that of ends.Outgoing. The connection ends where the request's body was not read.
func (s *Stream) Begin(f message.Framing, uploaded bool) []byte {
	s.framing = f
	s.closeIf(s.activity.Draining.Load() || !uploaded || s.Request.HTTP10 && s.unknownLength())
	return s.Buffer()
}

// unknownLength reports whether the header of the response does not give the length of its body.
func (s *Stream) unknownLength() bool {
	return s.framing == message.Chunked || s.framing == message.UntilClose
}

// TakesTrailers is that of ends.Outgoing.
func (s *Stream) TakesTrailers() bool { return s.chunks() }

// chunks reports whether the response's body is sent to the client in chunks: its length is unknown
// and the client understands chunks.
func (s *Stream) chunks() bool { return s.unknownLength() && !s.Request.HTTP10 }

// EndHeader is that of ends.Outgoing. It tells the client how the body is framed and whether the
// connection stays open.
func (s *Stream) EndHeader(b []byte, status int) {
	s.status = status
	if s.chunks() {
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	if status == message.UpgradeRequired || status == message.SwitchingProtocols {
		b = append(b, "Connection: Upgrade\r\n"...)
	}
	if status == message.SwitchingProtocols {
		s.Out = append(b, "\r\n"...)
		return
	}
	s.Out = s.appendConnection(b)
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

// Room is that of ends.Outgoing.
func (s *Stream) Room() []byte {
	if s.Status != 0 && s.large == nil {
		s.widen()
	}
	if !s.chunks() {
		return s.Out
	}
	return s.Out[:len(s.Out):max(len(s.Out), cap(s.Out)-chunkOverhead)]
}

// Add is that of ends.Outgoing. It frames the data for the client.
func (s *Stream) Add(b []byte) {
	start := len(s.Out)
	s.Out = s.Out[:len(b)]
	if s.chunks() && len(b) > start {
		s.Out = appendChunk(s.Out, start)
	}
}

// EndBody is that of ends.Outgoing.
func (s *Stream) EndBody(r *message.Response, t *message.Trailers) {
	if s.chunks() {
		s.Out = append(s.Out, "0\r\n"...)
		s.Out = r.AppendTrailers(s.Out, t)
		s.Out = append(s.Out, "\r\n"...)
	}
}

// BreakOff is that of ends.Outgoing. The connection is reset where its end would look like the end
// of the body.
func (s *Stream) BreakOff(f message.Framing) {
	s.closeIf(true)
	if f == message.UntilClose || s.Request.HTTP10 {
		s.conn.abort()
	}
}

// Flush sends the header, and the data that was added. From then on the response has begun. It
// returns ClientGone if the client did not take all of it, which resets the connection.
func (s *Stream) Flush() reason.Code {
	s.Status = s.status
	why := s.write(s.Out)
	s.Out = s.Out[:0]
	return why
}

// widen puts a larger buffer in place, for a body that did not fit into the first write.
func (s *Stream) widen() {
	s.large = streamBuffers.Get().(*[streamBufferSize]byte)
	s.first, s.Out = s.Out, s.large[:0]
}

// narrow undoes widen.
func (s *Stream) narrow() {
	if s.large != nil {
		streamBuffers.Put(s.large)
		s.large, s.Out = nil, s.first
	}
}

// write writes to the client's connection, without fasthttp. The client must take something within
// every body timeout.
func (s *Stream) write(b []byte) reason.Code {
	if len(b) == 0 {
		return reason.None
	}
	n, err := s.conn.Deliver(time.Now(), b, s.Limits.BodyTimeout)
	s.Sent += int64(n)
	if err != nil {
		s.Cause = untaken(err, s.Limits.BodyTimeout)
		s.conn.abort() // it may only have paused: a truncated response must not look complete
		return reason.ClientGone
	}
	return reason.None
}
