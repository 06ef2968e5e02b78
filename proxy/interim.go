package proxy

import "loadbalancer/proxy/reason"

// respondInterim forwards an interim response, such as 103 Early Hints (RFC 9110, section 15.2), if
// server.early_hints allows it: some HTTP/1.1 clients take one for the final response. 100 Continue
// is never forwarded, because the balancer has already decided whether the client may send its
// body. HTTP/1.0 clients know no interim responses.
func (p *Proxy) respondInterim(x *exchange) reason.Code {
	r := &x.response
	if !p.earlyHints || r.Status == 100 || x.request.HTTP10 {
		return reason.None
	}
	x.out = append(r.AppendHeader(x.out[:0], false, 0), "\r\n"...)
	return p.write(x, x.out)
}
