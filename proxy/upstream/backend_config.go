package upstream

import (
	"errors"
	"fmt"
	"math"

	"gopkg.in/yaml.v3"
)

// BackendConfig is one backend of a pool or, where its URL has a name, one at each address that the
// name leads to.
type BackendConfig struct {
	URL URL `yaml:"url"`
	// Protocol is what is spoken with the backend: in the clear without asking, by TLS if it agrees
	// (ALPN). A URL of h2c:// says ProtocolHTTP2 whatever this says.
	Protocol       Protocol `yaml:"protocol"`
	Weight         int      `yaml:"weight"`          // of each address, times that of its SRV record; 0: no new requests; clients that are kept there stay
	Backup         bool     `yaml:"backup"`          // takes requests while no other backend does
	MaxConnections int      `yaml:"max_connections"` // to each address; 0 means no limit
	MaxPending     int      `yaml:"max_pending"`     // requests that may wait for a response's header at once; 0 means no limit
}

// Protocol is what is spoken with a backend. "" is ProtocolHTTP1.
type Protocol string

// The protocols.
const (
	ProtocolHTTP1 Protocol = "http1"
	ProtocolHTTP2 Protocol = "h2"
)

// UnmarshalText reads a Protocol. Its error says what is allowed.
func (p *Protocol) UnmarshalText(text []byte) error {
	switch *p = Protocol(text); *p {
	case ProtocolHTTP1, ProtocolHTTP2:
		return nil
	}
	return errors.New("one of http1, h2")
}

// UnmarshalYAML sets a backend's defaults before it decodes it.
func (c *BackendConfig) UnmarshalYAML(n *yaml.Node) error {
	type plain BackendConfig
	*c = BackendConfig{Protocol: ProtocolHTTP1, Weight: 1}
	return n.Decode((*plain)(c))
}

// isSecure reports whether the backend speaks TLS.
func (c BackendConfig) isSecure() bool { return c.URL.IsSecure() }

// speaksHTTP1 reports whether the backend is sent requests of HTTP/1.
func (c BackendConfig) speaksHTTP1() bool { return !c.URL.http2 && c.Protocol != ProtocolHTTP2 }

// validateBackends calls wrong once for each fault of a pool's backends.
func validateBackends(backends []BackendConfig, wrong func(path string, value any, allowed string)) {
	if len(backends) == 0 {
		wrong("backends", "", "at least one backend, such as - url: http://127.0.0.1:8100")
	}
	seen := map[string]int{}
	for i, b := range backends {
		at := fmt.Sprintf("backends[%d].", i)
		if first, twice := seen[b.URL.Address()]; b.URL.IsZero() {
			wrong(at+"url", "", allowedURL)
		} else if twice {
			wrong(at+"url", b.URL.String(), fmt.Sprintf("each backend once; backends[%d] is the same", first))
		} else {
			seen[b.URL.Address()] = i
		}
		if allowed, ok := CheckWeight(b.Weight); !ok {
			wrong(at+"weight", b.Weight, allowed)
		}
		if b.MaxConnections < 0 || b.MaxConnections > math.MaxInt32 {
			wrong(at+"max_connections", b.MaxConnections, "a number of connections, or 0 for no limit")
		}
		if b.MaxPending < 0 || b.MaxPending > math.MaxInt32 {
			wrong(at+"max_pending", b.MaxPending, "a number of requests, or 0 for no limit")
		}
	}
}

// CheckWeight reports whether a backend may have this weight, and says which are allowed.
func CheckWeight(weight int) (allowed string, ok bool) {
	return fmt.Sprintf("a whole number from 0 to %d", maxWeight), weight >= 0 && weight <= maxWeight
}
