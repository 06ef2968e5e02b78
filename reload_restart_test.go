package main

import "testing"

func TestNeedRestart(t *testing.T) {
	const pools = "pools: {main: {backends: [{url: http://127.0.0.1:8100}]}}\n"
	const bare = pools + "limiter: {enabled: false}\nmanagement: {listen: ''}\n"
	const held = pools + "server: {listen: 127.0.0.1:18100}\nmanagement: {listen: 127.0.0.1:18101}\n"
	const store = " needs the client store, which is opened at the start alone"
	const inUse = " is an address that this process listens on"
	const rest = ": this change needs a restart; undo it, or restart"
	for _, test := range []struct{ name, before, after, want string }{
		{"nothing", held, held, ""},
		{"another weight", pools, "pools: {main: {backends: [{url: http://127.0.0.1:8100, weight: 2}]}}\n", ""},
		{"a size", pools, pools + "server:\n  max_header_size: 32768\n", "lb.yaml:3: server.max_header_size: 16KiB → 32KiB" + rest},
		{"a size that is gone", pools + "server: {max_header_size: 1025}\n", pools, "lb.yaml:1: server.max_header_size: 1025 → 16KiB" + rest},
		{"a key that is gone", pools + "server:\n  listen: :1\n  unix_mode: '0600'\n", pools + "server:\n  listen: :1\n", "lb.yaml:2: server.unix_mode: 0600 → 0666" + rest},
		{"the snapshot and the audit", pools, pools + "clients:\n  snapshot: ''\n  audit: {max_count: 0}\n",
			"lb.yaml:3: clients.snapshot: clients.snapshot → \"\"" + rest + "\nlb.yaml:4: clients.audit.max_count: 100000 → 0" + rest},
		{"a central state", pools, pools + "limiter:\n  share: redis://:hidden@valkey\n  share_wait: 10ms\n", "lb.yaml:3: limiter.share: changed" + rest},
		{"a central state that is gone", pools + "limiter: {share: redis://:hidden@valkey}\n", pools, "lb.yaml:1: limiter.share: changed" + rest},
		{"another wait for the central state", pools, pools + "limiter: {share_wait: 10ms}\n", ""},
		{"limits where there were none", bare, pools + "limiter: {enabled: true}\nmanagement: {listen: ''}\n", "lb.yaml:2: limiter.enabled: false → true" + store + rest},
		{"management where there was none", bare, pools + "limiter: {enabled: false}\nmanagement: {listen: ':18101'}\n", `lb.yaml:3: management.listen: "" → :18101` + store + rest},
		{"another address", held, pools + "server: {listen: 127.0.0.1:18102}\nmanagement: {listen: 127.0.0.1:18101}\n", ""},
		{"two addresses, in the order of the file", held, pools + "management: {listen: 127.0.0.1:18100}\nserver: {listen: ':18101'}\n",
			"lb.yaml:2: management.listen: 127.0.0.1:18101 → 127.0.0.1:18100" + inUse + rest + "\nlb.yaml:3: server.listen: 127.0.0.1:18100 → :18101" + inUse + rest},
	} {
		before, _, err := parseDocument("lb.yaml", []byte(test.before), environment(nil))
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		after, document, err := parseDocument("lb.yaml", []byte(test.after), environment(nil))
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		got := ""
		if err := needRestart(document, before, after, compare(before, after), before.needsClients()); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s: got\n%s\nwant\n%s", test.name, got, test.want)
		}
	}
}
