package proxy

import (
	"loadbalancer/limiter"
	"loadbalancer/proxy/message"
)

// limitFields returns the fields that the limiter writes, which take the place of a backend's own.
func limitFields(f limiter.Fields) (own message.FieldSet) {
	if f.Standard() {
		own |= message.RateLimit
	}
	if f.Legacy() {
		own |= message.LegacyRateLimit
	}
	return own
}
