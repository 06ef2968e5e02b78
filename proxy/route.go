package proxy

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"strings"

	"loadbalancer/proxy/message"
	"loadbalancer/proxy/upstream"
)

// route sends the requests of a host and path to a pool. An empty host or path matches any.
type route struct {
	host []byte // in lower case, without port and trailing dot
	path []byte
	pool *upstream.Pool
}

// routes are all routes, the most specific first.
type routes []route

// newRoutes sorts the routes so that the first match is the most specific: routes with a host
// before those without, then longer paths first.
func newRoutes(configs []RouteConfig, pools map[string]*upstream.Pool) (all routes) {
	for _, c := range configs {
		all = append(all, route{[]byte(hostName(c.Host)), []byte(c.Path), pools[c.Pool]})
	}
	if len(configs) == 0 {
		for _, p := range pools { // exactly one, as ValidateRoutes has checked
			all = append(all, route{pool: p})
		}
	}
	slices.SortStableFunc(all, func(a, b route) int {
		return cmp.Or(-cmp.Compare(min(len(a.host), 1), min(len(b.host), 1)), -cmp.Compare(len(a.path), len(b.path)))
	})
	return all
}

// find returns the route of the request, or nil if there is none.
func (all routes) find(request *message.Request) *route {
	for i := range all {
		r := &all[i]
		if (len(r.host) == 0 || sameHost(request.Authority, r.host)) && bytes.HasPrefix(request.Target, r.path) {
			return r
		}
	}
	return nil
}

// describe names the route by its host and path.
func (r *route) describe() string {
	switch {
	case len(r.host)+len(r.path) == 0:
		return "every host and path"
	case len(r.host) == 0:
		return "every host, paths below " + string(r.path)
	case len(r.path) == 0:
		return "host " + string(r.host)
	}
	return "host " + string(r.host) + ", paths below " + string(r.path)
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
