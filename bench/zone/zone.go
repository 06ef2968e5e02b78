// Package zone is a DNS server for tests: it answers with records that the test changes while it
// serves.
package zone

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/miekg/dns"
)

// NoAnswer stands for an answer that does not come.
const NoAnswer = -1

// Zone holds records and answers for them. Make one with Open. It is safe for concurrent use.
type Zone struct {
	address string
	servers []*dns.Server
	serving sync.WaitGroup

	mu      sync.Mutex
	records map[string][]dns.RR // by name, with its dot, in lower case
	broken  map[string]int      // codes of answers without records, by name
	old     map[string]int      // the same for questions for AAAA records
	asked   map[string]int
}

// Open serves an empty zone by UDP and TCP at an address, such as 127.0.0.1:0 for any port. The
// caller closes it.
func Open(address string) (*Zone, error) {
	packets, streams, err := listen(address)
	for range 20 { // the free port of one protocol may be taken in the other
		if err == nil {
			break
		}
		packets, streams, err = listen(address)
	}
	if err != nil {
		return nil, err
	}
	z := &Zone{
		address: streams.Addr().String(), records: map[string][]dns.RR{}, broken: map[string]int{}, old: map[string]int{}, asked: map[string]int{},
	}
	z.serve(&dns.Server{PacketConn: packets, Handler: dns.HandlerFunc(z.answer)})
	z.serve(&dns.Server{Listener: streams, Handler: dns.HandlerFunc(z.answer)})
	return z, nil
}

// listen opens one port in both protocols.
func listen(address string) (net.PacketConn, net.Listener, error) {
	streams, err := net.Listen("tcp", address)
	if err != nil {
		return nil, nil, err
	}
	packets, err := net.ListenPacket("udp", streams.Addr().String())
	if err != nil {
		return nil, nil, errors.Join(err, streams.Close())
	}
	return packets, streams, nil
}

// serve starts a server, and returns once it serves.
func (z *Zone) serve(s *dns.Server) {
	started := make(chan struct{})
	s.NotifyStartedFunc = func() { close(started) }
	z.servers = append(z.servers, s)
	z.serving.Go(func() { _ = s.ActivateAndServe() }) // returns at Close
	<-started
}

// Close ends the service, and returns once no goroutine of it is left.
func (z *Zone) Close() {
	for _, s := range z.servers {
		_ = s.Shutdown() // it serves
	}
	z.serving.Wait()
}

// Address returns the address and port that the zone is served on.
func (z *Zone) Address() string { return z.address }

// Resolver returns a resolver that asks the zone alone, but knows the hosts of this machine, too.
func (z *Zone) Resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, z.address)
	}}
}

// Set replaces the records of a name by A and AAAA records of these addresses, and by those given
// as "priority weight port target". Without any, the name exists and has no records.
func (z *Zone) Set(name string, records ...string) error {
	name = dns.CanonicalName(name)
	var all []dns.RR
	for _, r := range records {
		kind := "SRV"
		if ip := net.ParseIP(r); ip != nil && ip.To4() != nil {
			kind = "A"
		} else if ip != nil {
			kind = "AAAA"
		}
		rr, err := dns.NewRR(fmt.Sprintf("%s 1 IN %s %s", name, kind, r))
		if err != nil {
			return err
		}
		all = append(all, rr)
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	delete(z.broken, name)
	delete(z.old, name)
	z.records[name] = all
	return nil
}

// Fail has questions for a name be answered with an error code, such as dns.RcodeServerFailure, or,
// for NoAnswer, not at all, until Set is called for it.
func (z *Zone) Fail(name string, code int) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.broken[dns.CanonicalName(name)] = code
}

// FailIPv6 is Fail for questions for AAAA records alone.
func (z *Zone) FailIPv6(name string, code int) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.old[dns.CanonicalName(name)] = code
}

// Asked returns how many questions for a name have come. A look-up of addresses asks two.
func (z *Zone) Asked(name string) int {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.asked[dns.CanonicalName(name)]
}

// answer answers one query. The order of records changes with each.
func (z *Zone) answer(w dns.ResponseWriter, query *dns.Msg) {
	reply := new(dns.Msg).SetReply(query)
	reply.RecursionAvailable = true // as the name servers of most machines; without it, no records mean that another knows
	q := query.Question[0]
	name := strings.ToLower(q.Name)
	z.mu.Lock()
	z.asked[name]++
	records, known := z.records[name]
	code, broken := z.broken[name]
	if old, fails := z.old[name]; fails && q.Qtype == dns.TypeAAAA {
		code, broken = old, true
	}
	if len(records) > 1 {
		z.records[name] = append(slices.Clone(records[1:]), records[0])
	}
	z.mu.Unlock()
	switch {
	case broken && code == NoAnswer:
		return
	case broken:
		reply.Rcode = code
	case !known:
		reply.Rcode = dns.RcodeNameError
	default:
		for _, r := range records {
			if r.Header().Rrtype == q.Qtype {
				reply.Answer = append(reply.Answer, r)
			}
		}
	}
	if w.LocalAddr().Network() == "udp" {
		reply.Truncate(dns.MinMsgSize)
	}
	_ = w.WriteMsg(reply) // one that has gone asks again
}
