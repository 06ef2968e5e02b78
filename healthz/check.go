package healthz

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// check probes t once, on its own connection, and returns nil if t is healthy. The error names t
// and says what went wrong. The check ends as soon as ctx does.
func check(ctx context.Context, cfg Config, t Target) error {
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()

	conn, err := t.connect(ctx)
	if err == nil {
		defer conn.Close()
		switch {
		case cfg.GRPC != "":
			err = askGRPC(ctx, conn, cfg, &t)
		case cfg.Path != "" && t.HTTP2:
			err = askHTTP2(ctx, conn, cfg, &t)
		case cfg.Path != "":
			err = ask(ctx, conn, cfg, t.Host)
		}
	}
	if err == nil {
		return nil
	}
	if timedOut(err) {
		return fmt.Errorf("health check of %s: not done within %v: %w", t.Name, cfg.Timeout, err)
	}
	return fmt.Errorf("health check of %s: %w", t.Name, err)
}

// connect opens a connection to t.
func (t *Target) connect(ctx context.Context) (net.Conn, error) {
	dialer := net.Dialer{KeepAlive: -1} // the connection is too short-lived for probes
	conn, err := dialer.DialContext(ctx, t.Network, t.Address)
	if err != nil || t.Secure == nil {
		return conn, err
	}
	secured, err := t.Secure(ctx, conn)
	if err != nil {
		_ = conn.Close()
		if !timedOut(err) {
			err = unexpected{err, Refused}
		}
		return nil, err
	}
	return secured, nil
}

// timedOut reports whether an error is that of a time that is over.
func timedOut(err error) bool {
	netErr, ok := errors.AsType[net.Error](err)
	return ok && netErr.Timeout()
}

// ask sends the request of a check over conn and reads the answer, as far as it matters. It does
// not follow redirects: whether one is a sign of life, cfg.Status says.
func ask(ctx context.Context, conn net.Conn, cfg Config, host string) error {
	// A deadline in the past interrupts a read or write, whether time ran out or the watch was
	// stopped.
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	what := cfg.asked()
	if _, err := io.WriteString(conn, requestHeader(cfg, host)); err != nil {
		return fmt.Errorf("send %s: %w", what, err)
	}
	r := newResponse(conn)
	if err := r.readHeader(); err != nil {
		return fmt.Errorf("read the response header to %s: %w", what, err)
	}
	if !cfg.Status.Has(r.status) {
		return unexpected{fmt.Errorf("%s was answered with status %d, want %s", what, r.status, cfg.Status), WrongStatus}
	}
	if cfg.Body == "" {
		return nil
	}
	found, err := r.bodyContains(cfg.Body)
	switch {
	case err != nil:
		return fmt.Errorf("read the response body to %s, without having found %q: %w", what, cfg.Body, err)
	case !found:
		return unexpected{fmt.Errorf("%s was answered without %q in the first %d KiB of the body", what, cfg.Body, maxBodySize>>10), WrongText}
	}
	return nil
}

// requestHeader returns the request of a check. host is that of the target.
func requestHeader(cfg Config, host string) string {
	if cfg.Host != "" {
		host = cfg.Host
	}
	header := cfg.Method + " " + cfg.Path + " HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: lb-health-check\r\nConnection: close\r\n"
	switch cfg.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		header += "Content-Length: 0\r\n" // many servers answer 411 without
	}
	if cfg.Body != "" {
		header += "Accept-Encoding: identity\r\n"
	}
	return header + "\r\n"
}
