package routes

import (
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"loadbalancer/proxy/message"
	"loadbalancer/proxy/upstream"
)

// poolsOf returns pools of these names.
func poolsOf(names ...string) map[string]*upstream.Pool {
	pools := map[string]*upstream.Pool{}
	for _, name := range names {
		pools[name] = upstream.NewPool(name, upstream.DefaultPoolConfig(), zerolog.Nop())
	}
	return pools
}

// tableOf returns the table of configs, which must be valid. Their pools are made.
func tableOf(t testing.TB, configs ...Config) *Table {
	t.Helper()
	var names []string
	for _, c := range configs {
		names = append(names, c.Pool)
		for _, s := range c.Split {
			names = append(names, s.Pool)
		}
	}
	Validate(configs, names, &message.Own{}, func(path string, value any, allowed string) {
		t.Errorf("%s: %v is invalid: use %s", path, value, allowed)
	})
	return New(configs, poolsOf(names...))
}

// requestOf returns a request as the guard passes it. It skips the guard: over the wire some hosts
// and targets would be refused, and cover a match that is wrong.
func requestOf(method, host, target string, fields ...string) *message.Request {
	return &message.Request{
		Method: []byte(method), Authority: []byte(host), Target: []byte(target),
		Header: []byte(strings.Join(append(fields, ""), "\r\n")),
	}
}

// found returns the pool of a request; "404" for none, and "400" for a path that is refused.
func found(t *Table, r *message.Request) string {
	var m Match
	switch err := t.Find(r, &m); {
	case err != nil:
		return "400"
	case m.Route == nil:
		return "404"
	}
	return m.Route.Pool(0).Name()
}
