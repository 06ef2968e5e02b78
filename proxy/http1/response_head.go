package http1

import (
	"time"

	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/wire"
)

// maxInterims is the most interim responses to one request.
const maxInterims = 64

// ReadHead is that of ends.BackendEnd.
func (c *Call) ReadHead() reason.Code {
	for {
		err := c.readHeader()
		switch {
		case err == nil:
			return c.checkHead()
		case wire.TimedOut(err) && c.conn.Recalled() && !c.watch.Gone.Load():
			c.stream.Cause = errBackendOut
			return reason.BackendOut
		case wire.TimedOut(err) && c.waitOn():
		default:
			return c.Failure(err)
		}
	}
}

// checkHead decides on a header that was read.
func (c *Call) checkHead() reason.Code {
	if c.Interim() {
		if c.interims++; c.interims <= maxInterims {
			return reason.None
		}
	} else if c.Response.Status >= 200 || c.stream.Request.Allows(c.Response.Upgrade) {
		if c.upload.Started {
			c.headerCame()
		} else {
			c.Waited = time.Since(c.sentAt)
		}
		return reason.None
	}
	c.stream.Cause = errInterims
	if c.Response.Status == message.SwitchingProtocols {
		c.stream.Cause = errSwitch
	}
	c.Response.Status = 0
	return reason.BadResponse
}

// readHeader reads one header. After a timeout it may be called again, and continues.
func (c *Call) readHeader() error {
	lines, size, err := c.waitHeader()
	if err != nil {
		return err
	}
	header := c.in.buffered()[:size]
	if lines.bareLF {
		header = inCRLF(header)
	}
	r := &c.Response
	if !r.Parse(header, c.stream.Request.Head) {
		return errResponseHeader
	}
	c.in.r += size
	c.body = newBody(&c.in, r.Framing, r.Length, c.stream.Limits.BodyTimeout)
	c.body.trailers.Lax = true
	return nil
}

// waitHeader reads until the buffer holds a complete header, and returns its lines and its size.
// Bytes that cannot become a header are an error at once: a backend that speaks another protocol,
// such as TLS or SMTP, may be waiting for its peer.
func (c *Call) waitHeader() (lines headerLines, size int, err error) {
	for {
		have := c.in.buffered()
		size, err = lines.end(have)
		switch most := c.limits.MaxHeader; {
		case err != nil:
			return lines, 0, err
		case size > most, size == 0 && len(have) >= most:
			return lines, 0, errResponseSize
		case size > 0:
			return lines, size, nil
		}
		if !beginsLike(have, message.Protocol) {
			return lines, 0, errResponseHeader
		}
		if len(have) == len(c.in.buf) {
			c.in.widen(c.limits.MaxHeader)
		}
		if err := c.in.fill(0); err != nil { // Send has set the deadline
			return lines, 0, err
		}
		if c.conn.Settle() { // recalled as the first byte came
			c.boundWait()
		}
	}
}

// waitOn is called when the wait for a response's header has timed out, and reports whether to go
// on. The first timeout only starts the watch on the client: from then on the wait may last as long
// as the pool allows.
func (c *Call) waitOn() bool {
	if !c.watch.Start() {
		return false
	}
	c.boundWait()
	return true
}

// boundWait sets the deadline of the wait for a response's header, while the client is watched.
func (c *Call) boundWait() {
	c.watch.Start()
	if c.upload.Started {
		c.upload.WaitOn(c.conn, c.limits.Wait)
	} else {
		_ = c.conn.SetReadDeadline(c.sentAt.Add(c.limits.Wait))
	}
	if c.watch.Gone.Load() {
		c.conn.Stop() // what ended the recall may have undone that
	}
	c.conn.KeepStopped()
}

// WaitOn is that of ends.BackendEnd. The wait is not recalled again.
func (c *Call) WaitOn() {
	c.conn.Settle()
	c.stream.Cause = nil
	c.boundWait()
}
