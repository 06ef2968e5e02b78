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

// Edge is what clients get from the listeners, before their requests go by any other setting.
type Edge struct {
	ClientCerts bool // those of TLS have to show certificates: server.tls.client_ca is set
	// Challenge returns the answer to a challenge of ACME by HTTP-01 (RFC 8555, section 8.3): the
	// key authorization of a token. host is in lower case, without port and brackets. It is called
	// concurrently. nil: there is none.
	Challenge func(host, token string) (keyAuthorization string, ok bool)
}

// Logging is what is logged of requests, and where.
type Logging struct {
	Access Access
	Query  bool // the access log has the queries of targets
	Log    zerolog.Logger
}
