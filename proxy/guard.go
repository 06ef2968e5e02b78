package proxy

import (
	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
)

// request is a request, and the reader of its body.
type request struct {
	message.Request
	body body
}

// guard passes only requests that can be read in one way. It leaves what the later steps need in
// x.request.
func (p *Proxy) guard(x *exchange) reason.Code {
	h := &x.ctx.Request.Header
	r := &x.request
	x.received = int64(x.client.scan.size)
	faulty := x.client.scan.take()
	r.Method, r.Target, r.Proto, r.Header = h.Method(), h.RequestURI(), h.Protocol(), h.RawHeaders()
	if faulty {
		r.Head = string(r.Method) == "HEAD"
		return reason.BadRequest
	}
	why := r.Guard(&p.rules)
	if why == reason.None || why == reason.BodyTooLarge {
		r.body = newBody(&x.client.in, r.Framing, r.Length, p.bodyTimeout)
	}
	return why
}
