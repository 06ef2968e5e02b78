package upstream

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
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

// ask looks up what a question asks for. Where a part of it fails, both results are set; nil
// targets mean that nothing is known of a service.
func (q question) ask(ctx context.Context, r *net.Resolver) ([]target, error) {
	if !q.service {
		found, err := findHost(ctx, r, target{host: q.name})
		return bounded(found), err
	}
	_, records, err := r.LookupSRV(ctx, "", "", q.name)
	if len(records) == 0 { // otherwise an error tells of single records that are invalid
		return nil, err
	}
	found, errs := make([][]target, len(records)), make([]error, len(records))
	var asking errgroup.Group
	asking.SetLimit(maxLookups)
	for i, record := range records {
		if record.Target == "." { // which says that there is no such service
			continue
		}
		asking.Go(func() error {
			found[i], errs[i] = findHost(ctx, r, target{
				host: strings.ToLower(record.Target), port: record.Port, priority: record.Priority, weight: record.Weight,
			})
			return nil
		})
	}
	_ = asking.Wait() // the errors are in errs
	targets := slices.Concat(found...)
	sortTargets(targets)
	return bounded(append([]target{}, targets...)), errors.Join(append(errs, err)...)
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

// families are the kinds of addresses that are looked up, each by itself: name servers that answer
// for IPv4 alone, and drop or refuse the question for IPv6, are common.
var families = [...]string{"ip4", "ip6"}

// findHost looks up the addresses of a target's host. It returns one target for each family.
func findHost(ctx context.Context, r *net.Resolver, t target) ([]target, error) {
	found, errs := make([][]netip.Addr, len(families)), make([]error, len(families))
	var asking sync.WaitGroup
	for i, family := range families {
		asking.Go(func() { found[i], errs[i] = r.LookupNetIP(ctx, family, t.host) })
	}
	asking.Wait()
	all := slices.Concat(found...)
	for i := range all {
		all[i] = all[i].Unmap()
	}
	slices.SortFunc(all, netip.Addr.Compare)
	hosts := usable(slices.Compact(all), hasRoute)
	targets := make([]target, len(families))
	for i, family := range families {
		targets[i] = t
		targets[i].family = family
		if len(hosts) > 0 && (errs[i] == nil || isNotFound(errs[i])) {
			errs[i] = nil // it has no other addresses of this family
			targets[i].addresses = slices.DeleteFunc(slices.Clone(hosts), func(a netip.Addr) bool { return a.Is4() != (family == "ip4") })
		}
	}
	if len(hosts) == 0 {
		return targets, cmp.Or(errs[0], errs[1], errUnusable)
	}
	return targets, errors.Join(errs...)
}

// isNotFound reports whether a look-up has failed because the name does not exist, or has no
// address of the family.
func isNotFound(err error) bool {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dns.IsNotFound
	}
	_, ok := errors.AsType[*net.AddrError](err)
	return ok
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
