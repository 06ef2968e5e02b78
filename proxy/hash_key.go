package proxy

import (
	"loadbalancer/proxy/balance"
	"loadbalancer/proxy/message"
	"loadbalancer/proxy/upstream"
)

// hashKey returns the key of a request that the pool's policy goes by. It stands for the client's
// address, also where the request has no field or cookie of the name, or an empty one: otherwise
// all such requests would go to one backend.
func hashKey(by upstream.HashKey, r *message.Request, c *caller) uint64 {
	var value []byte
	switch by.From {
	case upstream.HashHeader:
		value = r.Field(by.Name)
	case upstream.HashCookie:
		value = r.Cookie(by.Name)
	case upstream.HashPath:
		value = r.Path()
	}
	if len(value) == 0 {
		return c.key
	}
	return balance.StringKey(value)
}
