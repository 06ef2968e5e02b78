package mux

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Errors of a stream.
var (
	// ErrUnprocessed is for a request that the backend has not looked at, as it says: it may be sent
	// again, to any backend.
	ErrUnprocessed = errors.New("the backend ends the connection, and has not looked at the request")
	errBegun       = errors.New("the backend ends the connection, and takes back a response that it has begun")
	// ErrRecalled is for a wait that Recall has interrupted.
	ErrRecalled = errors.New("the wait was recalled")
	// ErrStopped is for a stream that Stop has ended.
	ErrStopped = errors.New("the stream was stopped")

	errWindow = MalformedError{errors.New("the backend sends more than was allowed, or allows more than it may")}
	errOrder  = MalformedError{errors.New("the backend sends a body without a header, or a header after the end")}
	errHeader = MalformedError{errors.New("the status of the response is missing, or there is another pseudo-field")}
	errMany   = MalformedError{errors.New("the backend sent more than 64 interim responses")}
	errLarge  = MalformedError{errors.New("the response header is larger than the pool's max_response_header")}
)

// ResetError is for a stream that the backend has reset.
type ResetError struct{ Code http2.ErrCode }

func (e ResetError) Error() string {
	return fmt.Sprintf("the backend reset the stream: %s", e.Code)
}

// MalformedError is for a response that is not valid HTTP/2.
type MalformedError struct{ error }

func (e MalformedError) Unwrap() error { return e.error }

// malformed returns the error for a header in which the Framer has found a fault.
func malformed(detail error) error {
	if detail == nil {
		return errHeader
	}
	return MalformedError{fmt.Errorf("the header or the trailers of the response are malformed: %w", detail)}
}

// Header is the header of a response.
type Header struct {
	Status int // 100 to 999
	Fields []hpack.HeaderField
	Ends   bool // the response has no body and no trailers
}

// Stream is one request and the response to it. One goroutine, the owner, begins and ends it and
// reads the response; another may send the body. Stop, StopSending, Recall, BoundRead and AllowRecall
// may be called by any.
type Stream struct {
	conn     *Conn
	id       uint32        // 0: it has not begun
	window   int64         // how much of the body the backend takes; guarded by conn.mu
	arrived  chan struct{} // wakes the owner
	room     chan struct{} // wakes the sender
	sent     bool          // the request was sent to its end; the sender's
	wasReset atomic.Bool   // nothing is sent any more
	timer    *time.Timer   // the owner's
	over     bool          // End was called; the owner's
	wasIdle  bool          // the connection had served before, and had no other stream

	mu        sync.Mutex
	headers   []Header            // not yet read
	interims  int                 // that have come
	final     bool                // the header of the final response has come
	body      []byte              // that was received
	read      int                 // how much of body
	trailers  []hpack.HeaderField // once ended
	ended     bool                // the response has come to its end
	granted   int                 // how much of the body may come
	err       error               // why no more comes
	sendErr   error               // why no more can be sent
	by        time.Time           // when the wait for a header ends; zero: it does not
	mayRecall bool
	recalled  bool
}

