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
	Before Settings             // of the process before; those of pools and backends that are not there wait
	Keep   func(Settings) error // replaces what is kept; nil: nothing is
}

// before returns Before for the caller to change.
func (h *ByHand) before() Settings {
	if h.Before == nil {
		return Settings{}
	}
	return maps.Clone(h.Before)
}
