package proxy

import (
	"time"

	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/wire"
)

// respond sends the backend's response to the client. What is there goes out
// before anything more is waited for, so that slow bodies flow as they come; a
// small response leaves in one write.
func (p *Proxy) respond(x *exchange) reason.Code {
	r := &x.response
	x.client.ending.RaiseIf(p.draining.Load() || !x.upload.complete() ||
		x.request.http10 && (r.body.framing == chunked || r.body.framing == untilClose), wire.Close)
	x.out = p.appendResponseHeader(x.out[:0], x)
	var err error
	if r.body.ready() {
		header := len(x.out)
		if x.out, err = x.nextBody(x.out); err != nil && len(x.out) == header {
			r.status = 0
			return x.headerReason(err) // nothing has been sent: an answer can still say so
		}
	}
	x.releaseEarly()
	x.status = r.status
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

// releaseEarly gives the backend's connection and the client's lease back before the
// last write: the client may react to that with a request that needs them.
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
		return dst, nil // a header that fills the buffer goes first
	}
	b, err := r.body.next(dst[:start:room])
	dst = dst[:len(b)]
	if len(dst) > start {
		dst = appendChunk(dst, start)
	}
	if r.body.ended && err == nil {
		dst = r.body.trailers.appendLastChunk(dst, &r.hop)
	}
	return dst, err
}

// write sends bytes to the client, past fasthttp.
func (p *Proxy) write(x *exchange, b []byte) reason.Code {
	if len(b) == 0 {
		return reason.None
	}
	n, err := x.client.Deliver(time.Now(), b, p.bodyTimeout)
	x.sent += int64(n)
	if err != nil {
		x.client.abort() // it may only have paused: what it reads then must not look whole
		return reason.ClientGone
	}
	return reason.None
}

// broken tells that the backend broke its response off, if it did: then the
// client's connection is cut, so that it sees what happened.
func (x *exchange) broken(err error) reason.Code {
	if err == nil {
		return reason.None
	}
	x.client.ending.Raise(wire.Close)
	if x.watch.Gone.Load() {
		return reason.ClientGone
	}
	if x.response.body.framing == untilClose || x.request.http10 {
		x.client.abort() // the end of the connection would look like the end of the body
	}
	if why := x.upload.failure(); why != reason.None && why != reason.BackendReset {
		return why // the request ended early, and so did the response
	}
	return reason.BackendAborted
}

// reject answers a request that no backend has answered. Where a response has
// begun, or there is nobody to read one, only the connection can tell.
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
		x.client.ending.Raise(wire.Linger) // where the next request begins is not certain
	}
	if !x.ends() && !x.discardable() && !x.discardBuffered() {
		x.client.ending.Raise(wire.Linger)
	}
	x.out = appendDate(append(x.out[:0], answer.Head...), time.Now())
	if x.counted {
		x.out = x.fields.Append(x.out, x.decision)
	}
	if why == reason.MethodNotAllowed {
		x.out = append(x.out, "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"...)
	}
	x.out = x.appendConnection(x.out)
	if !x.request.head {
		x.out = append(x.out, answer.Body...)
	}
	if p.write(x, x.out) != reason.None {
		x.reason = reason.ClientGone
	}
}
