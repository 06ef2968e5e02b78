package upstream

import (
	"net/http"
	"time"

	"loadbalancer/proxy/reason"
)

// start is the start of the time of loads.
var start = time.Now()

// loadTime returns a time as loads have it.
func loadTime(t time.Time) time.Duration { return t.Sub(start) }

// Answered records at now the header of a backend's response to an attempt. waited is the time from
// the request, once it was sent, to the header, or 0. A status that says that the backend has
// failed counts as load for a while, see balance.Load.
func (b *Backend) Answered(status int, now time.Time, waited time.Duration) {
	if failureStatus(status) {
		b.load.Failed(loadTime(now), waited)
	} else if waited > 0 {
		b.load.Answered(loadTime(now), waited)
	}
}

// Failed records an attempt that failed some time after it began, which counts as load for a while
// if the backend is to blame. That it has no connection left does not count: its requests in flight
// do.
func (b *Backend) Failed(why reason.Code, began time.Time, took time.Duration) {
	if ofBackend(why) && why != reason.Overloaded {
		b.load.Failed(loadTime(began)+took, took)
	}
}

// failureStatus reports whether a status blames the backend. 501 Not Implemented and 505 HTTP
// Version Not Supported blame the request.
func failureStatus(status int) bool {
	return status >= 500 && status != http.StatusNotImplemented && status != http.StatusHTTPVersionNotSupported
}