func newStream(c *Conn, wasIdle bool) *Stream {
	return &Stream{conn: c, wasIdle: wasIdle, granted: streamWindow, arrived: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// IsSecure reports whether the stream's connection is one of TLS.
func (s *Stream) IsSecure() bool { return s.conn.wire.IsSecure() }

// WasIdle reports whether the stream's connection had served before and had no other stream when
// this one got its place: its backend may have been about to close it.
func (s *Stream) WasIdle() bool { return s.wasIdle }

// Begin sends the header of a request: its pseudo-fields and then fields with names in lower case.
// ends reports whether nothing follows but body. That is sent, too, if the backend takes the whole of
// it at once, and otherwise left to Send. After an error the backend has got nothing.
func (s *Stream) Begin(fields []hpack.HeaderField, body []byte, ends bool) (sent bool, err error) {
	return s.conn.writer.begin(s, fields, body, ends)
}

// wake wakes a goroutine that waits, or is about to.
func (*Stream) wake(who chan struct{}) {
	select {
	case who <- struct{}{}:
	default:
	}
}

// fail ends the stream for both, unless the response has come to its end.
func (s *Stream) fail(err error) {
	s.mu.Lock()
	if s.err == nil && !s.ended {
		s.err = err
	}
	if s.sendErr == nil {
		s.sendErr = err
	}
	s.mu.Unlock()
	s.wake(s.arrived)
	s.wake(s.room)
}

// maxInterims is the most interim responses to one request.
const maxInterims = 64

// header takes a header or trailers that have come.
func (s *Stream) header(f *http2.MetaHeadersFrame) {
	if err := s.add(f); err != nil {
		s.conn.refuse(s.id, http2.ErrCodeProtocol, err)
		return
	}
	s.wake(s.arrived)
}

func (s *Stream) add(f *http2.MetaHeadersFrame) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	ends := f.StreamEnded()
	switch {
	case f.Truncated, sizeOf(f) > s.conn.options.MaxHeader:
		return errLarge
	case s.ended:
		return errOrder
	case s.final:
		if !ends || len(f.PseudoFields()) > 0 {
			return errHeader
		}
		s.trailers, s.ended = f.Fields, true
		return nil
	}
	h := Header{Status: statusOf(f), Fields: f.RegularFields(), Ends: ends}
	switch {
	case h.Status == 0, h.Status < 200 && ends:
		return errHeader
	case h.Status >= 200:
		s.final = true
	default:
		if s.interims++; s.interims > maxInterims {
			return errMany
		}
	}
	s.ended = ends
	s.mayRecall = false
	s.headers = append(s.headers, h)
	return nil
}

// sizeOf returns the size of a header list (RFC 9113, section 6.5.2).
func sizeOf(f *http2.MetaHeadersFrame) (size int) {
	for _, field := range f.Fields {
		size += int(field.Size())
	}
	return size
}

// statusOf returns the status of a response, or 0 if the pseudo-fields are not those of one.
func statusOf(f *http2.MetaHeadersFrame) (status int) {
	pseudo := f.PseudoFields()
	if len(pseudo) != 1 || pseudo[0].Name != ":status" || len(pseudo[0].Value) != 3 {
		return 0
	}
	for _, digit := range pseudo[0].Value {
		if digit < '0' || digit > '9' {
			return 0
		}
		status = status*10 + int(digit-'0')
	}
	if status < 100 || status == 101 { // RFC 9113, section 8.6
		return 0
	}
	return status
}

// receive takes a part of the body that has come, of a size with its padding.
func (s *Stream) receive(p []byte, size int, ends bool) {
	s.mu.Lock()
	var err error
	code := http2.ErrCodeProtocol
	switch {
	case !s.final || s.ended:
		err = errOrder
	case size > s.granted:
		err, code = errWindow, http2.ErrCodeFlowControl
	case s.err == nil:
		s.granted -= size // padding takes no memory: Read gives it back
		if s.read > 0 && len(s.body)+len(p) > cap(s.body) {
			s.body, s.read = s.body[:copy(s.body, s.body[s.read:])], 0
		}
		s.body = append(s.body, p...)
		s.ended = ends
	}
	s.mu.Unlock()
	if err != nil {
		s.conn.refuse(s.id, code, err)
		return
	}
	s.wake(s.arrived)
}

// BoundRead ends the wait for a header at a time; zero: it does not end.
func (s *Stream) BoundRead(by time.Time) {
	s.mu.Lock()
	s.by = by
	s.mu.Unlock()
	s.wake(s.arrived)
}

// Header waits for the next header of the response. It may be called again after a timeout or
// ErrRecalled.
func (s *Stream) Header() (Header, error) {
	for {
		s.mu.Lock()
		by := s.by
		h, ok, err := s.nextHeader()
		s.mu.Unlock()
		if ok || err != nil {
			return h, err
		}
		if err := s.wait(by); err != nil {
			return Header{}, err
		}
	}
}

func (s *Stream) nextHeader() (h Header, ok bool, err error) {
	switch {
	case errors.Is(s.err, ErrStopped):
		return h, false, s.err
	case len(s.headers) > 0:
		h, s.headers = s.headers[0], s.headers[1:]
		return h, true, nil
	case s.recalled:
		return h, false, ErrRecalled
	}
	return h, false, s.err
}

// wait waits for something to arrive, until a time at most.
func (s *Stream) wait(by time.Time) error {
	if by.IsZero() {
		<-s.arrived
		return nil
	}
	left := time.Until(by)
	if left <= 0 {
		return os.ErrDeadlineExceeded
	}
	if s.timer == nil {
		s.timer = time.NewTimer(left)
	} else {
		s.timer.Reset(left)
	}
	defer s.timer.Stop()
	select {
	case <-s.arrived:
		return nil
	case <-s.timer.C:
		return os.ErrDeadlineExceeded
	}
}

// Ready reports whether Read would not wait.
func (s *Stream) Ready() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.read < len(s.body) || s.ended || s.err != nil
}

