package proxy

import (
	"maps"
	"slices"

	"loadbalancer/limiter"
	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/message"
	"loadbalancer/proxy/routes"
	"loadbalancer/proxy/upstream"
)

// settings are what the config says about requests. They are immutable: a request keeps those that
// it began with. What outlives them, such as connections, pools and counters, is the Proxy's.
type settings struct {
	limits      ends.Limits
	trust       *Trust
	limiter     *limiter.Limiter // nil: no client is limited
	exempt      exemptions
	pools       []*upstream.Pool // sorted by name
	routes      *routes.Table
	limitFields limiter.Fields // tell clients of their limit
	via         message.Via
	earlyHints  bool // forward interim responses
	api         *API
	access      accessRules
	edge        Edge
}

// newSettings returns the settings of valid options.
func newSettings(o Options, pools map[string]*upstream.Pool) *settings {
	s := &settings{
		trust:       NewTrust(o.Server),
		limiter:     o.Limiter,
		limitFields: o.LimitFields,
		exempt:      newExemptions(o.Exempt),
		routes:      routes.New(o.Routes, pools),
		via:         message.NewVia(o.Server.Via),
		earlyHints:  o.Server.EarlyHints,
		api:         o.API,
		access:      accessRules{o.Access, o.Query},
		edge:        o.Edge,
	}
	for _, name := range slices.Sorted(maps.Keys(pools)) {
		s.pools = append(s.pools, pools[name])
	}
	s.limits = ends.Limits{
		Rules:       message.Rules{Own: o.Server.OwnFields(o.Edge.ClientCerts), KeyField: o.KeyField, MaxBody: int64(o.Server.MaxBodySize)},
		BodyTimeout: o.Server.BodyTimeout,
	}
	return s
}
