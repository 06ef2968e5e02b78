package upstream

import (
	"fmt"
	"slices"
	"time"

	"gopkg.in/yaml.v3"

	"loadbalancer/healthz"
	"loadbalancer/proxy/balance"
)

// PoolConfig is one entry of the pools section of the configuration file. Start from
// DefaultPoolConfig: the zero value is not valid.
type PoolConfig struct {
	Balance  balance.Policy  `yaml:"balance"`
	Hash     HashKey         `yaml:"hash"` // what balance.Hash goes by, and no other policy
	Sticky   StickyConfig    `yaml:"sticky"`
	Host     Host            `yaml:"host"`
	Backends []BackendConfig `yaml:"backends"` // at least one
	TLS      TLSConfig       `yaml:"tls"`      // towards backends of https://
	// Resolve is how often the names in the URLs of backends are looked up, give or take 10 %;
	// 100ms to 24h.
	Resolve  time.Duration `yaml:"resolve"`
	Timeouts TimeoutConfig `yaml:"timeouts"`
	// MaxResponseHeader bounds each header of a response, interim ones among them; 1KiB to 1MiB.
	MaxResponseHeader Size `yaml:"max_response_header"`
	// RequestBuffer is the length of the longest request body that is read before a backend is
	// asked, if it is known; 0 to 16MiB. Bodies up to 16KiB always are.
	RequestBuffer Size `yaml:"request_buffer"`
	// ResponseBuffer is how far ahead of a slow client a response is read, so that its backend is
	// free; 0 to 16MiB.
	ResponseBuffer Size             `yaml:"response_buffer"`
	Queue          QueueConfig      `yaml:"queue"`
	Retry          RetryConfig      `yaml:"retry"`
	Health         healthz.Config   `yaml:"health"`
	Ejection       healthz.Ejection `yaml:"ejection"`
	// SlowStart is how long a backend that comes back takes to its whole share; 0 means 10s, up to
	// 1h.
	SlowStart time.Duration `yaml:"slow_start"`
}

// QueueConfig bounds the queue of a pool.
type QueueConfig struct {
	Size    int           `yaml:"size"`    // requests that may wait; 0: none, up to 1,000,000
	Timeout time.Duration `yaml:"timeout"` // the longest wait of a request, 1ms to 1h
}

// RetryConfig says which requests may be retried, and how often.
type RetryConfig struct {
	Attempts       int  `yaml:"attempts"`        // attempts in all, each at another backend as long as there is one; 1 to 16
	IdempotencyKey bool `yaml:"idempotency_key"` // a request with an Idempotency-Key is idempotent, whatever its method
	// Statuses are those of responses that count as a failed attempt where the request may be
	// repeated; 400 to 599.
	Statuses []int `yaml:"statuses"`
	Timeouts bool  `yaml:"timeouts"` // a request whose response is late may be repeated
}

// DefaultPoolConfig returns the values of keys that a pool's section leaves out.
func DefaultPoolConfig() PoolConfig {
	return PoolConfig{
		Host:              HostPreserve,
		Resolve:           10 * time.Second,
		Timeouts:          TimeoutConfig{Connect: 2 * time.Second, ResponseHeader: 30 * time.Second, Idle: time.Minute, Tunnel: time.Hour},
		MaxResponseHeader: 64 << 10,
		RequestBuffer:     64 << 10,
		ResponseBuffer:    64 << 10,
		Queue:             QueueConfig{Timeout: time.Second},
		Retry:             RetryConfig{Attempts: 3},
		Health:            healthz.DefaultConfig(),
		Ejection:          healthz.DefaultEjection(),
	}
}

// questions returns what has to be looked up for the backends.
func (c *PoolConfig) questions() (all []question) {
	for _, b := range c.Backends {
		if b.URL.lookup != (question{}) {
			all = append(all, b.URL.lookup)
		}
	}
	return all
}

// ramp returns how long a backend takes to its whole share once it is back.
func (c *PoolConfig) ramp() time.Duration {
	if c.SlowStart > 0 {
		return c.SlowStart
	}
	return defaultRamp
}

