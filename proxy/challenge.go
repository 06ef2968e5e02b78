package proxy

import (
	"bytes"
	"net/http"
	"strings"

	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
)

// challenges is where ACME asks for the proof that a server holds a name (RFC 8555, section 8.3).
var challenges = []byte("/.well-known/acme-challenge/")

// answerTo returns the answer to a request that is a challenge of ACME.
func (e *Edge) answerTo(r *message.Request, host string) (keyAuthorization string, ok bool) {
	token, isChallenge := bytes.CutPrefix(r.Path(), challenges)
	if !isChallenge || e.Challenge == nil || string(r.Method) != http.MethodGet {
		return "", false
	}
	return e.Challenge(strings.ToLower(strings.Trim(host, "[].")), string(token))
}

// answerChallenge answers a request that is a challenge of ACME, on a listener that forwards the others. ok
// is false if it is none.
func answerChallenge(x *exchange) (why reason.Code, ok bool) {
	r := &x.stream.Request
	if x.settings.edge.Challenge == nil || !bytes.HasPrefix(r.Target, challenges) {
		return reason.None, false
	}
	host, ok := plainHost(r.Authority)
	if !ok {
		return reason.None, false
	}
	text, ok := x.settings.edge.answerTo(r, host)
	if !ok {
		return reason.None, false
	}
	return prove(x, text), true
}

// prove answers a challenge.
func prove(x *exchange, keyAuthorization string) reason.Code {
	header := append(x.stream.BeginReply(http.StatusOK, len(keyAuthorization)), "Content-Type: application/octet-stream\r\n"...)
	return x.stream.EndReply(message.AppendID(header, x.id.bytes()), http.StatusOK, []byte(keyAuthorization))
}
