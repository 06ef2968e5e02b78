package proxy

import (
	"testing"

	"loadbalancer/proxy/message"
	"loadbalancer/proxy/upstream"
)

// routesOf returns the routes of a proxy with these options. They are asked directly: over the wire
// the guard would refuse some of the hosts and targets, and cover a match that is wrong.
func routesOf(o Options) routes { return New(o).settings.Load().routes }

func TestRoute(t *testing.T) {
	o := testOptions()
	o.Pools = map[string]upstream.PoolConfig{}
	for _, name := range []string{"any", "path", "long", "host", "host_path", "query", "dot"} {
		o.Pools[name] = upstream.DefaultPoolConfig()
	}
	o.Routes = []RouteConfig{ // the least specific first: their order does not count
		{Pool: "any"},
		{Path: "/v2/", Pool: "path"},
		{Path: "/v2/long/", Pool: "long"},
		{Host: "API.example.com", Pool: "host"},
		{Host: "api.example.com", Path: "/v2/", Pool: "host_path"},
		{Path: "/exact?q=", Pool: "query"},
		{Host: "Dot.example.", Pool: "dot"},
	}
	all := routesOf(o)
	for _, test := range []struct{ host, target, want string }{
		{"other.example", "/", "any"},
		{"", "/", "any"},
		{"other.example", "*", "any"},
		{"other.example", "/v2", "any"},
		{"other.example", "/V2/", "any"},
		{"other.example", "/v2/", "path"},
		{"other.example", "/v2/a?b", "path"},
		{"other.example", "/v2/long/er", "long"},
		{"other.example", "/exact?q=1", "query"},
		{"api.example.com", "/", "host"},
		{"Api.Example.COM:8080", "/v1/", "host"},
		{"api.example.com:", "/", "host"},
		{"api.example.com", "*", "host"},
		{"api.example.com", "/v2/long/er", "host_path"}, // a host counts more than a longer path
		{"api.example.com.", "/", "host"},
		{"API.example.com.:8080", "/v2/", "host_path"},
		{"api.example.com.:", "/", "host"},
		{"dot.example.", "/", "dot"},
		{"DOT.example", "/", "dot"},
		{"dot.example:80", "/", "dot"},
		{"api.example.com..", "/", "any"},
		{".", "/", "any"},
		{"dot.example.x", "/", "any"},
		{"other.example", "//v2/", "any"}, // the bytes as they were sent count
		{"api.example.com.evil.example", "/", "any"},
		{"api.example.comx", "/", "any"},
		{"xapi.example.com", "/", "any"},
		{"api.example.co", "/", "any"},
	} {
		request := &message.Request{Authority: []byte(test.host), Target: []byte(test.target)}
		if r := all.find(request); r == nil || r.pool.Name() != test.want {
			t.Errorf("%s%s: got %v, want pool %s", test.host, test.target, r, test.want)
		}
	}
}

func TestNoRoute(t *testing.T) {
	o := testOptions("http://127.0.0.1:1")
	o.Routes = []RouteConfig{{Host: "a", Path: "/b", Pool: "main"}}
	all := routesOf(o)
	for _, test := range []struct {
		host, target string
		want         bool
	}{{"a", "/b", true}, {"a", "/", false}, {"b", "/b", false}, {"", "/b", false}} {
		request := &message.Request{Authority: []byte(test.host), Target: []byte(test.target)}
		if r := all.find(request); (r != nil) != test.want {
			t.Errorf("%s%s: got %v, want one: %v", test.host, test.target, r, test.want)
		}
	}
}

// Without routes everything goes to the only pool.
func TestOnlyPool(t *testing.T) {
	request := &message.Request{Authority: []byte("a"), Target: []byte("*")}
	if r := routesOf(testOptions("http://127.0.0.1:1")).find(request); r == nil || r.pool.Name() != "main" {
		t.Errorf("got %v", r)
	}
}

func TestRouteHost(t *testing.T) {
	for _, host := range []string{"", "a", "A-1.example.", "192.0.2.1"} {
		if err := checkRouteHost(host); err != nil {
			t.Errorf("%q: %v", host, err)
		}
	}
	for _, host := range []string{".", "a..b", "bücher.example", "a b", "a:80", "*.a", "a/b", "[::1]"} {
		if err := checkRouteHost(host); err == nil {
			t.Errorf("a route may have the host %q", host)
		}
	}
}
