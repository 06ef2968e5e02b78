package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"loadbalancer/state"
)

// awayRedis refuses connections.
const awayRedis = "redis://lb:hidden@127.0.0.1:1"

// Without Redis an instance serves, and tells of it without the password. A reload takes another wait,
// but no other Redis.
func TestShareWithoutRedis(t *testing.T) {
	in := startInstance(t, testConfig(t, freeAddresses(t, 1), "limiter:\n  share: "+awayRedis+"\n  share_wait: 4ms\n"), "--demo")
	if a := call(t, "GET", in.proxy, ""); a.status != 200 {
		t.Errorf("a request gets %+v", a)
	}
	text := call(t, "GET", in.management+"/metrics", "").body
	for _, line := range []string{"lb_share_up 0", "lb_share_instances 1", "lb_share_waits_total 0", "lb_share_timeouts_total 0"} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("the metrics lack %s", line)
		}
	}
	if got, want := in.reload(t, "share_wait: 4ms", "share_wait: 9ms"), []string{"limiter.share_wait: 4ms → 9ms"}; !slices.Equal(got, want) {
		t.Errorf("changed %q, want %q", got, want)
	}
	in.edit(t, "lb:hidden@", "lb:hidden-too@")
	a := call(t, "POST", in.management+"/v1/api/reload", "")
	if a.status != 422 || !strings.Contains(a.body, "limiter.share: changed: this change needs a restart") {
		t.Errorf("another Redis: %+v", a)
	}
	if all := a.body + in.log.String(); strings.Contains(all, "hidden") {
		t.Errorf("the password is shown: %s", all)
	}
	in.stop(t)
	if all := in.log.String(); strings.Contains(all, "hidden") {
		t.Errorf("the password is shown: %s", all)
	}
}

// A limit is shared where there is a Redis, also by an instance whose limits are off until a reload.
func TestSharesLimits(t *testing.T) {
	const share, bare = smallest + "limiter: {share: redis://valkey:6379", "management: {listen: ''}\n"
	for text, want := range map[string]bool{
		smallest:                             false,
		share + "}\n":                        true,
		share + ", enabled: false}\n":        true,
		share + "}\n" + bare:                 true,
		share + ", enabled: false}\n" + bare: false,
	} {
		c, err := parseConfig("lb.yaml", []byte(text), environment(nil))
		if err != nil {
			t.Fatal(err)
		}
		if c.sharesLimits() != want {
			t.Errorf("%s: got %v", text, !want)
		}
	}
}

// A start without Redis grants the part of one of as many instances as there were last.
func TestShareAssumesTheLastInstances(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lb.state")
	kept, err := state.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := kept.Set(shareSection, shareState{Instances: 4}); err != nil {
		t.Fatal(err)
	}
	in := startInstance(t, testConfig(t, freeAddresses(t, 1), "server:\n  listen: 127.0.0.1:0\n  state: "+path+"\n",
		"limiter:\n  share: "+awayRedis+"\n  default: {capacity: 100, rate_per_second: 0.001}\n"), "--demo")
	if !strings.Contains(call(t, "GET", in.management+"/metrics", "").body, "\nlb_share_instances 4\n") {
		t.Error("the metrics do not say that there are 4 instances")
	}
	passed := 0
	for range 60 {
		if call(t, "GET", in.proxy, "").status == 200 {
			passed++
		}
	}
	if passed != 25 {
		t.Errorf("%d requests were let through, want 25", passed)
	}
}
