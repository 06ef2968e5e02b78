package proxy

import (
	"loadbalancer/limiter"
	"loadbalancer/proxy/message"
)

// appendFields appends the fields that tell the client of its limit.
func (a *admission) appendFields(dst []byte) []byte {
	if a.told {
		return a.fields.Append(dst, a.decision)
	}
	return dst
}

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
