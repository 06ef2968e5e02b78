package http2

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/reason"
)

// Stream is the client's end of an exchange in HTTP/2: see ends.Stream.
type Stream struct {
	ends.Exchange

	conn      *clientConn
	request   *http.Request
	departure *departure
	header    []byte // backs Request
	body      body
	response  response
	broken    bool // the stream has to end with RST_STREAM
}

var _ ends.ClientEnd = (*Stream)(nil)

// outSize is the size of the buffer for what leaves: the header of a request or a response, and the
// first bytes of the body. Beyond maxOutSize it is not kept.
const (
	outSize    = 16 << 10
	maxOutSize = 64 << 10
)

var streams = sync.Pool{New: func() any {
	return &Stream{Exchange: ends.Exchange{Out: make([]byte, 0, outSize)}}
}}

// begin returns the stream of a request.
func begin(w http.ResponseWriter, r *http.Request, a *ends.Activity) *Stream {
	s := streams.Get().(*Stream)
	s.Started, s.Activity = time.Now(), a
	s.conn = r.Context().Value(connKey{}).(*clientConn)
	s.request = r
	s.response.w = w
	return s
}

// end clears the stream, and puts it back into the pool. Its buffers are kept.
func end(s *Stream) {
	s.narrow()
	if cap(s.Out) > maxOutSize {
		s.Out = make([]byte, 0, outSize)
	}
	header := s.header
	if cap(header) > maxOutSize {
		header = nil
	}
	s.Exchange.Reset()
	*s = Stream{Exchange: s.Exchange, header: header[:0]}
	streams.Put(s)
}

// Guard is that of ends.ClientEnd.
func (s *Stream) Guard(l *ends.Limits) (why reason.Code) {
	defer s.Rescue(&why)
	s.Limits = l
	r, from := &s.Request, s.request
	s.header = append(append(s.header[:0], from.Method...), from.RequestURI...)
	start := len(s.header)
	s.header = render(s.header, from)
	r.Method, r.Target, r.Header = s.header[:len(from.Method)], s.header[len(from.Method):start], s.header[start:]
	r.Proto, r.HTTP2, r.Security = protocol, true, s.conn.Security()
	r.Open = from.ContentLength != 0 // of a body of no bytes, nothing is said
	if s.gone() {
		return reason.ClientGone
	}
	why = r.Guard(&l.Rules)
	s.Cause = r.Fault
	s.body = newBody(from, r, l.BodyTimeout)
	return why
}

var protocol = []byte("HTTP/2.0")

// Peer is that of ends.ClientEnd.
func (s *Stream) Peer() netip.Addr { return s.conn.Peer() }

// Conn returns the client's connection, to be asked, not to be read or written.
func (s *Stream) Conn() net.Conn { return s.conn }

// Received is that of ends.ClientEnd. The header counts as it is rendered.
func (s *Stream) Received() int64 { return int64(len(s.header)) + s.body.data }

// gone reports whether the client has reset the stream or closed the connection.
func (s *Stream) gone() bool { return s.request.Context().Err() != nil }

// End is that of ends.ClientEnd.
func (s *Stream) End() {
	s.Finished = time.Now()
	s.body.end()
	if s.departure != nil {
		s.departure.stop()
	}
}
