package main

import (
	"syscall"
	"testing"
	"time"
)

// loadOf returns the rate and the number of clients of the load of a test.
func loadOf() (rate, clients int) {
	if *long {
		return 2000, 32
	}
	return 200, 32
}

// testBackendKilledAtRate ends one of three backends with SIGKILL, without health checks that could
// see it: no GET fails.
func testBackendKilledAtRate(t *testing.T, built programs) {
	addresses := freeAddresses(t, 3)
	backends := startBackends(t, built, addresses)
	lb, url := startPool(t, built, addresses, "")
	rate, clients := loadOf()
	load := startLoad(t, url, rate, clients)
	time.Sleep(2 * time.Second)
	killed := time.Now()
	backends[0].signal(t, syscall.SIGKILL)
	waitFor(t, "the backend to be out", func() bool { return lb.stdout.find("backend is ejected") != nil })
	time.Sleep(time.Second)
	got := summarize(load.end())
	out := lb.loggedAt(t, "backend is ejected").Sub(killed)
	t.Logf("out after %s; %s", out, got)
	most := time.Second
	if !*long {
		most *= 3 // other tests run beside this one
	}
	if got.failed > 0 || out > most {
		t.Errorf("want no failure, and the backend out within %s", most)
	}
}

// testBackendFrozen stops one of three backends with SIGSTOP: the kernel still accepts connections
// for it.
func testBackendFrozen(t *testing.T, built programs) {
	all := together{t: t, free: freeAddresses(t, 9)}
	defer all.running.Wait()
	for name, test := range map[string]struct {
		keys    string
		clients int
		most    time.Duration // that a GET may take
	}{
		"checks":           {"    health: {path: /healthz, interval: 250ms, timeout: 250ms, fall: 2}\n", 32, 1500 * time.Millisecond},
		"URLs":             {"", 32, 4 * time.Second},
		"URLs, one client": {"", 1, 4 * time.Second},
	} {
		all.run(name, 3, func(t *testing.T, addresses []string) {
			backends := startBackends(t, built, addresses)
			lb, url := startPool(t, built, addresses, test.keys)
			rate, _ := loadOf()
			load := startLoad(t, url, rate, test.clients)
			time.Sleep(3 * time.Second)
			frozen := time.Now()
			backends[0].signal(t, syscall.SIGSTOP)
			var message string
			waitFor(t, "the backend to be out", func() bool {
				for _, message = range []string{"backend is out", "backend is ejected"} {
					if lb.stdout.find(message) != nil {
						return true
					}
				}
				return false
			})
			time.Sleep(3 * time.Second)
			got := summarize(load.end())
			t.Logf("out after %s; %s", lb.loggedAt(t, message).Sub(frozen), got)
			if !*long {
				test.most *= 3 // other tests run beside this one
			}
			if got.failed > 0 || got.longest > test.most {
				t.Errorf("want no failure, and no GET over %s", test.most)
			}
		})
	}
}
