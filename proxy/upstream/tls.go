package upstream

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"loadbalancer/proxy/wire"
)

// What a backend is asked to speak (ALPN, RFC 7301).
const (
	http1Protocol = "http/1.1"
	http2Protocol = "h2"
)

// tlsClient is the balancer's end of TLS with one backend. It is safe for concurrent use.
type tlsClient struct {
	credentials *credentials
	subject     string // of the backend's URL
	protocol    string // that it is asked to speak
	made        atomic.Pointer[madeConfig]
}

// madeConfig is a backend's config, with the one of its pool that it was made from.
type madeConfig struct{ of, config *tls.Config }

// newTLSClient returns the client of a backend, or nil if the backend speaks no TLS.
func newTLSClient(u URL, c *credentials) *tlsClient {
	if !u.IsSecure() {
		return nil
	}
	t := &tlsClient{credentials: c, subject: u.subject, protocol: http1Protocol}
	if u.http2 {
		t.protocol = http2Protocol
	}
	return t
}

// config returns what the next handshake goes by. Each backend has its own sessions to resume: the
// tickets of one are of no use to another. They are dropped when a file of the pool changes, so that
// no session outlives what it was verified by.
func (t *tlsClient) config() (*tls.Config, error) {
	of, err := t.credentials.current()
	if err != nil {
		return nil, err
	}
	if m := t.made.Load(); m != nil && m.of == of {
		return m.config, nil
	}
	config := of.Clone()
	config.ServerName = cmp.Or(t.credentials.config.ServerName, t.subject)
	config.NextProtos = []string{t.protocol}
	config.ClientSessionCache = tls.NewLRUClientSessionCache(1) // they are kept by ServerName
	t.made.Store(&madeConfig{of, config})
	return config, nil
}

// secure makes a connection that was just dialed one of TLS. The handshake must have ended at by.
func (t *tlsClient) secure(conn *wire.Conn, by time.Time) error {
	config, err := t.config()
	if err != nil {
		return err
	}
	conn.Secure(tls.Client, config, nil)
	conn.ExpectCloseNotify()
	if err := conn.Handshake(by, nil); err != nil {
		return handshakeError(err)
	}
	return t.agreed(conn.ConnectionState())
}

// agreed returns an error if the backend has not agreed to HTTP/2 although it has to. Backends of
// HTTP/1 need not agree to anything: many know no ALPN.
func (t *tlsClient) agreed(state tls.ConnectionState) error {
	if t.protocol == http2Protocol && state.NegotiatedProtocol != http2Protocol {
		return errNotHTTP2
	}
	return nil
}

var errNotHTTP2 = errors.New("TLS handshake: the backend does not agree to HTTP/2 (ALPN h2)")

// secureCheck is healthz.Target.Secure.
func (t *tlsClient) secureCheck(ctx context.Context, conn net.Conn) (net.Conn, error) {
	config, err := t.config()
	if err != nil {
		return nil, err
	}
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		return secured, handshakeError(err)
	}
	return secured, t.agreed(secured.ConnectionState())
}

// handshakeError puts into words why a handshake has failed. What has timed out stays a timeout.
func handshakeError(err error) error {
	_, inTheClear := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case err == nil:
		return nil
	case inTheClear:
		return errors.New("TLS handshake: what the backend sent is not TLS")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("TLS handshake: the backend closed the connection")
	}
	return fmt.Errorf("TLS handshake: %w", err)
}
