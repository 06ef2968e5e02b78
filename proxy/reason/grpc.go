package reason

import "strconv"

// Statuses of gRPC (google.golang.org/grpc/codes).
const (
	deadlineExceeded  = 4
	permissionDenied  = 7
	resourceExhausted = 8
	unimplemented     = 12
	internal          = 13
	unavailable       = 14
)

// grpcStatuses are what clients of gRPC get. Unavailable is for what another attempt may not meet.
// Where gRPC has a status for one of HTTP, it is mostly that (http-grpc-status-mapping.md), but
// one of a wait for the backend says so.
var grpcStatuses = [Count]int{
	BadRequest:        internal,
	MethodNotAllowed:  unimplemented,
	ExpectationFailed: internal,
	Misdirected:       unavailable,
	HeaderTooLarge:    resourceExhausted,
	BodyTooLarge:      resourceExhausted,
	RequestTimeout:    deadlineExceeded,
	Limited:           resourceExhausted,
	TooManyInFlight:   resourceExhausted,
	Blocked:           permissionDenied,
	NoRoute:           unimplemented,
	NoBackend:         unavailable,
	ConnectFailed:     unavailable,
	ConnectTimeout:    unavailable,
	ResponseTimeout:   deadlineExceeded,
	CallTimeout:       deadlineExceeded,
	BackendOut:        unavailable,
	StatusRefused:     unavailable,
	BadResponse:       internal,
	BackendReset:      unavailable,
	Overloaded:        unavailable,
	InternalError:     internal,
}

// BrokenCall returns the trailers of a call of gRPC that has broken off at the backend, each with its
// CRLF, and their status. late reports whether the client's time for it was over. They are not to be
// changed.
func BrokenCall(late bool) (trailers []byte, status int) {
	if late {
		return lateCall, deadlineExceeded
	}
	return brokenCall, unavailable
}

var (
	brokenCall = callTrailers(unavailable, BackendAborted.String()+": The backend broke off its response.")
	lateCall   = callTrailers(deadlineExceeded, CallTimeout.String()+": "+CallTimeout.Detail())
)

func callTrailers(status int, message string) []byte {
	return []byte("grpc-status: " + strconv.Itoa(status) + "\r\ngrpc-message: " + message + "\r\n")
}

// GRPCFields returns the fields of the reason's answer to a call of gRPC, which is a header alone
// with status 200, each with its CRLF. It is nil where none can be sent any more. It is not to be
// changed.
func (r Code) GRPCFields() []byte { return grpcFields[r] }

// GRPCStatus returns the status of gRPC that stands for the reason, 0 where there is none.
func (r Code) GRPCStatus() int { return grpcStatuses[r] }

var grpcFields = func() (all [Count][]byte) {
	for r, status := range grpcStatuses {
		if status == 0 {
			continue
		}
		all[r] = append([]byte("Content-Type: application/grpc\r\n"), callTrailers(status, table[r].code+": "+table[r].detail)...)
	}
	return all
}()
