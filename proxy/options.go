package proxy

import (
	"github.com/rs/zerolog"

	"loadbalancer/limiter"
	"loadbalancer/proxy/routes"
	"loadbalancer/proxy/upstream"
)

// Options are the parts of a Proxy. The configs must be valid.
type Options struct {
	Server      ServerConfig
	Pools       map[string]upstream.PoolConfig
	Routes      []routes.Config
	Limiter     *limiter.Limiter // nil: no client is limited
	LimitFields limiter.Fields   // tell clients of their limit
	KeyField    string           // name of the field with the API key, in lower case; "": clients have none
	Exempt      ExemptConfig     // requests that take no token from Limiter
	API         *API             // nil: /v1/api/ is a path like any other
	Edge        Edge
	ByHand      ByHand // read by New alone
	Logging
}

// Logging is what is logged of requests, and where.
type Logging struct {
	Access Access
	Query  bool // the access log has the queries of targets
	Log    zerolog.Logger
}
