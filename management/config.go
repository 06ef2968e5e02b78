// Package management is what an operator asks of the balancer: the API, who may use it, the metrics
// and the state of health. It answers the management listener, and the API on the proxy's listener
// where the config says so.
//
// No call reaches a handler of the API past the check of access, on either listener, except that
// the management listener shows the API's description to all. A handler that panics ends one call.
//
// The package knows nothing of how requests are proxied or limited, or of how clients are stored:
// it asks the proxy and the limiter for their figures, and routes calls to package clients.
package management

import (
	"fmt"
	"net"

	"github.com/rs/zerolog"

	"loadbalancer/proxy/listen"
)

// Config is the section management.
type Config struct {
	Listen     listen.Address `yaml:"listen"` // the zero value turns the listener off
	APIOnProxy bool           `yaml:"api_on_proxy"`
	Token      plainToken     `yaml:"token"` // has all rights; "": there is none
	Tokens     TokenConfigs   `yaml:"tokens"`
	Hosts      []Host         `yaml:"hosts"` // names that the pages answer to, beside addresses and localhost
}

// DefaultConfig listens on port 8081 of 127.0.0.1 and has no token.
func DefaultConfig() Config {
	loopback, _ := listen.ParseAddress("127.0.0.1:8081") // is an address
	return Config{Listen: loopback}
}

// Validate calls wrong once for each fault, with its path below management.
func (c Config) Validate(wrong func(path string, value any, allowed string)) {
	c.Tokens.validate(wrong)
	for i, h := range c.Hosts {
		if h == "" {
			wrong(fmt.Sprintf("hosts[%d]", i), "", "a host name without port, such as lb.internal")
		}
	}
}

// socketMode is that of management.listen: a peer on a unix socket has all rights without a token.
const socketMode listen.Mode = 0o600

// Open opens the listener. It returns nil where the config turns it off.
func (c Config) Open(log zerolog.Logger) (net.Listener, error) {
	if c.Listen.IsZero() {
		return nil, nil
	}
	return listen.Open("management.listen", c.Listen, socketMode, log)
}

// Warn logs what of the config makes the API easier to reach than it may seem. fronts are the addresses
// of the listeners of clients.
func (c Config) Warn(log zerolog.Logger, fronts ...net.Addr) {
	c.warnOfShortTokens(log)
	for _, front := range fronts {
		tcp, ok := front.(*net.TCPAddr)
		if c.APIOnProxy && len(c.credentials()) == 0 && ok && tcp.Port != 0 && !tcp.IP.IsLoopback() {
			log.Warn().Str("listen", front.String()).Msg("management.api_on_proxy answers the API on a listener of clients without a token: " +
				"behind a forwarder on this machine that adds no field, callers elsewhere can use it; set management.token, or api_on_proxy to false")
		}
	}
}
