package upstream

import (
	"fmt"
	"time"

	"loadbalancer/proxy/reason"
)

// lastError is what went wrong last at a backend: an attempt that failed, or a response or check
// that says that the backend does not work. The zero value is nothing.
type lastError struct {
	at     time.Time
	status int // of the response, or 0
	why    reason.Code
	cause  error // in words, of a health check all that is known; may be nil
}

// String puts the error into words. It returns "" for the zero value.
func (e lastError) String() string {
	switch {
	case e.why != reason.None && e.cause != nil:
		return e.why.String() + ": " + e.cause.Error()
	case e.why != reason.None:
		return e.why.String()
	case e.status != 0: // the cause is that of an attempt before
		return fmt.Sprintf("status %d", e.status)
	case e.cause != nil:
		return e.cause.Error()
	}
	return ""
}
