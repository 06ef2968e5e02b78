package proxy

import (
	"loadbalancer/limiter"
	"loadbalancer/proxy/http1"
	"loadbalancer/proxy/message"
)

// settings are what the config says about requests. They are immutable: a request keeps those that
// it began with. What outlives them, such as connections, pools and counters, is the Proxy's.
type settings struct {
	limits        http1.Limits
	trust         *Trust
	proxyProtocol bool // trusted peers begin with a PROXY header
	routes        routes
	exempt        exemptions
	limitFields   limiter.Fields
	via           message.Via
	earlyHints    bool // forward interim responses
}

// newSettings returns the settings of valid configs. keyField is the name of the API key field, in
// lower case, or "".
func newSettings(c ServerConfig, exempt ExemptConfig, keyField string, limitFields limiter.Fields, all routes) *settings {
	trust := NewTrust(c)
	return &settings{
		limits: http1.Limits{
			Rules:       message.Rules{KeyField: keyField, ClientField: trust.field, MaxBody: int64(c.MaxBodySize)},
			BodyTimeout: c.BodyTimeout,
		},
		trust:         trust,
		proxyProtocol: c.ProxyProtocol,
		routes:        all,
		exempt:        newExemptions(exempt),
		limitFields:   limitFields,
		via:           message.NewVia(c.Via),
		earlyHints:    c.EarlyHints,
	}
}
