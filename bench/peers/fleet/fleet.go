package main

import (
	"net/netip"
	"slices"
	"time"

	"loadbalancer/limiter/shared"
)

// instances is how many limiters hold a limit together.
const instances = 3

// limit is so many tokens at once, and as many again in each period.
type limit struct {
	tokens int64
	period time.Duration
}

func (l limit) perSecond() float64 { return float64(l.tokens) / l.period.Seconds() }

// fleet is a limiter on each of several instances, which are to hold one limit for each client.
// take is safe for concurrent use. It fails where the limiter decides nothing.
type fleet interface {
	take(instance, client int) (granted bool, err error)
	close() error
}

// contender opens a fleet over a Redis server, with a limit for each client. Those with rules are
// simulated by them, and use no server.
type contender struct {
	name  string
	rules string // where they are published
	open  func(server string, limits []limit) (fleet, error)
}

// measurable are those whose costs can be measured.
func measurable() []contender {
	return slices.Concat([]contender{
		{name: "each instance alone", open: openAlone},
		{name: "this limiter, share_wait 1 s", open: sharedWith(time.Second)}, // no figure is one of waits that end too soon
	}, libraries())
}

// overloadable has this limiter also with the default of share_wait.
func overloadable() []contender {
	all := slices.Concat(measurable(), simulated())
	return slices.Insert(all, 2, contender{name: "this limiter, share_wait 5 ms", open: sharedWith(shared.DefaultConfig().Wait)})
}

// libraries need a server.
func libraries() []contender {
	return []contender{
		{name: "throttled/throttled", open: openThrottled},
		{name: "go-redis/redis_rate", open: openRedisRate},
		{name: "sethvargo/go-redisstore", open: openSethvargo},
	}
}

func simulated() []contender {
	const (
		kong = "https://docs.konghq.com/enterprise/references/rate-limiting/ and " +
			"https://developer.konghq.com/gateway/rate-limiting/window-types"
		gubernator = "docs/architecture.md, global.go and algorithms.go of https://github.com/gubernator-io/gubernator/tree/v2.21.0"
	)
	return []contender{
		{name: "Kong, sync_rate 1 s", rules: kong, open: kongWith(time.Second)},
		{name: "Kong, sync_rate 20 ms", rules: kong, open: kongWith(20 * time.Millisecond)},
		{name: "Gubernator, GLOBAL", rules: gubernator, open: openGubernator},
	}
}

// clientOf returns the address of the i-th client, after 10.0.0.0.
func clientOf(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}

// names are the keys of so many clients, made beforehand so that no limiter is charged for them.
func names(clients int) []string {
	all := make([]string, clients)
	for i := range all {
		all[i] = clientOf(i).String()
	}
	return all
}
