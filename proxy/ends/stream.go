package ends

import (
	"net/netip"
	"time"

	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/wire"
)

// Stream is the client's end of an exchange. The goroutine that handles the request owns it until
// the handler returns. Its steps are Guard, the body, either a backend's response (Begin, EndHeader,
// Room, Add, EndBody, FlushAhead) or the balancer's own answer (BeginAnswer, EndAnswer), and End.
// What only one protocol has is not here: see http1.Tunnel.
type Stream struct {
	*Exchange
	ClientEnd
}

// ClientEnd is what each protocol does at the client's end. Announcer tells when the client has
// gone.
type ClientEnd interface {
	wire.Announcer
	Incoming
	Outgoing

	// Guard reads the request's header, and passes only requests that can be read in one way: for
	// these it returns reason.None. l stays in use until the stream ends. A panic becomes
	// InternalError.
	Guard(l *Limits) reason.Code
	// Peer returns the address at the other end of the connection, or the one in its PROXY header.
	Peer() netip.Addr
	// Received returns the number of bytes read from the client, without the framing of a body.
	Received() int64
	// End ends the stream. What the client still sends of the body is discarded.
	End()
}

// Incoming is the body of a request as it comes from the client. One goroutine at a time uses it.
type Incoming interface {
	// Proceed sends 100 Continue to a client that waits for it (RFC 9110, section 10.1.1). It is
	// called once the body is wanted.
	Proceed() reason.Code
	// ReadBody appends the next data of the body to dst, up to its capacity. It waits for the
	// client, up to the body timeout, only if it would otherwise append nothing. An error means that
	// the body is incomplete.
	ReadBody(dst []byte) ([]byte, error)
	// HasReadBody reports whether the body was read to its end, or there is none.
	HasReadBody() bool
	// BodyTrailers returns the fields that came after the body, once it was read to its end.
	BodyTrailers() *message.Trailers
	// Unread returns the reason for an error of ReadBody, and its cause in words.
	Unread(err error) (why reason.Code, cause error)
	// SetBodyTimeout replaces the body timeout.
	SetBodyTimeout(time.Duration)
	// StopBody makes ReadBody, which another goroutine may have called, time out until ResumeBody.
	StopBody()
	// ResumeBody undoes StopBody, once the other goroutine has ended. The body goes on where it was.
	ResumeBody()
}

// Outgoing is the response on its way to the client.
type Outgoing interface {
	// SendInterim sends an interim response (RFC 9110, section 15.2), whose header b holds without
	// its empty line. b is from Buffer. It returns ClientGone if the client did not take all of it.
	SendInterim(b []byte) reason.Code

	// Begin begins a response whose body a backend frames in this way, and returns the buffer for
	// its header. uploaded reports whether the request's body was read. The header is complete with
	// EndHeader; nothing is sent before FlushAhead.
	Begin(f message.Framing, uploaded bool) []byte
	// TakesTrailers reports whether trailers may follow the body of the response that has begun.
	TakesTrailers() bool
	// EndHeader ends the header that b holds.
	EndHeader(b []byte, status int)
	// Room returns the buffer to which the next data of the body is appended, up to its capacity,
	// before it is passed to Add. It is full if a large header has to be flushed first.
	Room() []byte
	// Add adds what was appended to Room to the bytes to send.
	Add(b []byte)
	// EndBody ends the body, with those of the response's trailers that go on.
	EndBody(r *message.Response, t *message.Trailers)
	// FlushAhead sends the header, and the data that was added. From then on the response has begun.
	// It does not wait for a slow client: up to most bytes are kept for that, if the server's budget
	// has room for them. The caller must not touch what concerns the client's connection until
	// AwaitAhead has returned. allowed must be false while the request's body is
	// read. It returns ClientGone if the client did not take all of it.
	FlushAhead(most int64, allowed bool) reason.Code
	// AwaitAhead waits until the client has taken all that was flushed, or does not take more: then
	// it returns ClientGone.
	AwaitAhead() reason.Code
	// BreakOff makes the response that has begun end so that the client knows it to be incomplete. f
	// is how the backend frames its body.
	BreakOff(f message.Framing)

	// BeginAnswer begins the balancer's own answer, for a request that no backend has answered, and
	// returns its header, to which fields may be added. ok is false if a response has begun or the
	// client has gone: then the response is broken off.
	BeginAnswer(why reason.Code) (header []byte, ok bool)
	// EndAnswer sends the answer whose header began with BeginAnswer. It returns ClientGone if the
	// client did not take all of it.
	EndAnswer(header []byte, why reason.Code) reason.Code
	// BeginReply begins a response with which the balancer itself serves a request that has passed
	// the guard, and returns its header, to which fields may be added. size is that of the body in
	// bytes.
	BeginReply(status, size int) (header []byte)
	// EndReply sends the response whose header began with BeginReply. It returns ClientGone if the
	// client did not take all of it.
	EndReply(header []byte, status int, body []byte) reason.Code
}

// Allow is the field of an answer for reason.MethodNotAllowed (RFC 9110, section 15.5.6).
const Allow = "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"

// BePatient replaces the body timeout of the exchange, in both directions. It is called before the
// first attempt.
func (s Stream) BePatient(timeout time.Duration) {
	limits := *s.Limits
	limits.BodyTimeout = timeout
	s.Limits = &limits
	s.SetBodyTimeout(timeout)
}

// Streams reports whether the request has a body that is sent while it comes: the client decides
// how long that takes. It is called between two attempts: while one runs, the body is another
// goroutine's.
func (s Stream) Streams() bool {
	return s.Request.Framing != message.NoBody && !s.HasSmallBody() && !s.HasReadBody()
}

// Await waits for a value from done, at most for the timeout. It reports whether one came, and
// whether the client has left meanwhile: then it calls work.Stop, after which done must have a value.
func (s Stream) Await(done <-chan struct{}, work wire.Stopper, timeout time.Duration) (came, gone bool) {
	var watch wire.Watch
	watch.Begin(s.ClientEnd, work)
	watch.Start()
	defer watch.Stop()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-done:
		came = true
	case <-timer.C:
	}
	return came, watch.Gone.Load()
}
