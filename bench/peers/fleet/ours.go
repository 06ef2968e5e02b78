package main

import (
	"fmt"
	"net/netip"
	"time"

	"loadbalancer/limiter"
)

// ours has this limiter on each instance.
type ours struct {
	nodes [instances]struct {
		limiter *limiter.Limiter
		clients []limiter.Client
	}
}

// openAlone shares nothing.
func openAlone(_ string, limits []limit) (fleet, error) {
	o := &ours{}
	for i := range o.nodes {
		lim, err := newLimiter()
		if err != nil {
			return nil, err
		}
		o.register(i, lim, limits)
	}
	return o, nil
}

func newLimiter() (*limiter.Limiter, error) {
	cfg := limiter.DefaultConfig()
	var err error
	cfg.Validate(func(path string, value any, allowed string) {
		err = fmt.Errorf("limiter.%s is %v, must be %s", path, value, allowed)
	})
	if err != nil {
		return nil, err
	}
	return limiter.New(cfg), nil
}

func (o *ours) register(instance int, lim *limiter.Limiter, limits []limit) {
	node := &o.nodes[instance]
	node.limiter = lim
	for client, l := range limits {
		addr := clientOf(client)
		lim.Set(limiter.Registration{
			ID:    limiter.ID{Prefix: netip.PrefixFrom(addr, addr.BitLen())},
			Terms: limiter.Terms{Limit: limiter.Limit{Capacity: l.tokens, RatePerSecond: l.perSecond()}},
		})
		node.clients = append(node.clients, lim.Identify(addr, nil))
	}
}

func (o *ours) take(instance, client int) (bool, error) {
	node := &o.nodes[instance]
	var d limiter.Decision
	node.limiter.Admit(node.clients[client], time.Now(), &d).Release()
	return d.Allowed, nil
}

func (o *ours) close() error { return nil }
