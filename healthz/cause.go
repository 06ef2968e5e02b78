package healthz

import (
	"errors"
	"net"
)

// Cause is how a check has failed, or Passed.
type Cause uint8

// The causes. After each of them the backend is down alike. Those that say that it has answered are
// apart because such a backend may be better than none.
const (
	Passed      Cause = iota
	Refused           // no connection: refused, no route, no such name, no such socket; no TLS, or a certificate that does not verify
	NoAnswer          // the time was over, or what came was no whole HTTP response
	WrongStatus       // an HTTP response with a status that is not expected
	WrongText         // an HTTP response whose body lacks the expected text
)

var causeNames = [...]string{"passed", "refused", "no_answer", "wrong_status", "wrong_text"}

// String returns the cause's name, such as wrong_status.
func (c Cause) String() string { return causeNames[c] }

// Answered reports whether the backend has answered the check, if not as expected.
func (c Cause) Answered() bool { return c == WrongStatus || c == WrongText }

// unexpected is the error of a check that was answered in another way than expected, or whose cause
// the error itself does not tell.
type unexpected struct {
	error
	cause Cause
}

// causeOf returns what the error of a check means for its backend.
func causeOf(err error) Cause {
	if err == nil {
		return Passed
	}
	if answer, ok := errors.AsType[unexpected](err); ok {
		return answer.cause
	}
	if dial, ok := errors.AsType[*net.OpError](err); ok && dial.Op == "dial" && !dial.Timeout() {
		return Refused
	}
	return NoAnswer
}
