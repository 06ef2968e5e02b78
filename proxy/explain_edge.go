package proxy

import (
	"errors"
	"net"
	"strconv"
	"strings"

	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
)

var errNoClear = errors.New("url: no listener forwards what comes in the clear: use https")

// arrival is how the request of a question comes.
type arrival struct {
	security *message.Security // nil: in the clear
	redirect bool              // at the listener that sends clients to https
}

// arrive returns how the request comes, by the scheme of its URL. One without a scheme comes to
// server.listen, and so does https where nothing speaks TLS, as through a proxy that ends TLS.
func (q *Question) arrive(e *Edge) (a arrival, err error) {
	scheme, _, absolute := strings.Cut(q.URL, "://")
	absolute = absolute && !strings.ContainsAny(scheme, "/?")
	host, _ := splitURL(q.URL)
	secure := absolute && strings.EqualFold(scheme, "https")
	ports := e.Ports
	switch {
	case secure && ports.TLS != 0, !absolute && ports.TLSAlone:
		a.security = e.expectedSecurity(host)
	case absolute && !secure && ports.Redirect != 0 && (ports.TLSAlone || portOf(host) == ports.Redirect):
		a.redirect = true
	case absolute && !secure && ports.TLSAlone:
		return a, errNoClear
	}
	return a, nil
}

// portOf returns the port of an authority of http, or 0 if that is none.
func portOf(authority string) int {
	_, port, err := net.SplitHostPort(authority)
	if err != nil || port == "" {
		return 80
	}
	n, _ := strconv.Atoi(port)
	return n
}

// expectedSecurity returns what TLS tells of a client that does what it has to.
func (e *Edge) expectedSecurity(host string) *message.Security {
	s := &message.Security{}
	if name, ok := plainHost([]byte(host)); ok && name[0] != '[' && net.ParseIP(name) == nil {
		s.ServerName = strings.TrimSuffix(strings.ToLower(name), ".")
	}
	if s.Verified = e.ClientCerts; s.Verified {
		s.Subject = "(that of the client's certificate)"
	}
	return s
}

// explainRedirect says where the client is sent.
func (e *Explanation) explainRedirect(edge *Edge, r *message.Request) {
	e.Client.By = "no client is limited where all are sent to https"
	host, ok := plainHost(r.Authority)
	if !ok {
		e.refuse(reason.BadRequest, errNoHost.Error())
		return
	}
	e.Redirect = string(appendLocation(nil, host, &net.TCPAddr{Port: max(edge.Ports.TLS, 0)}, r.Target))
}