// UnmarshalYAML sets a pool's defaults before it decodes it.
func (c *PoolConfig) UnmarshalYAML(n *yaml.Node) error {
	type plain PoolConfig
	*c = DefaultPoolConfig()
	return n.Decode((*plain)(c))
}

// MaxTried is the most attempts that Tried holds, those among them that full backends did not take,
// and so the most that the config allows.
const MaxTried = 16

// Bounds of the config.
const (
	maxWeight  = 1000
	maxQueue   = 1_000_000
	minResolve = 100 * time.Millisecond // a shorter one would flood the name servers
	maxResolve = 24 * time.Hour
)

// Validate calls wrong once for each fault, with its path below the pool.
func (c PoolConfig) Validate(wrong func(path string, value any, allowed string)) {
	c.Hash.validate(c.Balance, wrong)
	c.Sticky.validate(func(path string, value any, allowed string) { wrong("sticky."+path, value, allowed) })
	validateBackends(c.Backends, wrong)
	c.TLS.validate(slices.ContainsFunc(c.Backends, BackendConfig.isSecure), wrong)
	if c.Resolve < minResolve || c.Resolve > maxResolve {
		wrong("resolve", c.Resolve, "a time from 100ms to 24h, such as 10s")
	}
	c.Timeouts.validate(func(path string, value any, allowed string) { wrong("timeouts."+path, value, allowed) })
	if c.MaxResponseHeader < 1<<10 || c.MaxResponseHeader > 1<<20 {
		wrong("max_response_header", c.MaxResponseHeader, "a size from 1KiB to 1MiB")
	}
	if c.RequestBuffer < 0 || c.RequestBuffer > 16<<20 {
		wrong("request_buffer", c.RequestBuffer, "a size up to 16MiB, such as 64KiB")
	}
	if c.ResponseBuffer < 0 || c.ResponseBuffer > 16<<20 {
		wrong("response_buffer", c.ResponseBuffer, "a size up to 16MiB, such as 64KiB")
	}
	c.Queue.validate(func(path string, value any, allowed string) { wrong("queue."+path, value, allowed) })
	if c.Retry.Attempts < 1 || c.Retry.Attempts > MaxTried {
		wrong("retry.attempts", c.Retry.Attempts, fmt.Sprintf("a whole number from 1 to %d", MaxTried))
	}
	for i, status := range c.Retry.Statuses {
		if status < 400 || status > 599 {
			wrong(fmt.Sprintf("retry.statuses[%d]", i), status, "a status from 400 to 599, such as 503")
		}
	}
	if c.Health.GRPC != "" && slices.ContainsFunc(c.Backends, BackendConfig.speaksHTTP1) {
		wrong("health.grpc", c.Health.GRPC, `"" unless every backend speaks HTTP/2, with protocol: h2 or h2c://`)
	}
	c.Health.Validate(func(path string, value any, allowed string) { wrong("health."+path, value, allowed) })
	if c.SlowStart < 0 || c.SlowStart > time.Hour {
		wrong("slow_start", c.SlowStart, "a time up to 1h, such as 30s, or 0s for 10s")
	}
	c.Ejection.Validate(func(path string, value any, allowed string) { wrong("ejection."+path, value, allowed) })
}

func (c QueueConfig) validate(wrong func(path string, value any, allowed string)) {
	if c.Size < 0 || c.Size > maxQueue {
		wrong("size", c.Size, fmt.Sprintf("a number of requests up to %d, or 0 for no queue", maxQueue))
	}
	if c.Timeout < time.Millisecond || c.Timeout > time.Hour {
		wrong("timeout", c.Timeout, "a time from 1ms to 1h, such as 5s")
	}
}

// Warn calls warn for what is valid and yet dangerous, with its path below the pool.
func (c *PoolConfig) Warn(warn func(path, words string)) {
	if c.TLS.InsecureSkipVerify {
		warn("tls.insecure_skip_verify", "the certificates of backends are not verified: anything on the way can read and change what is sent")
	}
}
