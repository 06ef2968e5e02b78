package proxy

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// tunnel joins a client's connection and a backend's after 101 Switching
// Protocols. Between two TCP connections the bytes stay in the kernel (splice).
type tunnel struct {
	client, backend net.Conn
	idle            time.Duration // longest silence of both sides
	began           time.Time
	active          atomic.Int64 // when bytes were last known to pass, in ns since began
	ended           atomic.Bool
	why             error // of the end, once ended
}

var errIdle = errors.New("neither side has said anything for as long as it may be silent")

// tunnel sends the response that ends HTTP on both connections, and then carries
// bytes between them until both sides have ended, one fails, or neither says
// anything for the pool's tunnel timeout.
func (p *Proxy) tunnel(x *exchange, c *backendConn) reason {
	p.tunnels.Add(1)
	defer p.tunnels.Add(-1)
	x.watch.stop() // from here on the copying sees who leaves
	x.cut, x.response.keep = true, false
	x.status = switchingProtocols
	x.out = x.appendResponseHeader(x.out[:0])
	if why := p.write(x, append(x.out, x.response.in.buffered()...)); why != none {
		return why
	}
	if early := x.client.in.buffered(); len(early) > 0 { // the client was sure of the 101
		c.expectWrite(x.finished, p.bodyTimeout)
		if _, err := c.Write(early); err != nil {
			x.client.abort()
			return none
		}
		x.client.in.r = x.client.in.w
	}
	t := tunnel{client: x.client.Conn, backend: c.Conn, idle: x.pool.tunnel, began: x.finished}
	down, err := t.run()
	x.sent += down
	if errors.Is(err, errIdle) {
		return tunnelTimeout
	}
	if err != nil {
		x.client.abort() // what has broken must not look like what has ended
	}
	return none
}

// run carries both ways, and returns how many bytes the client got and what went
// wrong first.
func (t *tunnel) run() (down int64, err error) {
	up := make(chan struct{})
	go func() {
		defer close(up)
		t.carry(t.backend, t.client)
	}()
	down = t.carry(t.client, t.backend)
	<-up
	return down, t.why
}

// carry copies until the source ends, and passes that end on: the other direction
// may still have something to say.
func (t *tunnel) carry(dst, src net.Conn) (total int64) {
	for {
		now := time.Now()
		giveUp := now.Add(t.idle)
		// A copy does not tell that bytes pass. So it is stopped now and then, between two
		// reads, where nothing gets lost, and asked.
		_ = src.SetReadDeadline(now.Add(t.idle / 8))
		_ = dst.SetWriteDeadline(giveUp)
		if t.ended.Load() {
			return total
		}
		n, err := io.Copy(dst, src)
		total += n
		if n > 0 {
			t.active.Store(int64(time.Since(t.began)))
		}
		switch {
		case err == nil:
			if half, ok := dst.(interface{ CloseWrite() error }); ok {
				_ = half.CloseWrite() // fails where the other side has gone: its own copy says so
			}
			return total
		case !timedOut(err):
			t.end(err)
			return total
		case time.Since(t.began)-time.Duration(t.active.Load()) >= t.idle, !time.Now().Before(giveUp):
			t.end(errIdle)
			return total
		}
	}
}

// end stops both directions; the first reason counts.
func (t *tunnel) end(why error) {
	if !t.ended.CompareAndSwap(false, true) {
		return
	}
	t.why = why
	_ = t.client.SetDeadline(longAgo)
	_ = t.backend.SetDeadline(longAgo)
}
