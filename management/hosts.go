package management

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"

	"loadbalancer/clients/rest"
	"loadbalancer/proxy/upstream"
)

// Host is a name that the management listener answers to.
type Host string

// UnmarshalText reads a name without a port.
func (h *Host) UnmarshalText(text []byte) error {
	if len(text) == 0 || strings.ContainsAny(string(text), "/:*") || upstream.CheckHostName(string(text)) != nil {
		return fmt.Errorf("a host name without port, such as lb.internal")
	}
	*h = Host(strings.ToLower(strings.TrimSuffix(string(text), ".")))
	return nil
}

// answersTo reports whether the pages are shown to a request with this Host: an address, localhost,
// or a configured name. A page of another site that a browser shows could otherwise read them, once
// the site's name leads to this machine's address.
func (r *rules) answersTo(host string) bool {
	if name, port, err := net.SplitHostPort(host); err == nil && strings.Trim(port, "0123456789") == "" {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return host == "" || host == "localhost" || slices.Contains(r.hosts, Host(host))
}

// page returns a handler that shows a page only under a name of the listener.
func (a *API) page(show fasthttp.RequestHandler) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		if host := string(ctx.Request.Header.Host()); !a.access.rules.Load().answersTo(host) {
			rest.WriteProblem(ctx, fasthttp.StatusMisdirectedRequest, "", fmt.Sprintf(
				"the management listener does not answer to the Host %.100q: use an address or localhost, or add the name to management.hosts", host))
			return
		}
		show(ctx)
	}
}