// Read appends what has come of the body to dst, up to its capacity. It waits only where it would
// otherwise append nothing though there is capacity, and the response has not ended, for the time
// patience at most.
func (s *Stream) Read(dst []byte, patience time.Duration) ([]byte, error) {
	if len(dst) == cap(dst) {
		return dst, nil
	}
	by := time.Time{}
	for {
		s.mu.Lock()
		n := min(len(s.body)-s.read, cap(dst)-len(dst))
		dst = append(dst, s.body[s.read:s.read+n]...)
		if s.read += n; s.read == len(s.body) {
			s.body, s.read = s.body[:0], 0
		}
		credit := 0
		if free := streamWindow - len(s.body) + s.read - s.granted; !s.ended && free >= streamWindow/2 {
			credit, s.granted = free, s.granted+free
		}
		ended, err := s.ended && len(s.body) == 0, s.err
		s.mu.Unlock()
		switch {
		case credit > 0 && err == nil:
			s.conn.writer.credit(s.id, credit)
		}
		if n > 0 || ended || err != nil {
			if n > 0 && !errors.Is(err, ErrStopped) {
				err = nil // later
			}
			return dst, err
		}
		if by.IsZero() {
			by = time.Now().Add(patience)
		}
		if err := s.wait(by); err != nil {
			return dst, err
		}
	}
}

// Ended reports whether the response was read to its end.
func (s *Stream) Ended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended && s.read == len(s.body) && len(s.headers) == 0
}

// Trailers returns the fields behind the body, once the response has ended.
func (s *Stream) Trailers() []hpack.HeaderField {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.trailers
}

// AllowRecall lets Recall interrupt the wait for the first byte of the response.
func (s *Stream) AllowRecall() {
	s.mu.Lock()
	s.mayRecall = !s.final && s.interims == 0
	s.mu.Unlock()
}

// Recall interrupts a wait that allows it.
func (s *Stream) Recall() {
	s.mu.Lock()
	s.recalled = s.mayRecall
	s.mu.Unlock()
	s.wake(s.arrived)
}

// Settle ends what AllowRecall began, and undoes a Recall.
func (s *Stream) Settle() {
	s.mu.Lock()
	s.mayRecall, s.recalled = false, false
	s.mu.Unlock()
}

// Stop makes what waits for the stream fail, and what follows.
func (s *Stream) Stop() {
	s.mu.Lock()
	s.err = ErrStopped
	s.mu.Unlock()
	s.wake(s.arrived)
	s.StopSending()
}

// End ends the stream: a backend that is not done with it is told to leave off. Nothing else may be
// called any more. A second call does nothing.
func (s *Stream) End() {
	if s.over {
		return
	}
	s.over = true
	c := s.conn
	s.mu.Lock()
	done := s.id == 0 || s.ended && s.sent
	s.mu.Unlock()
	if !done && !s.wasReset.Swap(true) {
		c.writer.reset(s.id, http2.ErrCodeCancel)
	}
	c.forget(s)
}
