// Package reason is the one table of why a request was not answered by a backend: the code in the
// response, the access log and the metrics, the status, a sentence for the client, and the whole
// response.
//
// Responses are made once, so that sending one costs nothing when load has to be shed. The package
// does no I/O, and knows nothing of requests or of what leads to a reason.
package reason

import (
	"net/http"
	"strconv"
)

// Code says why a request was not answered by a backend. The zero value is None.
type Code uint8

// The reasons.
const (
	None Code = iota // a backend has answered, or nothing has gone wrong so far
	BadRequest
	MethodNotAllowed
	ExpectationFailed
	Misdirected
	HeaderTooLarge
	BodyTooLarge
	RequestTimeout
	Limited
	TooManyInFlight
	Blocked
	NoRoute
	NoBackend
	ConnectFailed
	ConnectTimeout
	ResponseTimeout
	CallTimeout
	BackendOut
	StatusRefused
	BadResponse
	BackendReset
	BackendAborted
	TunnelTimeout
	ClientGone
	Overloaded
	InternalError
	Count // how many there are, None included
)

// table holds what is said of each reason: its code, the status (0 where no response can be sent
// any more) and one sentence for the client.
var table = [Count]struct {
	code   string
	status int
	detail string
}{
	BadRequest:        {"bad_request", 400, "The request is not valid HTTP/1.1 or can be read in more than one way."},
	MethodNotAllowed:  {"bad_request", 405, "The method is not supported."},
	ExpectationFailed: {"bad_request", 417, "The only supported expectation is 100-continue."},
	Misdirected:       {"bad_request", 421, "The connection is not for this host: its TLS handshake was for another name, or had no certificate."},
	HeaderTooLarge:    {"header_too_large", 431, "The header is larger than this server accepts."},
	BodyTooLarge:      {"body_too_large", 413, "The body is larger than this server accepts."},
	RequestTimeout:    {"request_timeout", 408, "The request did not arrive in time."},
	Limited:           {"limited", 429, "The rate limit is reached; Retry-After says when to try again."},
	TooManyInFlight:   {"too_many_in_flight", 429, "Too many concurrent requests; try again when one has ended."},
	Blocked:           {"blocked", 403, "This client is blocked."},
	NoRoute:           {"no_route", 404, "No route serves this request."},
	NoBackend:         {"no_backend", 503, "No backend is available."},
	ConnectFailed:     {"connect_failed", 502, "The backend could not be reached."},
	ConnectTimeout:    {"connect_timeout", 504, "The backend could not be reached in time."},
	ResponseTimeout:   {"response_timeout", 504, "The backend did not answer in time."},
	CallTimeout:       {"response_timeout", 504, "The call was not answered within the time that its client gave it."},
	BackendOut:        {"response_timeout", 504, "The backend was taken out before it answered."},
	StatusRefused:     {"no_backend", 503, "No other backend is available."},
	BadResponse:       {"bad_response", 502, "The backend's answer is not valid HTTP."},
	BackendReset:      {"backend_reset", 502, "The backend closed the connection before it answered."},
	BackendAborted:    {"backend_aborted", 0, ""},
	TunnelTimeout:     {"tunnel_timeout", 0, ""},
	ClientGone:        {"client_gone", 499, ""},
	Overloaded:        {"overloaded", 503, "Too many connections are open, or too many requests wait."},
	InternalError:     {"internal_error", 500, "The load balancer failed; its log has the details."},
}

// String returns the code as the response has it, "" for None.
func (r Code) String() string { return table[r].code }

// Detail returns the sentence for the client, "" if there is none.
func (r Code) Detail() string { return table[r].detail }

// Status returns the HTTP status that stands for the reason, 0 where there is none.
func (r Code) Status() int { return table[r].status }

// CountedAs returns the reason under which this one is counted: the first with the same code.
func (r Code) CountedAs() Code { return countedAs[r] }

// Answer returns the reason's response, or nil where none can be sent any more.
func (r Code) Answer() *Answer {
	if answers[r].Head == nil {
		return nil
	}
	return &answers[r]
}

var countedAs = func() (all [Count]Code) {
	for why := range Count {
		for table[all[why]].code != table[why].code {
			all[why]++
		}
	}
	return all
}()

// Answer is a response that is ready to be sent but for the fields that belong to one request. It
// is never changed.
type Answer struct {
	Head []byte // status line and fields, each with its CRLF
	Body []byte
}

// answers are made once: answering costs nothing when load has to be shed.
var answers = func() (all [Count]Answer) {
	for r, t := range table {
		if t.status == 0 || t.detail == "" {
			continue
		}
		title := http.StatusText(t.status)
		status := strconv.Itoa(t.status)
		body := `{"type":"about:blank","title":"` + title + `","status":` + status +
			`,"reason":"` + t.code + `","detail":"` + t.detail + `"}` + "\n"
		all[r].Body = []byte(body)
		all[r].Head = []byte("HTTP/1.1 " + status + " " + title + "\r\n" +
			"Content-Type: application/problem+json\r\n" +
			"Content-Length: " + strconv.Itoa(len(body)) + "\r\n")
	}
	return all
}()
