package proxy

import (
	"net/http"
	"strconv"
)

// reason says why a request was not answered by a backend. The same code stands
// in the response, the access log and the metrics.
type reason uint8

const (
	none reason = iota
	badRequest
	methodNotAllowed
	expectationFailed
	headerTooLarge
	bodyTooLarge
	requestTimeout
	limited
	tooManyInFlight
	noRoute
	noBackend
	connectFailed
	connectTimeout
	responseTimeout
	badResponse
	backendReset
	backendAborted
	tunnelTimeout
	clientGone
	overloaded
	internalError
	reasons // how many there are
)

// reasonTable holds what is said of each reason: its code, the status (0 where
// no response can be sent any more) and one sentence for the client.
var reasonTable = [reasons]struct {
	code   string
	status int
	detail string
}{
	badRequest:        {"bad_request", 400, "The request is not valid HTTP/1.1 or can be read in more than one way."},
	methodNotAllowed:  {"bad_request", 405, "The method is not supported."},
	expectationFailed: {"bad_request", 417, "Of the expectations, 100-continue alone is supported."},
	headerTooLarge:    {"header_too_large", 431, "The header is larger than this server accepts."},
	bodyTooLarge:      {"body_too_large", 413, "The body is larger than this server accepts."},
	requestTimeout:    {"request_timeout", 408, "The request did not arrive in time."},
	limited:           {"limited", 429, "The rate limit is reached; Retry-After says when to try again."},
	tooManyInFlight:   {"too_many_in_flight", 429, "As many requests of this client are under way as may be; try again when one has ended."},
	noRoute:           {"no_route", 404, "No route serves this host and path."},
	noBackend:         {"no_backend", 503, "No backend is available."},
	connectFailed:     {"connect_failed", 502, "The backend could not be reached."},
	connectTimeout:    {"connect_timeout", 504, "The backend could not be reached in time."},
	responseTimeout:   {"response_timeout", 504, "The backend did not answer in time."},
	badResponse:       {"bad_response", 502, "The backend's answer is not valid HTTP/1.1."},
	backendReset:      {"backend_reset", 502, "The backend closed the connection before it answered."},
	backendAborted:    {"backend_aborted", 0, ""},
	tunnelTimeout:     {"tunnel_timeout", 0, ""},
	clientGone:        {"client_gone", 499, ""},
	overloaded:        {"overloaded", 503, "As many connections are open as may be."},
	internalError:     {"internal_error", 500, "The load balancer met an error of its own; its log says which."},
}

// String returns the code itself, "" for none.
func (r reason) String() string { return reasonTable[r].code }

// Status returns the HTTP status that stands for the reason, 0 where there is none.
func (r reason) Status() int { return reasonTable[r].status }

// CountedAs returns the reason under which this one is counted: the first with the same code.
func (r reason) CountedAs() reason { return countedAs[r] }

// Answer returns the reason's response, or nil where none can be sent any more.
func (r reason) Answer() *readyAnswer {
	if answers[r].Head == nil {
		return nil
	}
	return &answers[r]
}

var countedAs = func() (all [reasons]reason) {
	for why := range reasons {
		for reasonTable[all[why]].code != reasonTable[why].code {
			all[why]++
		}
	}
	return all
}()

// readyAnswer is a response, ready to be sent but for the fields that belong to one request. It is never
// changed.
type readyAnswer struct {
	Head []byte // status line and fields, each with its CRLF
	Body []byte
}

// answers are made once: answering costs nothing when load has to be shed.
var answers = func() (all [reasons]readyAnswer) {
	for r, t := range reasonTable {
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
