package proxy

import (
	"fmt"
	"math"
	"time"

	"loadbalancer/proxy/http1"
	"loadbalancer/proxy/http2"
	"loadbalancer/proxy/message"
	"loadbalancer/proxy/upstream"
)

// ServerConfig is the server section without its listener.
type ServerConfig struct {
	ReadHeaderTimeout time.Duration `yaml:"read_header_timeout"`
	BodyTimeout       time.Duration `yaml:"body_timeout"`
	IdleTimeout       time.Duration `yaml:"idle_timeout"`
	MaxHeaderSize     Size          `yaml:"max_header_size"`

	// MaxBodySize bounds the data of a request's body; 0 means no limit. Chunk extensions and
	// trailers have bounds of their own.
	MaxBodySize Size `yaml:"max_body_size"`

	Protocols `yaml:",inline"`

	Share `yaml:",inline"`

	TrustedProxies []Prefix `yaml:"trusted_proxies"`
	// ClientIPHeader names the field in which trusted proxies give the client's address.
	ClientIPHeader message.ClientIPHeader `yaml:"client_ip_header"`

	Via message.ViaName `yaml:"via"` // "": no Via is added
	// EarlyHints forwards interim responses of backends, such as 103, to HTTP/1.1 clients.
	EarlyHints bool `yaml:"early_hints"`

	Shutdown `yaml:",inline"`
}

// Protocols are what is spoken on connections of clients, beside HTTP/1.
type Protocols struct {
	// ProxyProtocol makes trusted proxies begin with a PROXY header; it needs at least one.
	ProxyProtocol bool `yaml:"proxy_protocol"`
	// HTTP2 offers HTTP/2 to clients that speak TLS.
	HTTP2 bool `yaml:"http2"`
	// H2C serves HTTP/2 in the clear to clients that begin with it, without having asked.
	H2C bool `yaml:"h2c"`
}

// Share is what clients, all together, may take of the machine.
type Share struct {
	// MaxConnections bounds the open connections of clients; 0 means no limit.
	MaxConnections int `yaml:"max_connections"`
	// Buffers bounds the memory of the bodies that pools buffer: see
	// upstream.PoolConfig.RequestBuffer. Where it is spent, bodies are streamed. 0 to 1TiB.
	Buffers Size `yaml:"buffers"`
}

// Shutdown says how a process ends.
type Shutdown struct {
	// ShutdownDelay is how long a process that was told to end goes on accepting connections while
	// it says that it is not ready; 0s to 1h.
	ShutdownDelay time.Duration `yaml:"shutdown_delay"`
	// ShutdownTimeout is what the requests under way get to end.
	ShutdownTimeout time.Duration `yaml:"shutdown_timeout"`
}

// DefaultServerConfig returns the values of a file without a server section.
func DefaultServerConfig() ServerConfig {
	return ServerConfig{
		ReadHeaderTimeout: 10 * time.Second,
		BodyTimeout:       30 * time.Second,
		IdleTimeout:       75 * time.Second,
		MaxHeaderSize:     16 << 10,
		Protocols:         Protocols{HTTP2: true},
		Share:             Share{Buffers: 256 << 20},
		ClientIPHeader:    "X-Forwarded-For",
		Shutdown:          Shutdown{ShutdownTimeout: 30 * time.Second},
	}
}

// OwnFields returns the fields of requests that the balancer writes itself. certificates says that
// clients of TLS have to show theirs.
func (c ServerConfig) OwnFields(certificates bool) message.Own {
	return message.Own{ClientField: NewTrust(c).field, Subject: certificates}
}

// bounds returns those of the connections.
func (c ServerConfig) bounds() http1.Bounds {
	return http1.Bounds{
		ReadHeaderTimeout: c.ReadHeaderTimeout,
		IdleTimeout:       c.IdleTimeout,
		ShutdownDelay:     c.ShutdownDelay,
		ShutdownTimeout:   c.ShutdownTimeout,
		MaxConnections:    c.MaxConnections,
		H2C:               c.H2C,
		Buffers:           int64(c.Buffers),
	}
}

// boundsOfHTTP2 returns those of the connections whose clients speak HTTP/2.
func (c ServerConfig) boundsOfHTTP2() http2.Bounds {
	return http2.Bounds{ReadHeaderTimeout: c.ReadHeaderTimeout, IdleTimeout: c.IdleTimeout, BodyTimeout: c.BodyTimeout}
}

const maxShutdownDelay = time.Hour

// Validate calls wrong once for each fault, with its path below server.
func (c ServerConfig) Validate(wrong func(path string, value any, allowed string)) {
	checkTimeout(wrong, "read_header_timeout", c.ReadHeaderTimeout)
	checkTimeout(wrong, "body_timeout", c.BodyTimeout)
	checkTimeout(wrong, "idle_timeout", c.IdleTimeout)
	checkTimeout(wrong, "shutdown_timeout", c.ShutdownTimeout)
	if c.ShutdownDelay < 0 || c.ShutdownDelay > maxShutdownDelay {
		wrong("shutdown_delay", c.ShutdownDelay, "a time from 0s to 1h, such as 5s")
	}
	if c.MaxHeaderSize < 1<<10 || c.MaxHeaderSize > 1<<20 {
		wrong("max_header_size", c.MaxHeaderSize, "a size from 1KiB to 1MiB")
	}
	if c.MaxBodySize < 0 {
		wrong("max_body_size", c.MaxBodySize, "a size, or 0 for no limit")
	}
	if c.MaxConnections < 0 || c.MaxConnections > math.MaxInt32 {
		wrong("max_connections", c.MaxConnections, "a number of connections, or 0 for no limit")
	}
	if c.Buffers > 1<<40 {
		wrong("buffers", c.Buffers, "a size up to 1TiB, such as 256MiB")
	}
	for i, p := range c.TrustedProxies {
		if !p.IsValid() {
			wrong(fmt.Sprintf("trusted_proxies[%d]", i), "", allowedPrefix)
		}
	}
	if c.ProxyProtocol && len(c.TrustedProxies) == 0 {
		wrong("proxy_protocol", c.ProxyProtocol, "false, or list the proxies that send the PROXY header in server.trusted_proxies")
	}
}

// Size is a number of bytes.
type Size = upstream.Size

// checkTimeout rejects values that make no useful timeout, among them a bare number, which YAML
// reads as nanoseconds.
func checkTimeout(wrong func(path string, value any, allowed string), path string, d time.Duration) {
	if d < time.Millisecond || d > 24*time.Hour {
		wrong(path, d, "a time from 1ms to 24h, such as 250ms or 30s")
	}
}
