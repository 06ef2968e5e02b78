package proxy

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
)

// redirect answers a request on a listener that sends clients to https. to is the address of the
// listener of TLS.
func (p *Proxy) redirect(s ends.Stream, to net.Addr) {
	settings := p.settings.Load()
	why := s.Guard(&settings.limits)
	x := beginExchange(s, settings)
	defer p.road.end(x)
	if why == reason.None {
		x.caller = settings.trust.identify(s.Peer(), &s.Request.Forwarded)
		if x.caller.trusted {
			x.id.given = s.Request.Forwarded.ID
		}
		why = answerInClear(x, to)
	}
	if why != reason.None {
		x.reject(why)
	}
}

// answerInClear answers a challenge of ACME, and sends every other request to https.
func answerInClear(x *exchange, to net.Addr) reason.Code {
	s, r := x.stream, &x.stream.Request
	host, ok := plainHost(r.Authority)
	if !ok {
		x.stream.Cause = errNoHost
		return reason.BadRequest
	}
	if text, ok := x.settings.edge.answerTo(r, host); ok {
		return prove(x, text)
	}
	header := append(s.BeginReply(http.StatusPermanentRedirect, 0), "Location: "...)
	header = appendLocation(header, host, to, r.Target)
	header = message.AppendID(append(header, "\r\n"...), x.id.bytes())
	return s.EndReply(header, http.StatusPermanentRedirect, nil)
}

var errNoHost = errors.New("the request does not say for which host it is, by a name of letters, digits, -, _ and . or by an address")

// plainHost returns the host of an authority. ok is false unless that is an address or a name of
// letters, digits, -, _ and ., which every client reads in the same way: it becomes part of a URL.
func plainHost(authority []byte) (host string, ok bool) {
	text := string(authority)
	if end := strings.IndexByte(text, ']'); end > 0 && text[0] == '[' {
		addr, err := netip.ParseAddr(text[1:end])
		return text[:end+1], err == nil && addr.Is6() && addr.Zone() == ""
	}
	host, _, _ = strings.Cut(text, ":")
	for i := range len(host) {
		switch c := host[i] | 0x20; {
		case 'a' <= c && c <= 'z', '0' <= host[i] && host[i] <= '9', host[i] == '-', host[i] == '_', host[i] == '.' && i > 0:
		default:
			return "", false
		}
	}
	return host, host != "" && len(host) <= maxHost
}

// maxHost is the most bytes of a host name (RFC 1035, section 2.3.4), and of its dot of the root.
const maxHost = 254

// appendLocation appends the URL of a target at the listener of TLS, whose address may have no port.
// What is not a path is * (RFC 9112, section 3.2.4).
func appendLocation(dst []byte, host string, to net.Addr, target []byte) []byte {
	dst = append(append(dst, "https://"...), host...)
	if tcp, ok := to.(*net.TCPAddr); ok && tcp.Port > 0 && tcp.Port != httpsPort {
		dst = strconv.AppendInt(append(dst, ':'), int64(tcp.Port), 10)
	}
	if target[0] != '/' {
		return dst
	}
	return append(dst, target...)
}

const httpsPort = 443
