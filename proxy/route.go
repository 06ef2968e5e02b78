package proxy

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"loadbalancer/proxy/reason"
)

// route sends a host and path to a pool. Empty means any.
type route struct {
	host []byte // lower case, without port and the dot behind it
	path []byte
	pool *pool
}

// newRoutes sorts the routes so that the first match is the most specific: one
// with a host before one without, then the longer path.
func newRoutes(configs []RouteConfig, pools map[string]*pool) []route {
	var routes []route
	for _, c := range configs {
		routes = append(routes, route{[]byte(hostName(c.Host)), []byte(c.Path), pools[c.Pool]})
	}
	if len(configs) == 0 {
		for _, p := range pools { // exactly one: ValidateRoutes saw to it
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
		if len(r.host) > 0 && !sameHost(x.request.authority, r.host) || !bytes.HasPrefix(x.request.target, r.path) {
			continue
		}
		x.pool = r.pool
		return reason.None
	}
	return reason.NoRoute
}

// hostName is the form in which the host of a route is compared: in lower case, and without the dot
// behind it that names the root of the DNS.
func hostName(host string) string {
	return strings.TrimSuffix(strings.ToLower(host), ".")
}

// sameHost compares an authority, with or without port, in any case, and with or without a dot
// behind the name, with a host in the form of hostName.
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
