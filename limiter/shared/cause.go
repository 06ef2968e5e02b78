package shared

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/redis/rueidis"
)

// errSlow says that an answer took longer than a request waits for one.
type errSlow struct{ wait time.Duration }

func (e errSlow) Error() string {
	return fmt.Sprintf("it takes longer than limiter.share_wait, %s, to answer", e.wait)
}

// errTLS says that a handshake failed, or that a certificate is not one to trust.
type errTLS struct{ error }

func (e errTLS) Error() string {
	if errors.As(e.error, new(*tls.CertificateVerificationError)) { // TLS is spoken
		return "the certificate is refused: " + e.error.Error()
	}
	return "the TLS handshake fails: " + e.error.Error() + " (without TLS, the URL begins with redis://)"
}

// refusals are what a server refuses a connection or a command with, by the beginning or a part of
// its message, and what that means.
var refusals = []struct{ message, meaning string }{
	{"WRONGPASS", "the user or the password of limiter.share is wrong"},
	{"invalid password", "the password of limiter.share is wrong"},
	{"NOAUTH", "limiter.share lacks a password"},
	{"without any password configured", "limiter.share has a password, and the server none"},
	{"NOPERM", "the user of limiter.share lacks a right"},
	{"DB index is out of range", "the server has no database of the number in limiter.share"},
	{"SELECT is not allowed in cluster mode", "a cluster has no database but 0"},
	{"READONLY", "the server is a replica, which cannot be written to"},
	{"LOADING", "the server reads its data"},
	{"OOM", "the server has no memory left"},
	{"MISCONF", "the server takes no writes"},
}

// cause says in words why Redis is away. The same cause has the same words.
func cause(err error) string {
	var (
		refused *rueidis.RedisError
		network *net.OpError
		timeout net.Error
	)
	text := err.Error()
	switch {
	case errors.As(err, &refused):
		for _, r := range refusals {
			if strings.Contains(text, r.message) {
				return r.meaning + ": " + text
			}
		}
		return "it refuses: " + text
	case errors.As(err, new(errTLS)):
		return text
	case strings.HasPrefix(text, "received unknown message type"):
		return "what answers there is no Redis, or wants TLS, as by rediss://"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "it does not answer in time"
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "the connection broke"
	case errors.As(err, &network): // its own text has the port of this end
		at := ""
		if network.Addr != nil {
			at = " " + network.Addr.String()
		}
		return fmt.Sprintf("%s%s: %v", network.Op, at, network.Err)
	}
	return text
}
