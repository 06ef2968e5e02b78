package proxy

import "loadbalancer/proxy/reason"

// respondInterim sends an interim response on, such as 103 Early Hints (RFC 9110,
// section 15.2), where server.early_hints lets it: some clients of HTTP/1.1 take one
// for the final response. 100 Continue never goes on: whether the client may send
// its body has been decided here. Clients of HTTP/1.0 know no interim responses.
func (p *Proxy) respondInterim(x *exchange) reason.Code {
	r := &x.response
	if !p.earlyHints || r.status == 100 || x.request.http10 {
		return reason.None
	}
	x.out = append(r.appendFields(r.appendStatusLine(x.out[:0]), false), "\r\n"...)
	return p.write(x, x.out)
}
