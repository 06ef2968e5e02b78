package ends

import (
	"time"

	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
)

// Exchange holds what is known of one request and the response to it. The goroutine that handles
// the request owns it. A client's end embeds it.
type Exchange struct {
	Request  message.Request // complete once Guard has passed it
	Started  time.Time       // when the header was complete
	Finished time.Time       // when the client had its answer, once End was called
	Status   int             // of the response that has begun, or 0
	// CallStatus is the status of gRPC that the client was sent, or -1. For requests that are no calls
	// it means nothing.
	CallStatus int
	Sent       int64     // bytes written to the client
	Cause      error     // what went wrong last, where the reason does not say it all, or nil
	Limits     *Limits   // set by Guard
	Activity   *Activity // of the server
	Partner    *Partner  // of the client's connection; nil: that serves several requests at once
	Attempted  bool      // a Call has sent something, so time has passed

	Out    []byte // the outgoing request, then the outgoing response
	Replay Replay // what was read of a streamed body

	small []byte // a small body, once it was read
}

// Limits are what an exchange goes by. They must not change while one uses them.
type Limits struct {
	message.Rules
	BodyTimeout time.Duration // longest pause in a body, in either direction
}

// Reset clears the exchange of everything that points into the request. It keeps the buffers, of
// which Out must be no larger than it was at first.
func (x *Exchange) Reset() {
	x.Replay.Release()
	*x = Exchange{Out: x.Out[:0], small: x.small[:0]}
}

// Buffer returns an empty buffer for a header to a backend or to the client. It is the exchange's:
// a later call returns the same one.
func (x *Exchange) Buffer() []byte { return x.Out[:0] }

// BeingCut reports whether the shutdown timeout is over and the remaining requests are being cut.
func (x *Exchange) BeingCut() bool { return x.Activity.Cutting.Load() }

// LogFault logs a panic with its stack. It must be called by the deferred function that has
// recovered from it.
func (x *Exchange) LogFault(fault any) { x.Activity.LogFault(fault) }

// Rescue, which is to be deferred, turns a panic into InternalError, and logs it.
func (x *Exchange) Rescue(why *reason.Code) {
	if fault := recover(); fault != nil {
		x.LogFault(fault)
		*why = reason.InternalError
	}
}
