package load

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// readBufferSize is also the size of the longest response header that is accepted.
const readBufferSize = 16 << 10

// client sends one request at a time over one connection, which it opens if there is none. It
// retries nothing: the report shows what the network does to a request. It is for one goroutine,
// except interrupt.
type client struct {
	address string // host:port
	request *request
	timeout time.Duration

	conn      atomic.Pointer[countedConn] // nil: not connected
	stopped   atomic.Bool
	reader    *bufio.Reader
	header    fasthttp.ResponseHeader
	responses int64 // over the current connection

	connectTime time.Duration // of the latest connect
	bytesRead   int64         // since the caller last set it to 0
	bytesSent   int64
}

func newClient(address string, r *request, timeout time.Duration) *client {
	return &client{address: address, request: r, timeout: timeout, reader: bufio.NewReaderSize(nil, readBufferSize)}
}

// countedConn adds the bytes it carries to its client's counters.
type countedConn struct {
	net.Conn
	client *client
}

func (c *countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.client.bytesRead += int64(n)
	return n, err
}

func (c *countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.client.bytesSent += int64(n)
	return n, err
}

// connect opens the connection. Its error is a *failure.
func (c *client) connect(ctx context.Context) error {
	dialer := net.Dialer{Timeout: c.timeout, KeepAlive: -1} // no probes, which cost system calls to set up
	begun := time.Now()
	conn, err := dialer.DialContext(ctx, "tcp", c.address)
	if err != nil {
		return &failure{phase: connecting, err: err}
	}
	c.connectTime = time.Since(begun)
	c.attach(conn)
	return nil
}

// attach makes conn the connection of the client, which closes it.
func (c *client) attach(conn net.Conn) {
	counted := &countedConn{Conn: conn, client: c}
	c.reader.Reset(counted)
	c.responses = 0
	c.conn.Store(counted)
}

// close closes the connection, if there is one. The next request opens another.
func (c *client) close() {
	if conn := c.conn.Swap(nil); conn != nil {
		_ = conn.Close()
	}
}

// interrupt ends the current exchange, and every later one, with an error. Any goroutine may call
// it.
func (c *client) interrupt() {
	c.stopped.Store(true)
	if conn := c.conn.Load(); conn != nil {
		_ = conn.SetDeadline(time.Unix(1, 0))
	}
}

// exchange sends the request and reads the response to its end. It returns the response's status,
// or a *failure.
func (c *client) exchange() (status int, err error) {
	conn := c.conn.Load()
	reused := c.responses > 0
	_ = conn.SetDeadline(time.Now().Add(c.timeout)) // a closed connection says so on the write
	if c.stopped.Load() {
		// This check must follow the deadline, which would override an interrupt in between.
		return 0, &failure{phase: writing, err: context.Canceled}
	}
	writeErr := c.request.writeTo(conn)
	// A server may answer and close before it has read the whole body (413, 429): that response
	// counts.
	status, at, err := c.readResponse()
	switch {
	case writeErr != nil && err != nil:
		c.close()
		return 0, &failure{phase: writing, reused: reused, err: writeErr}
	case err != nil:
		c.close()
		return 0, &failure{phase: at, reused: reused, err: err}
	}
	c.responses++
	if writeErr != nil || c.request.close || c.header.ConnectionClose() || status == fasthttp.StatusSwitchingProtocols {
		c.close()
	}
	return status, nil
}

// readResponse returns the status of the response, or an error and where it happened.
func (c *client) readResponse() (int, phase, error) {
	// fasthttp reports every error on the first byte as EOF. Peek distinguishes a reset from an
	// end.
	if _, err := c.reader.Peek(1); err != nil {
		return 0, waiting, err
	}
	for {
		if err := c.header.Read(c.reader); err != nil {
			return 0, reading, fmt.Errorf("read response header: %w", err)
		}
		status := c.header.StatusCode()
		if status >= 200 || status == fasthttp.StatusSwitchingProtocols {
			break
		}
	}
	if err := c.skipBody(); err != nil {
		return 0, reading, fmt.Errorf("read response body: %w", err)
	}
	if n := c.reader.Buffered(); n > 0 {
		return 0, reading, fmt.Errorf("read response: %d bytes follow its end", n)
	}
	return c.header.StatusCode(), reading, nil
}

func (c *client) skipBody() error {
	status := c.header.StatusCode()
	if c.request.isHead || status < 200 || status == fasthttp.StatusNoContent || status == fasthttp.StatusNotModified {
		return nil
	}
	switch length := c.header.ContentLength(); length {
	case -1:
		return skipChunked(c.reader)
	case -2: // neither length nor chunks: the body ends with the connection
		c.header.SetConnectionClose()
		_, err := io.Copy(io.Discard, c.reader)
		return err
	default:
		_, err := c.reader.Discard(length)
		return err
	}
}

func skipChunked(r *bufio.Reader) error {
	if _, err := io.Copy(io.Discard, httputil.NewChunkedReader(r)); err != nil {
		return err
	}
	for { // trailers, up to an empty line
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			return nil
		}
	}
}
