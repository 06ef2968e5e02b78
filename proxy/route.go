package proxy

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"strings"

	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/upstream"
)

// route sends the requests of a host and path to a pool. An empty host or path matches any.
type route struct {
	host []byte // in lower case, without port and trailing dot
	path []byte
	pool *upstream.Pool
}

// newRoutes sorts the routes so that the first match is the most specific: routes with a host
// before those without, then longer paths first.
func newRoutes(configs []RouteConfig, pools map[string]*upstream.Pool) []route {
	var routes []route
	for _, c := range configs {
		routes = append(routes, route{[]byte(hostName(c.Host)), []byte(c.Path), pools[c.Pool]})
	}
	if len(configs) == 0 {
		for _, p := range pools { // exactly one, as ValidateRoutes has checked
			routes = append(routes, route{pool: p})
		}
	}
	slices.SortStableFunc(routes, func(a, b route) int {
		return cmp.Or(-cmp.Compare(min(len(a.host), 1), min(len(b.host), 1)), -cmp.Compare(len(a.path), len(b.path)))
	})
	return routes
}

// route finds the pool that serves the request.
func (p *Proxy) route(x *exchange) reason.Code {
	for i := range p.routes {
		r := &p.routes[i]
		if len(r.host) > 0 && !sameHost(x.request.Authority, r.host) || !bytes.HasPrefix(x.request.Target, r.path) {
			continue
		}
		x.pool = r.pool
		return reason.None
	}
	return reason.NoRoute
}

// checkRouteHost returns nil for a host that a route can match, or for an empty one.
func checkRouteHost(host string) error {
	switch {
	case host == "":
		return nil
	case strings.ContainsAny(host, "/: *"):
		return errors.New("a host name without port, such as api.example.com")
	}
	return upstream.CheckHostName(host)
}

// hostName returns the form in which route hosts are compared: lower case, without the trailing dot
// of the DNS root.
func hostName(host string) string {
	return strings.TrimSuffix(strings.ToLower(host), ".")
}

// sameHost reports whether an authority names the host, which is in the form of hostName. The
// authority may have a port, upper case letters and a trailing dot.
func sameHost(authority, host []byte) bool {
	if len(authority) < len(host) || !bytes.EqualFold(authority[:len(host)], host) {
		return false
	}
	rest := authority[len(host):]
	if len(rest) > 0 && rest[0] == '.' {
		rest = rest[1:]
	}
	return len(rest) == 0 || rest[0] == ':'
}
