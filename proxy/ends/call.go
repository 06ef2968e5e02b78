package ends

import (
	"time"

	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
)

// Call is the backend's end of an exchange: one request, sent on a backend's connection, and the
// response to it. Its steps are a Begin of the protocol's own, Send, ReadHead up to the final
// header, Next up to the end of the body, and End. A failed call may begin again on another
// connection, in another protocol if need be. The goroutine that handles the request owns it.
type Call struct {
	*Progress
	BackendEnd
}

// Progress is how far a call has come. A backend's end embeds it.
type Progress struct {
	Response  message.Response // of the header that ReadHead has read last
	BytesSent int              // of the request, by the last attempt, without an upload's
	Waited    time.Duration    // from the request, once it was sent, to the final header; 0 if that came first
}

// Interim reports whether the header that was read last is that of an interim response (RFC 9110,
// section 15.2). 101 Switching Protocols ends HTTP on the connection, and is final.
func (p *Progress) Interim() bool {
	return p.Response.Status < 200 && p.Response.Status != message.SwitchingProtocols
}

// BackendEnd is what each protocol does at the backend's end.
type BackendEnd interface {
	// Send sends the request, whose header is b, from the stream's Buffer: the request line and the
	// lines of HTTP/1, with the empty one. A small body, which Prefetch has read, goes out together
	// with the header. A larger body, or one of unknown length, is sent by a goroutine while the
	// caller waits for the response, which may start before the body ends. repeatable reports
	// whether the request may be sent twice.
	Send(b []byte, repeatable bool) reason.Code
	// ReadHead reads the next header of the response. It returns reason.BackendOut where the backend
	// was taken out meanwhile, and the request may go to another.
	ReadHead() reason.Code
	// WaitOn lets the wait for a response go on after ReadHead has returned reason.BackendOut.
	WaitOn()
	// LostRace reports whether the call has failed because its connection, which had served before,
	// was closed by the backend while the request was on its way. That is no failure of the backend.
	LostRace(why reason.Code) bool
	// Repeatable reports whether the request may be sent again: either none of it was sent, or it is
	// idempotent, no byte of a response has come, and the whole request is still available.
	Repeatable(idempotent bool) bool
	// RepeatableAnswered is Repeatable once ReadHead has returned the header of the final response:
	// the request must be idempotent, and the whole of it read and still available.
	RepeatableAnswered(idempotent bool) bool
	// Skip discards a body of known length that is at hand.
	Skip()

	// Accept notes that the response which has come is the one that the client gets.
	Accept()
	// Ready reports whether data of the body is at hand, or the body has ended.
	Ready() bool
	// Next appends the next data of the response's body to dst, up to its capacity.
	Next(dst []byte) ([]byte, error)
	// Ended reports whether the body was read to its end.
	Ended() bool
	// Trailers returns the fields that came after the body, once it has ended.
	Trailers() *message.Trailers
	// Uploads reports whether the request's body is still being sent, or was sent by a goroutine:
	// the connection is released only after End has waited for it.
	Uploads() bool
	// Uploaded reports whether the whole body of the request has been read from the client.
	Uploaded() bool
	// Failure returns the reason why the response's header did not come, or nothing of its body.
	Failure(err error) reason.Code
	// Break ends a response that has failed in the middle of its body with err, and returns the
	// reason.
	Break(err error) reason.Code

	// End ends the call, and reports whether the connection can serve another request. The
	// connection is not used any more. A second call returns false.
	End() (reusable bool)
	// Reset readies the end, whose call has ended, for another exchange. It keeps the buffers.
	Reset()
}
