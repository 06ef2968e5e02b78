package main

import (
	"slices"
	"strings"
	"testing"
)

// TestCompare wants one line for each key that differs, in words that a person would use, and no
// value of a secret.
func TestCompare(t *testing.T) {
	const base = `
pools:
  main:
    backends:
      - {url: "http://127.0.0.1:8100"}
      - {url: "http://127.0.0.1:8101"}
`
	const two = base + "  b: {backends: [{url: \"http://127.0.0.1:8102\"}]}\n"
	for _, test := range []struct {
		name, before, after string
		want                []string
	}{
		{"nothing", base, base, nil},
		{"a comment, an order of keys, a default", base, "# other\nserver: {body_timeout: 30s, trusted_proxies: []}\nroutes: []\n" + base, nil},
		{"backends", base, strings.Replace(base, "- {url: \"http://127.0.0.1:8100\"}", "- {url: \"unix:/run/b\"}", 1) + "        # c\n",
			[]string{"pools.main.backends: + unix:/run/b; - http://127.0.0.1:8100"}},
		{"weights and bounds", base, strings.Replace(base, ":8101\"}", ":8101\", weight: 3, max_connections: 5}", 1),
			[]string{"pools.main.backends: 127.0.0.1:8101 weight 1 → 3; 127.0.0.1:8101 max_connections 0 → 5"}},
		{"the order of backends", base, "\npools: {main: {backends: [{url: \"http://127.0.0.1:8101\"}, {url: \"http://127.0.0.1:8100\"}]}}\n",
			[]string{"pools.main.backends: in another order"}},
		{"a pool's settings", base, base + "    balance: ip_hash\n    timeouts: {connect: 1s}\n    retry: {idempotency_key: true}\n    health: {path: /up}\n",
			[]string{"pools.main.balance: round_robin → ip_hash", "pools.main.timeouts.connect: 2s → 1s", "pools.main.retry.idempotency_key: false → true", `pools.main.health.path: "" → /up`}},
		{"connections and retries", base + "    retry: {statuses: [502, 503]}\n", "limiter: {default: {max_in_flight: 9}}\n" + strings.Replace(base, ":8101\"}", ":8101\", max_pending: 5}", 1) +
			"    timeouts: {idle: 0s}\n    max_response_header: 16KiB\n    retry: {statuses: [503, 504], timeouts: true}\n",
			[]string{"pools.main.backends: 127.0.0.1:8101 max_pending 0 → 5", "pools.main.timeouts.idle: 1m0s → 0s", "pools.main.max_response_header: 64KiB → 16KiB",
				"pools.main.retry.statuses: + 504; - 502", "pools.main.retry.timeouts: false → true", "limiter.default.max_in_flight: 0 → 9"}},
		{"a check's request and answer", base, base + "    health: {path: /up, method: HEAD, host: shop.example, status: \"204, 200-202\", max_concurrent: 5}\n",
			[]string{`pools.main.health.path: "" → /up`, "pools.main.health.method: GET → HEAD", `pools.main.health.host: "" → shop.example`,
				"pools.main.health.status: 200-399 → 200-202,204", "pools.main.health.max_concurrent: 16 → 5"}},
		{"a check's text", base + "    health: {path: /up, status: 200, body: up}\n", base + "    health: {path: /up, status: \"200\", body: all up}\n",
			[]string{"pools.main.health.body: up → all up"}},
		{"server and limits", base, "server: {listen: \":9090\", max_body_size: 1MiB, trusted_proxies: [10.0.0.0/8, 192.0.2.1], via: lb}\nlimiter: {default: {capacity: 5, shadow: true}, exempt: {paths: [/up]}}\n" + base,
			[]string{"server.max_body_size: 0 → 1MiB", "server.trusted_proxies: + 10.0.0.0/8; + 192.0.2.1/32", `server.via: "" → lb`, "server.listen: :8080 → :9090",
				"limiter.default.capacity: 100 → 5", "limiter.default.shadow: false → true", "limiter.exempt.paths: + /up"}},
		{"secrets", base, "management: {token: hidden-hidden-hidden, tokens: [{name: a, role: read, token: hidden-hidden-hidden}]}\nclients: {store: \"postgres://user:hidden@db/x\"}\nlimiter: {share: \"redis://:hidden@valkey\", share_wait: 10ms}\n" + base,
			[]string{"management.token: changed", "management.tokens: changed", "limiter.share: changed", "limiter.share_wait: 5ms → 10ms", "clients.store: changed"}},
		{"a route's parts", "routes: [{path: /a, pool: main}]\n" + base,
			"routes: [{path: /a, methods: [GET, HEAD], headers: {X-B: \"1\", X-A: a}, pool: main, strip_prefix: /a, request_headers: {set: {Authorization: hidden, X-C: \"2\"}, remove: [X-D]}}]\n" + base,
			[]string{"routes: + {path: /a, methods: [GET, HEAD], headers: {X-A: a, X-B: 1}, pool: main, strip_prefix: /a, request_headers: {set: {Authorization: …, X-C: 2}, remove: [X-D]}}; - {path: /a, pool: main}"}},
		{"a split", "routes: [{pool: main, split: [{pool: b, percent: 5}]}]\n" + two, "routes: [{pool: main, split: [{pool: b, percent: 7.5}]}]\n" + two,
			[]string{"routes: + {pool: main, split: [{pool: b, percent: 7.5}]}; - {pool: main, split: [{pool: b, percent: 5}]}"}},
		{"a secret of a route", "routes: [{pool: main, request_headers: {set: {X-Api-Key: hidden}}}]\n" + base, "routes: [{pool: main, request_headers: {set: {X-Api-Key: hidden too}}}]\n" + base,
			[]string{"routes: a value that is not shown has changed"}},
		{"the order of routes", "routes: [{pool: main}, {path: /a, pool: main}]\n" + base, "routes: [{path: /a, pool: main}, {pool: main}]\n" + base,
			[]string{"routes: in another order"}},
		{"the Host of a pool", base, base + "    host: api.internal\n", []string{"pools.main.host: preserve → api.internal"}},
		{"routes", base, "routes: [{host: a.example, path: /v2/, pool: main}]\n" + base, []string{"routes: + {host: a.example, path: /v2/, pool: main}"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			parse := func(text string) config {
				t.Helper()
				c, err := parseConfig("lb.yaml", []byte(text), environment(nil))
				if err != nil {
					t.Fatal(err)
				}
				return c
			}
			var got []string
			for _, c := range compare(parse(test.before), parse(test.after)) {
				got = append(got, c.String())
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
			if all := strings.Join(got, "\n"); strings.Contains(all, "hidden") {
				t.Errorf("a secret is shown: %s", all)
			}
		})
	}
}
