package main

import (
	"strings"
	"testing"
)

// TestPagesAnswerToTheirHosts asks for the metrics under names that lead to the listener and under
// those of other sites, which a browser may be made to use. Probes are answered under any name.
func TestPagesAnswerToTheirHosts(t *testing.T) {
	in := startInstance(t, testConfig(t, freeAddresses(t, 1), "management:\n  listen: 127.0.0.1:0\n  hosts: [LB.internal., lb2]\n"), "--demo")
	for host, want := range map[string]int{
		"127.0.0.1": 200, "127.0.0.1:80": 200, "[::1]:8081": 200, "192.0.2.1": 200, "localhost:1": 200, "LOCALHOST.": 200, "lb.internal": 200, "lb.INTERNAL.:8081": 200, "lb2:80": 200,
		"evil.example": 421, "127.0.0.1.evil.example": 421, "lb.internal.evil.example": 421, "localhost.evil.example:80": 421, "lb": 421, "lb2x": 421,
	} {
		if a := call(t, "GET", in.management+"/metrics", "", "Host: "+host); a.status != want {
			t.Errorf("%s: got %d, want %d: %.100s", host, a.status, want, a.body)
		} else if want == 421 {
			requireProblem(t, host, a, 421)
		}
		if a := call(t, "GET", in.management+"/healthz", "", "Host: "+host); a.status != 200 {
			t.Errorf("/healthz of %s: got %d", host, a.status)
		}
	}
	if got := in.reload(t, "lb2]", "evil.example]"); strings.Join(got, "") != "management.hosts: + evil.example; - lb2" {
		t.Errorf("changed %q", got)
	}
	if a := call(t, "GET", in.management+"/metrics", "", "Host: evil.example"); a.status != 200 {
		t.Errorf("after the reload: got %d", a.status)
	}
}

// TestProfilesNeedAToken: nothing of the process's memory is shown without one.
func TestProfilesNeedAToken(t *testing.T) {
	const token = "a-token-of-24-characters"
	open := startInstance(t, testConfig(t, freeAddresses(t, 1)), "--demo")
	requireProblem(t, "without a token in the config", call(t, "GET", open.management+"/debug/pprof/heap", ""), 403)
	in := startInstance(t, testConfig(t, freeAddresses(t, 1), "management:\n  listen: 127.0.0.1:0\n  token: "+token+"\n"), "--demo")
	requireProblem(t, "without the token", call(t, "GET", in.management+"/debug/pprof/heap", ""), 401)
	requireProblem(t, "with another", call(t, "GET", in.management+"/debug/pprof/heap", "", "Authorization: Bearer x"), 401)
	for path, want := range map[string]string{"goroutine?debug=1": "goroutine profile: total ", "": "goroutine", "cmdline": "--path="} {
		if a := call(t, "GET", in.management+"/debug/pprof/"+path, "", "Authorization: Bearer "+token); a.status != 200 || !strings.Contains(a.body, want) && path != "cmdline" {
			t.Errorf("%s: got %d, %.200s", path, a.status, a.body)
		}
	}
	if a := call(t, "GET", in.proxy+"/debug/pprof/heap", "", "Authorization: Bearer "+token); !strings.HasPrefix(a.body, "backend ") {
		t.Errorf("the proxy's listener shows %.100s", a.body)
	}
}
