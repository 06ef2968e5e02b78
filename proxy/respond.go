package proxy

import (
	"time"

	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/wire"
)

// respond sends the backend's response to the client. Bytes at hand go out before it waits for
// more, so that slow bodies flow as they come. A small response leaves in one write.
func (p *Proxy) respond(x *exchange) reason.Code {
	r := &x.response
	x.client.ending.RaiseIf(p.draining.Load() || !x.upload.complete() ||
		x.request.HTTP10 && (r.body.framing == message.Chunked || r.body.framing == message.UntilClose), wire.Close)
	x.out = p.appendResponseHeader(x.out[:0], x)
	var err error
	if r.body.ready() {
		header := len(x.out)
		if x.out, err = x.nextBody(x.out); err != nil && len(x.out) == header {
			r.Status = 0
			return x.headerReason(err) // nothing has been sent: an error response still can be
		}
	}
	x.releaseEarly()
	x.status = r.Status
	if why := p.write(x, x.out); why != reason.None {
		return why
	}
	if err == nil && !r.body.ended {
		return p.stream(x)
	}
	return x.broken(err)
}

// stream sends the rest of a body that did not fit into the first write.
func (p *Proxy) stream(x *exchange) reason.Code {
	scratch := streamBuffers.Get().(*[streamBufferSize]byte)
	defer streamBuffers.Put(scratch)
	for !x.response.body.ended {
		b, err := x.nextBody(scratch[:0])
		x.releaseEarly()
		if why := p.write(x, b); why != reason.None {
			return why
		}
		if err != nil {
			return x.broken(err)
		}
	}
	return reason.None
}

// releaseEarly releases the backend's connection and the client's lease before the last write: the
// client may react to that write with a request that needs them.
func (x *exchange) releaseEarly() {
	if !x.response.body.ended {
		return
	}
	if x.upload.complete() {
		x.leave()
	}
	if !x.upload.started {
		x.release()
	}
}

// nextBody appends the next part of the body, framed for the client.
func (x *exchange) nextBody(dst []byte) ([]byte, error) {
	r := &x.response
	if !x.chunks() {
		return r.body.next(dst)
	}
	start, room := len(dst), cap(dst)-chunkOverhead
	if room <= start {
		return dst, nil // a header that fills the buffer goes out first
	}
	b, err := r.body.next(dst[:start:room])
	dst = dst[:len(b)]
	if len(dst) > start {
		dst = appendChunk(dst, start)
	}
	if r.body.ended && err == nil {
		dst = r.AppendTrailers(dst, &r.body.trailers)
	}
	return dst, err
}

// write writes to the client's connection, without fasthttp.
func (p *Proxy) write(x *exchange, b []byte) reason.Code {
	if len(b) == 0 {
		return reason.None
	}
	n, err := x.client.Deliver(time.Now(), b, p.bodyTimeout)
	x.sent += int64(n)
	if err != nil {
		x.client.abort() // it may only have paused: a truncated response must not look complete
		return reason.ClientGone
	}
	return reason.None
}

// broken handles an error in the middle of the body. If the backend broke off its response, the
// client's connection is reset, so that the client notices.
func (x *exchange) broken(err error) reason.Code {
	if err == nil {
		return reason.None
	}
	x.client.ending.Raise(wire.Close)
	if x.watch.Gone.Load() {
		return reason.ClientGone
	}
	if x.response.body.framing == message.UntilClose || x.request.HTTP10 {
		x.client.abort() // otherwise the end of the connection would look like the end of the body
	}
	if why := x.upload.failure(); why != reason.None && why != reason.BackendReset {
		return why // the request was cut short, and the response with it
	}
	return reason.BackendAborted
}

// reject answers a request that no backend has answered. If a response has begun or the client has
// gone, it only ends the connection.
func (p *Proxy) reject(x *exchange, why reason.Code) {
	x.reason = why
	x.leave()
	answer := why.Answer()
	if x.status != 0 || answer == nil {
		x.client.ending.Raise(wire.Close)
		return
	}
	x.status = why.Status()
	x.client.ending.RaiseIf(p.draining.Load(), wire.Close)
	switch why {
	case reason.BadRequest, reason.MethodNotAllowed, reason.ExpectationFailed, reason.HeaderTooLarge, reason.BodyTooLarge, reason.RequestTimeout, reason.InternalError:
		x.client.ending.Raise(wire.Linger) // it is uncertain where the next request begins
	}
	if !x.ends() && !x.discardable() && !x.discardBuffered() {
		x.client.ending.Raise(wire.Linger)
	}
	x.out = message.AppendDate(append(x.out[:0], answer.Head...), time.Now())
	if x.counted {
		x.out = x.fields.Append(x.out, x.decision)
	}
	if why == reason.MethodNotAllowed {
		x.out = append(x.out, "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"...)
	}
	x.out = x.appendConnection(x.out)
	if !x.request.Head {
		x.out = append(x.out, answer.Body...)
	}
	if p.write(x, x.out) != reason.None {
		x.reason = reason.ClientGone
	}
}
