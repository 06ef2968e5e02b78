package upstream

import (
	"net/http"
	"time"

	"loadbalancer/proxy/reason"
)

// Answered records the header of a backend's response to an attempt, at now: one that says that the
// backend has failed counts as load for a while, see balance.Load.
func (b *Backend) Answered(status int, now time.Time) {
	if failureStatus(status) {
		b.load.Failed(now)
	}
}

// Failed records an attempt that has failed at now, which counts as load for a while if the backend
// is to blame. That it has no connection left does not count: its requests in flight do.
func (b *Backend) Failed(why reason.Code, now time.Time) {
	if ofBackend(why) && why != reason.Overloaded {
		b.load.Failed(now)
	}
}

// failureStatus reports whether a status blames the backend. 501 Not Implemented and 505 HTTP
// Version Not Supported blame the request.
func failureStatus(status int) bool {
	return status >= 500 && status != http.StatusNotImplemented && status != http.StatusHTTPVersionNotSupported
}
