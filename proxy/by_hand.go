package proxy

import (
	"maps"

	"loadbalancer/proxy/upstream"
)

// Settings are what operators have set of backends by hand, by the names of pools and the URLs of
// backends.
type Settings map[string]map[string]upstream.Setting

// ByHand is how settings outlive the process.
type ByHand struct {
	Before Settings             // of the process before; Settings of unknown pools and backends wait for these
	Keep   func(Settings) error // keeps all; nil: they end with the process
}

// before returns Before for the caller to change.
func (h *ByHand) before() Settings {
	if h.Before == nil {
		return Settings{}
	}
	return maps.Clone(h.Before)
}
