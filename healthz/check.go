package healthz

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"time"
)

// maxHeaderSize is the most bytes that one check reads of the response, interim (1xx) responses
// included.
const maxHeaderSize = 64 << 10

// check probes t once, on its own connection, and returns nil if t is healthy. The error names t
// and says what went wrong. The check ends as soon as ctx does.
func check(ctx context.Context, cfg Config, t Target) error {
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()

	dialer := net.Dialer{KeepAlive: -1} // the connection is too short-lived for probes
	conn, err := dialer.DialContext(ctx, t.Network, t.Address)
	if err == nil {
		defer conn.Close()
		if cfg.Path != "" {
			err = get(ctx, conn, t.Host, cfg.Path)
		}
	}
	if err == nil {
		return nil
	}
	if netErr, ok := errors.AsType[net.Error](err); ok && netErr.Timeout() {
		return fmt.Errorf("health check of %s: not done within %v: %w", t.Name, cfg.Timeout, err)
	}
	return fmt.Errorf("health check of %s: %w", t.Name, err)
}

// get sends a GET over conn and reads the response header. It does not follow redirects: any
// response is a sign of life.
func get(ctx context.Context, conn net.Conn, host, path string) error {
	// A deadline in the past interrupts a read or write, whether time ran out or the watch was
	// stopped.
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	const request = "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: lb-health-check\r\nConnection: close\r\n\r\n"
	if _, err := fmt.Fprintf(conn, request, path, host); err != nil {
		return fmt.Errorf("send GET %s: %w", path, err)
	}
	status, err := readStatus(conn)
	if err != nil {
		return fmt.Errorf("read the response header to GET %s: %w", path, err)
	}
	if status < 200 || status > 399 {
		return fmt.Errorf("GET %s was answered with status %d, want 2xx or 3xx", path, status)
	}
	return nil
}

// readStatus reads up to the end of the final response's header and returns its status code.
func readStatus(r io.Reader) (int, error) {
	limited := &io.LimitedReader{R: r, N: maxHeaderSize}
	lines := textproto.NewReader(bufio.NewReader(limited))
	for {
		// The body is left unread.
		status, err := readHeader(lines)
		if err != nil {
			if limited.N <= 0 {
				return 0, fmt.Errorf("it is longer than %d bytes", maxHeaderSize)
			}
			return 0, err
		}
		// RFC 9110, section 15.2: any number of 1xx responses may come first. A 101 is the last
		// response of HTTP.
		if status >= 200 || status == http.StatusSwitchingProtocols {
			return status, nil
		}
	}
}

// readHeader reads one header, up to its empty line, and returns its status code. It ignores the
// fields: the proxy forwards responses with odd ones, so those must not take a backend out.
func readHeader(lines *textproto.Reader) (status int, err error) {
	line, err := lines.ReadLine()
	if err == nil {
		status, err = parseStatusLine(line)
	}
	for err == nil && line != "" {
		line, err = lines.ReadLine()
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return status, err
}

// parseStatusLine returns the status code of a line such as "HTTP/1.1 200 OK", with or without the
// phrase.
func parseStatusLine(line string) (status int, err error) {
	version, rest, _ := strings.Cut(line, " ")
	code, _, _ := strings.Cut(rest, " ")
	status, err = strconv.Atoi(code)
	if version != "HTTP/1.1" && version != "HTTP/1.0" || len(code) != 3 || err != nil || status < 100 {
		return 0, fmt.Errorf("malformed HTTP status line %.100q", line)
	}
	return status, nil
}
