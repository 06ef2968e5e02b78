package top

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
)

// failure is why the API does not do what it was asked for.
type failure struct {
	words   string
	advice  string // what helps if it is so from the start; "": nothing that is known
	refused bool   // whether the API does not let this client in, so that another call soon does harm
}

func (f *failure) Error() string { return f.words }

const addressAdvice = "use --management=URL with the address in the load balancer's management.listen"

// unreached says in words why there was no answer.
func (c *client) unreached(err error) error {
	var asked *url.Error
	if errors.As(err, &asked) {
		err = asked.Err // without the URL
	}
	var (
		timeout net.Error
		dial    *net.OpError
		chain   *tls.CertificateVerificationError
		ca      x509.UnknownAuthorityError
	)
	switch {
	case errors.As(err, &dial) && dial.Op == "proxyconnect":
		return &failure{words: fmt.Sprintf("no connection to %s by the proxy in HTTP_PROXY or HTTPS_PROXY: %s", c.shown, clean(dial.Err.Error()))}
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT):
		return &failure{words: "nothing listens at " + c.shown, advice: addressAdvice}
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return &failure{words: c.shown + " does not answer", advice: addressAdvice}
	case errors.Is(err, http.ErrSchemeMismatch):
		return &failure{words: c.shown + " answers without TLS", advice: "use http:// in --management"}
	case errors.As(err, &chain):
		f := &failure{words: fmt.Sprintf("the certificate of %s is not trusted: %s", c.shown, clean(strings.TrimPrefix(chain.Err.Error(), "x509: ")))}
		if errors.As(err, &ca) {
			f.advice = "set SSL_CERT_FILE to a file with the certificate of its authority"
		}
		return f
	}
	f := &failure{words: fmt.Sprintf("no connection to %s: %s", c.shown, clean(err.Error()))}
	if name := (*net.DNSError)(nil); errors.As(err, &name) {
		f.advice = addressAdvice
	}
	return f
}

// refusal says in words why the answer is not what was asked for.
func (c *client) refusal(res *http.Response) error {
	var problem struct{ Detail, Reason string }
	_ = json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(&problem) // other servers answer other things
	isProxy := problem.Reason != ""
	isOlder := res.StatusCode == http.StatusNotFound && res.Request.Method == http.MethodGet
	switch {
	case res.StatusCode == http.StatusUnauthorized && c.token == "":
		return &failure{words: c.shown + " wants a token: set LB_TOKEN", refused: true}
	case res.StatusCode == http.StatusUnauthorized:
		return &failure{words: "LB_TOKEN is none of the tokens configured at " + c.shown, advice: "set it to one of management.tokens", refused: true}
	case problem.Detail == "" || isProxy || isOlder:
		return c.stranger(res.Status)
	}
	isRefused := res.StatusCode == http.StatusForbidden || res.StatusCode == http.StatusTooManyRequests
	return &failure{words: clean(problem.Detail), refused: isRefused}
}

// unread says that an answer is not what it should be.
func (c *client) unread(why string) error {
	return &failure{words: fmt.Sprintf("%s tells what lb top cannot read: %s", c.shown, clean(why))}
}

// stranger says that something else answers than the API.
func (c *client) stranger(answer string) error {
	return &failure{words: fmt.Sprintf("%s is not the management listener of a load balancer that lb top knows: it answered %s", c.shown, clean(answer)), advice: addressAdvice}
}
