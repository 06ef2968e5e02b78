package proxy

import (
	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/http1"
	"loadbalancer/proxy/http2"
	"loadbalancer/proxy/upstream"
)

// call is the backend's end, in the protocol of the backend that was tried last.
type call struct {
	ends.Call
	http1 http1.Call
	http2 *http2.Call // nil: none was needed so far
}

// init gives a call its buffers.
func (c *call) init() {
	c.http1.Init()
	c.use1()
}

// use1 makes the call one of HTTP/1, as it is before the first attempt.
func (c *call) use1() { c.Call = ends.Call{Progress: &c.http1.Progress, BackendEnd: &c.http1} }

// begin begins a call on a connection.
func (c *call) begin(s ends.Stream, conn *upstream.Conn, p *upstream.Pool) {
	wait := headerWait(s.Request.GRPC, p.Timeouts())
	if conn.Stream == nil {
		c.http1.Begin(s, &conn.Conn, conn.Reused(), http1.CallLimits{Wait: wait, MaxHeader: p.MaxResponseHeader()})
		c.use1()
		return
	}
	if c.http2 == nil {
		c.http2 = new(http2.Call)
		c.http2.Init()
	}
	c.http2.Begin(s, conn.Stream, wait)
	c.Call = ends.Call{Progress: &c.http2.Progress, BackendEnd: c.http2}
}

// reset readies the call, which has ended, for another exchange.
func (c *call) reset() {
	c.http1.Reset()
	if c.http2 != nil {
		c.http2.Reset()
		c.use1()
	}
}
