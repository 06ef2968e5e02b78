package main

import (
	"fmt"

	"loadbalancer/proxy"
	"loadbalancer/proxy/upstream"
	"loadbalancer/state"
)

// backendsSection is the section of the state that has what operators have set of backends by hand.
const backendsSection = "backends"

// byHand returns what the state has of that, and how it is kept there. A process that this one
// takes over from may have written it until it let go of the management listener.
func byHand(kept *state.File) (h proxy.ByHand, err error) {
	if err := kept.Refresh(); err != nil {
		return h, err
	}
	if _, err := kept.Get(backendsSection, &h.Before); err != nil {
		return h, err
	}
	for pool, backends := range h.Before {
		for url, s := range backends {
			if s.Weight == nil {
				continue
			}
			if allowed, ok := upstream.CheckWeight(s.Weight.Now); !ok {
				return h, fmt.Errorf("read the state: backends.%s: %s has the weight %d: use %s, or remove the file", pool, url, s.Weight.Now, allowed)
			}
		}
	}
	h.Keep = func(all proxy.Settings) error { return kept.Set(backendsSection, all) }
	return h, nil
}
