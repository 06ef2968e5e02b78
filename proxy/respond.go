package proxy

import (
	"loadbalancer/proxy/http1"
	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
)

// respond sends the backend's response to the client, or joins the two connections after 101
// Switching Protocols. It ends the attempt.
func (x *exchange) respond() reason.Code {
	s, c := x.stream, &x.call
	c.Accept()
	noteCall(s, &c.Response, nil)
	s.EndHeader(x.appendResponseHeader(s.Begin(c.Response.Framing, c.Uploaded())), c.Response.Status)
	var why reason.Code
	if c.Response.Status == message.SwitchingProtocols {
		why = http1.Tunnel(s.ClientEnd, c.BackendEnd, x.pool.Timeouts().Tunnel)
	} else {
		why = x.relayBody()
	}
	x.endAttempt(why)
	return why
}

// relayBody sends the header and the body. Bytes at hand go out before it waits for more, so that
// slow bodies flow as they come. A small response leaves in one write. For a slow client it reads
// ahead, so that the backend is free.
func (x *exchange) relayBody() reason.Code {
	s, c := x.stream, &x.call
	var err error
	if c.Ready() {
		var n int
		if n, err = x.relay(); err != nil && n == 0 {
			return c.Failure(err) // nothing has been sent: an error response still can be
		}
	}
	for {
		x.releaseEarly()
		if why := s.FlushAhead(responseBuffer(s.Request.GRPC, x.pool), !c.Uploads()); why != reason.None {
			return why
		}
		if err != nil || c.Ended() {
			break
		}
		if _, err = x.relay(); err == nil {
			x.tries.backend.Heard()
		}
	}
	if err == nil {
		x.endAttempt(reason.None) // the backend has done its part
	}
	if why := s.AwaitAhead(); why != reason.None || err == nil {
		return why
	}
	return c.Break(err)
}

// relay takes the next part of the body from the backend's end to the client's, where it waits for
// Flush. n is its size in bytes.
func (x *exchange) relay() (n int, err error) {
	s, c := x.stream, &x.call
	room := s.Room()
	b, err := c.Next(room)
	s.Add(b)
	if c.Ended() && err == nil {
		noteCall(s, &c.Response, c.Trailers())
		s.EndBody(&c.Response, c.Trailers())
	}
	return len(b) - len(room), err
}

// releaseEarly releases the backend's connection and the client's lease before the last write: the
// client may react to that write with a request that needs them.
func (x *exchange) releaseEarly() {
	if !x.call.Ended() {
		return
	}
	if x.call.Uploaded() {
		x.admission.leave()
	}
	if !x.call.Uploads() {
		x.release()
	}
}

// appendResponseHeader appends the response's header as the client gets it: the backend's own, with
// the client's rate limit fields, its cookie, those of this hop and of the route, and the request's
// ID unless the backend has given it one of its own. A 429 from a backend keeps only the backend's
// limit fields: the balancer's would say that tokens are left.
func (x *exchange) appendResponseHeader(dst []byte) []byte {
	r, trailers, edit := &x.call.Response, x.stream.TakesTrailers(), x.match.Route.Response
	if x.admission.told && r.Status != tooManyRequests {
		dst = r.AppendHeader(dst, trailers, limitFields(x.admission.fields), edit)
		dst = x.admission.appendFields(dst)
	} else {
		dst = r.AppendHeader(dst, trailers, 0, edit)
	}
	dst = x.sticky.appendCookie(dst, x.tries.backend, x.stream.Request.IsSecure(x.caller.trusted))
	dst = edit.Append(x.settings.via.Append(dst, r.Version()))
	if r.HasID {
		return dst
	}
	return message.AppendID(dst, x.id.bytes())
}

// tooManyRequests is the status for a client over its limit (RFC 6585, section 4).
const tooManyRequests = 429
