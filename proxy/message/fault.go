package message

import (
	"errors"

	"loadbalancer/proxy/reason"
)

// What Guard refuses a request for, for an operator to read. None of it has a byte of the request:
// it may be secret.
var (
	ErrVersion      = errors.New("the version is neither HTTP/1.1 nor HTTP/1.0")
	errMethod       = errors.New("the method is not a token")
	errMethodSize   = errors.New("the method is longer than 64 bytes")
	errConnect      = errors.New("CONNECT is not supported")
	ErrTarget       = errors.New("the target is neither a path, nor an http URL, nor * with OPTIONS")
	errPath         = errors.New("the :path is neither a path, nor * with OPTIONS")
	errAuthority    = errors.New("the target's authority is not that of the Host field")
	ErrLine         = errors.New("a line of the header is not a field: name, colon, value without control characters, CRLF")
	errFieldCount   = errors.New("the header has more than 256 fields")
	ErrLengths      = errors.New("the length of the body is stated twice, by Content-Length or Transfer-Encoding")
	ErrHosts        = errors.New("there is more than one Host field")
	errNoHost       = errors.New("there is no Host field")
	errExpect       = errors.New("the expectation is not 100-continue")
	errMisdirected  = errors.New("the TLS handshake was not for the authority's name, or the client had to show no certificate then")
	errBodySize     = errors.New("the Content-Length is larger than server.max_body_size")
	errNoBody       = errors.New("the Content-Length announces a body, and none follows")
	errConnection   = errors.New("there are too many Connection fields, or they are too long")
	ErrLength       = errors.New("the Content-Length is not a number of bytes")
	ErrCoding       = errors.New("the Transfer-Encoding is not chunked, or the version is HTTP/1.0")
	errHost         = errors.New("the Host field is not a host name or an address, with or without a port")
	errForwardedFor = errors.New("there are too many X-Forwarded-For fields")
	errName         = errors.New("the API key or the client's address stands there twice, or a name differs from one that counts in _ and - alone")
)

// faultOf returns what is wrong with a field of the kind that does not pass.
func faultOf(k kind) error {
	switch k {
	case kindConnection:
		return errConnection
	case kindContentLength:
		return ErrLength
	case kindTransferEncoding:
		return ErrCoding
	case kindHost:
		return errHost
	case kindForwardedFor:
		return errForwardedFor
	}
	return errName
}

// refuse notes the fault and returns the reason.
func (r *Request) refuse(why reason.Code, fault error) reason.Code {
	r.Fault = fault
	return why
}
