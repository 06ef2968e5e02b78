package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"loadbalancer/proxy/upstream"
)

// policies returns the names of all policies, from the code's own list.
func policies(t *testing.T) []string {
	t.Helper()
	c := upstream.DefaultPoolConfig()
	err := yaml.Unmarshal([]byte("balance: none of them"), &c)
	_, names, found := strings.Cut(fmt.Sprint(err), "one of ")
	if !found {
		t.Fatalf("the error of an unknown policy lists none: %v", err)
	}
	return strings.Split(strings.TrimSpace(names), ", ")
}

// balanceKeys returns the keys of a pool with the policy.
func balanceKeys(policy string) string {
	keys := "    balance: " + policy + "\n"
	if policy == "hash" {
		keys += "    hash: header:X-Client\n"
	}
	return keys
}

// testBackendFailsFast has one of three backends answer 500 at once, or reset every connection,
// while its checks pass: two seconds later it gets hardly any requests.
func testBackendFailsFast(t *testing.T, built programs) {
	names := policies(t)
	if !*long {
		names = []string{"round_robin", "latency"} // all of them at once are too much for two cores
	}
	all := together{t: t, free: freeAddresses(t, 2*3*(len(names)+1))}
	defer all.running.Wait()
	run := func(name, policy, fault string, clients int) {
		all.run(name, 3, func(t *testing.T, addresses []string) {
			requireFailsFast(t, built, addresses, policy, fault, clients)
		})
	}
	for _, fault := range []string{"fail", "reset"} {
		for _, policy := range names {
			run(policy+" "+fault, policy, fault, 32)
		}
		run("one client "+fault, "round_robin", fault, 1)
	}
}

func requireFailsFast(t *testing.T, built programs, addresses []string, policy, fault string, clients int) {
	rate, before, after := 200, 3*time.Second, 2500*time.Millisecond // it ends before the ejection does
	if *long {
		rate, before, after = 2000, 12*time.Second, 20*time.Second
	}
	startBackends(t, built, addresses)
	lb, url := startPool(t, built, addresses, balanceKeys(policy))
	load := startLoad(t, url, rate, clients)
	time.Sleep(before)
	failing := time.Now()
	setFault(t, addresses[0], `{"fault":"`+fault+`"}`)
	time.Sleep(2 * time.Second)
	from := requestsAtAll(t, addresses)
	time.Sleep(after)
	to := requestsAtAll(t, addresses)
	got := summarize(load.end())
	all := 0
	for i := range to {
		all += to[i] - from[i]
	}
	share := 100 * float64(to[0]-from[0]) / float64(all)
	ejected, out := "not ejected", lb.loggedAt(t, "backend is ejected")
	if !out.IsZero() {
		ejected = "ejected after " + out.Sub(failing).Round(time.Millisecond).String()
	}
	t.Logf("%.2f %% of %d requests after 2 s; %s; %s", share, all, ejected, got)
	if share >= 2 {
		t.Error("want less than 2 %")
	}
	byLoad := policy == "latency" || policy == "least_requests" || policy == "random_two"
	if out.IsZero() && !byLoad { // which may send it too few requests for that
		t.Error("it was not ejected")
	}
}
