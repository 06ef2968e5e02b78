package upstream

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sync/errgroup"
)

// maxAddresses is the most addresses of one name that become backends.
const maxAddresses = 1000

// question is what a look-up asks. The zero value asks nothing.
type question struct {
	name    string // in lower case
	service bool   // it asks for SRV records, and for the addresses of their targets
}

// ask looks up what a question asks for. Where a part of it fails, both results are set; nil targets
// mean that nothing was found.
func (q question) ask(ctx context.Context, r *net.Resolver) ([]target, error) {
	if !q.service {
		found, err := findHost(ctx, r, q.name)
		if err != nil {
			return nil, err
		}
		return []target{{host: q.name, addresses: found}}, nil
	}
	_, records, err := r.LookupSRV(ctx, "", "", q.name)
	if len(records) == 0 { // otherwise an error tells of single records that are invalid
		return nil, err
	}
	targets := make([]target, 0, len(records))
	for _, record := range records {
		if record.Target != "." { // which says that there is no such service
			targets = append(targets, target{
				host: strings.ToLower(record.Target), port: record.Port, priority: record.Priority, weight: record.Weight,
			})
		}
	}
	sortTargets(targets)
	errs := make([]error, len(targets))
	var asking errgroup.Group
	asking.SetLimit(maxLookups)
	for i := range targets {
		asking.Go(func() error {
			targets[i].addresses, errs[i] = findHost(ctx, r, targets[i].host)
			return nil
		})
	}
	_ = asking.Wait() // the errors are in errs
	return bounded(targets), errors.Join(append(errs, err)...)
}

// bounded leaves out the addresses beyond maxAddresses, which are those of the highest priority
// numbers.
func bounded(targets []target) []target {
	left := maxAddresses
	for i := range targets {
		if n := len(targets[i].addresses); n > left {
			targets[i].addresses = targets[i].addresses[:left]
		}
		left -= len(targets[i].addresses)
	}
	return targets
}

var errUnusable = errors.New("none of its addresses is one of a host")

// findHost looks up the addresses of a host, which it returns in order.
func findHost(ctx context.Context, r *net.Resolver, name string) ([]netip.Addr, error) {
	found, err := r.LookupNetIP(ctx, "ip", name)
	if err != nil {
		return nil, err
	}
	for i := range found {
		found[i] = found[i].Unmap()
	}
	slices.SortFunc(found, netip.Addr.Compare)
	found = slices.Compact(found)
	if found = usable(found, hasRoute); len(found) == 0 {
		return nil, errUnusable
	}
	return found[:min(len(found), maxAddresses)], nil
}

// usable returns the addresses that this machine has a route to, or all if it has one to none. A
// machine without IPv6 would otherwise see half of the backends of a name down for good.
func usable(found []netip.Addr, hasRoute func(netip.Addr) bool) []netip.Addr {
	hosts := slices.DeleteFunc(found, func(a netip.Addr) bool { return a.IsUnspecified() || a.IsMulticast() })
	routed := slices.DeleteFunc(slices.Clone(hosts), func(a netip.Addr) bool { return !hasRoute(a) })
	if len(routed) == 0 {
		return hosts
	}
	return routed
}

// hasRoute reports whether this machine has a route to an address. It sends nothing.
func hasRoute(a netip.Addr) bool {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 9)))
	if err == nil {
		_ = conn.Close() // nothing was sent
	}
	return !errors.Is(err, syscall.ENETUNREACH) && !errors.Is(err, syscall.EHOSTUNREACH) &&
		!errors.Is(err, syscall.EADDRNOTAVAIL) && !errors.Is(err, syscall.EAFNOSUPPORT)
}
