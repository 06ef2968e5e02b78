package main

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"loadbalancer/bench/nettest"
	"loadbalancer/limiter/shared/redistest"
)

// sharing is a process that shares its limits.
type sharing struct {
	*process
	proxy, management string
}

// startSharing starts a balancer with a client acme, whose bucket has 100 tokens and gets no more
// while the test runs.
func startSharing(t *testing.T, built programs, redis, backend string) sharing {
	t.Helper()
	p, url := startLB(t, built, testConfig(t, []string{backend}, "server:\n  listen: 127.0.0.1:0\n  shutdown_delay: 500ms\n",
		"limiter:\n  api_key_header: X-API-Key\n  share: "+redis+"\n  share_wait: 500ms\n"))
	s := sharing{p, url, "http://" + p.stdout.find("management")["listen"].(string)}
	body := `{"name":"acme","api_key":"3f9c1e7ab25d4086","capacity":100,"rate_per_second":0.001}`
	if a := call(t, "POST", s.management+"/v1/api/clients/", body); a.status != 201 {
		t.Fatalf("POST: %+v", a)
	}
	return s
}

// await waits until a metric has a value.
func (s sharing) await(t *testing.T, metric string, value int) {
	t.Helper()
	line := fmt.Sprintf("\n%s %d\n", metric, value)
	waitFor(t, strings.TrimSpace(line), func() bool { return strings.Contains(call(t, "GET", s.management+"/metrics", "").body, line) })
}

// spend sends requests of acme, one after the other and each to the next instance, and returns how
// many were let through.
func spend(t *testing.T, requests int, at ...sharing) (passed int) {
	t.Helper()
	for i := range requests {
		switch a := call(t, "GET", at[i%len(at)].proxy, "", "X-API-Key: 3f9c1e7ab25d4086"); a.status {
		case 200:
			passed++
		case 429:
		default:
			t.Fatalf("request %d: %+v", i, a)
		}
	}
	return passed
}

// testSharedLimits: behind two instances, a client has one limit.
func testSharedLimits(t *testing.T, built programs) {
	redis := redistest.Start(t, redistest.Options{Password: "hidden"})
	backend := freeAddresses(t, 1)[0]
	serveBackend(t, backend)
	one, two := startSharing(t, built, redis.URL(), backend), startSharing(t, built, redis.URL(), backend)
	for _, s := range []sharing{one, two} {
		s.await(t, "lb_share_up", 1)
		s.await(t, "lb_share_instances", 2)
	}
	if got := spend(t, 250, one, two); got < 100 || got > 112 {
		t.Errorf("%d of 250 requests were let through by a bucket of 100 tokens", got)
	}
	redis.Kill()
	one.await(t, "lb_share_up", 0)
	if got := spend(t, 20, one, two); got > 0 {
		t.Errorf("without Redis, %d requests more were let through", got)
	}
	redis.Restart()
	one.await(t, "lb_share_up", 1)
	for _, s := range []sharing{one, two} {
		s.signal(t, syscall.SIGTERM)
		s.requireExit(t, 0)
		if text := s.stdout.String() + s.stderr.String(); strings.Contains(text, "hidden") {
			t.Errorf("the password is shown: %s", text)
		}
	}
}

// testSharedLimitsAtTheEnd: what an instance has let through is told at its end, to the last request of
// its shutdown delay. All of it is within the credit, so that there was no need to tell before.
func testSharedLimitsAtTheEnd(t *testing.T, built programs) {
	redis := redistest.Start(t, redistest.Options{})
	backend := freeAddresses(t, 1)[0]
	serveBackend(t, backend)
	one, two := startSharing(t, built, redis.URL(), backend), startSharing(t, built, redis.URL(), backend)
	one.await(t, "lb_share_instances", 2)
	time.Sleep(4 * time.Second) // then there is credit, within which nothing is told
	if got := spend(t, 2, one); got != 2 {
		t.Fatalf("%d of 2 requests were let through", got)
	}
	one.signal(t, syscall.SIGTERM)
	waitFor(t, "the shutdown", func() bool { return one.stdout.find("shutting down") != nil })
	if got := spend(t, 2, one); got != 2 {
		t.Errorf("%d of 2 requests were let through during the shutdown delay", got)
	}
	one.requireExit(t, 0)
	two.await(t, "lb_share_instances", 1)
	// One that a busy machine answers too late may be told twice.
	if got := spend(t, 120, two); got > 96 || got < 90 {
		t.Errorf("another instance let %d requests through, want 96", got)
	}
}

// testSharedLimitsFrozen: a Redis that takes everything and answers nothing delays neither the start
// nor the end.
func testSharedLimitsFrozen(t *testing.T, built programs) {
	redis := redistest.Start(t, redistest.Options{})
	gate := nettest.NewGate(t, redis.Network, redis.Address)
	gate.Freeze()
	backend := freeAddresses(t, 1)[0]
	serveBackend(t, backend)
	began := time.Now()
	s := startSharing(t, built, "redis://"+gate.Address, backend)
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the start took %s", took)
	}
	s.await(t, "lb_share_up", 0)
	if got := spend(t, 120, s); got != 100 {
		t.Errorf("one instance let %d requests through, want 100", got)
	}
	gate.Thaw()
	s.await(t, "lb_share_up", 1)
	gate.Freeze()
	began = time.Now()
	s.signal(t, syscall.SIGTERM)
	s.requireExit(t, 0)
	if took := time.Since(began); took > 5*time.Second { // of these, 3 s are shutdown_delay and waits for Redis
		t.Errorf("the end took %s", took)
	}
}
