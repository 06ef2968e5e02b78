package upstream

import "time"

// TimeoutConfig holds a pool's timeouts, each from 1ms to 24h. Idle may also be 0.
type TimeoutConfig struct {
	Connect        time.Duration `yaml:"connect"`
	ResponseHeader time.Duration `yaml:"response_header"` // from the request's end to that of the response's header
	Idle           time.Duration `yaml:"idle"`            // how long an unused connection is kept; 0: it is closed after each response
	Tunnel         time.Duration `yaml:"tunnel"`          // longest pause after 101 Switching Protocols
}

// validate calls wrong once for each fault.
func (c TimeoutConfig) validate(wrong func(path string, value any, allowed string)) {
	checkTimeout(wrong, "connect", c.Connect)
	checkTimeout(wrong, "response_header", c.ResponseHeader)
	if c.Idle < 0 || c.Idle > 24*time.Hour || 0 < c.Idle && c.Idle < time.Millisecond {
		wrong("idle", c.Idle, "a time from 1ms to 24h, such as 5s, or 0s to close connections after each response")
	}
	checkTimeout(wrong, "tunnel", c.Tunnel)
}

// checkTimeout rejects values that make no useful timeout, among them a bare number, which YAML
// reads as nanoseconds.
func checkTimeout(wrong func(path string, value any, allowed string), path string, d time.Duration) {
	if d < time.Millisecond || d > 24*time.Hour {
		wrong(path, d, "a time from 1ms to 24h, such as 250ms or 30s")
	}
}
