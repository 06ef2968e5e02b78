package proxy

import "loadbalancer/proxy/reason"

// forwardInterim forwards an interim response, such as 103 Early Hints (RFC 9110, section 15.2), if
// server.early_hints allows it: some HTTP/1.1 clients take one for the final response. 100 Continue
// is never forwarded, because the balancer has already decided whether the client may send its
// body. HTTP/1.0 clients know no interim responses.
func (x *exchange) forwardInterim() reason.Code {
	x.tries.backend.Heard()
	r := &x.call.Response
	if !x.settings.earlyHints || r.Status == 100 || x.stream.Request.HTTP10 {
		return reason.None
	}
	return x.stream.SendInterim(r.AppendHeader(x.stream.Buffer(), false, 0, x.match.Route.Response))
}
