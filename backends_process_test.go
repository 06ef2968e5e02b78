package main

import (
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// startFakeBackend starts a fake backend as a process and waits until it serves.
func startFakeBackend(t *testing.T, built programs, address string) *process {
	t.Helper()
	p := startProcess(t, built.bench, "servers", "--servers=1", "--delay=2ms", "--start_port="+portOf(address))
	waitFor(t, "backend "+address, func() bool {
		a, _ := tryCall("GET", "http://"+address+"/healthz", "")
		return a.status == 200
	})
	return p
}

// managementOf returns the URL of a process's management listener.
func managementOf(p *process) string {
	return "http://" + p.stdout.find("management")["listen"].(string)
}

// testDeployUnderLoad replaces three backends under load, one after the other: each is drained,
// killed once it has no request in flight, started again and resumed; with -long ten times. Of the
// POSTs that are sent meanwhile, which may not be repeated, none fails. A drained backend gets no
// request.
func testDeployUnderLoad(t *testing.T, built programs) {
	addresses := freeAddresses(t, 3)
	var backends []*process
	for _, address := range addresses {
		backends = append(backends, startFakeBackend(t, built, address))
	}
	p, url := startLB(t, built, testConfig(t, addresses, "limiter: {enabled: false}"))
	management := managementOf(p)
	sent, failed, end := sendUntilEnd(t, url)
	more := func(n int64) {
		t.Helper()
		before := sent.Load()
		waitFor(t, "requests", func() bool { return sent.Load() > before+n })
	}
	rounds := 1
	if *long {
		rounds = 10
	}
	for i := range rounds * len(addresses) {
		i %= len(addresses)
		address := addresses[i]
		more(100)
		b := setBackend(t, management, "POST", address, "drain", `{"timeout":"0s"}`)
		if b.State != "draining" || b.Requests == 0 {
			t.Errorf("drained, %s is %+v", address, b)
		}
		waitFor(t, "its last request to end", func() bool { return backendsOf(t, management)[address].InFlight == 0 })
		requests := backendsOf(t, management)[address].Requests
		backends[i].signal(t, syscall.SIGKILL)
		<-backends[i].ended
		more(100)
		waitFor(t, "its check to fail", func() bool { return backendsOf(t, management)[address].State == "down,draining" })
		backends[i] = startFakeBackend(t, built, address)
		waitFor(t, "its check to pass", func() bool { return backendsOf(t, management)[address].State == "draining" })
		more(100)
		if b := backendsOf(t, management)[address]; b.Requests != requests || b.InFlight != 0 {
			t.Errorf("a drained backend got requests: %+v, after %d", b, requests)
		}
		if b := setBackend(t, management, "POST", address, "resume", ""); b.State != "up" || b.EffectiveWeight != 0.05 {
			t.Errorf("resumed, %s is %+v", address, b)
		}
		waitFor(t, "it to get requests", func() bool { return backendsOf(t, management)[address].Requests > requests })
	}
	end()
	t.Logf("%d requests were sent, and %d failed", sent.Load(), failed.Load())
}

// testDrainOutlivesKill kills the process as soon as a drain was answered, again and again: the
// next process knows of each.
func testDrainOutlivesKill(t *testing.T, built programs) {
	addresses := freeAddresses(t, 5)
	section, _ := stateIn(t)
	config := testConfig(t, addresses, section)
	drained := map[string]bool{}
	for i, address := range addresses[:4] {
		p, url := startLB(t, built, config, "--demo")
		management := managementOf(p)
		for a, b := range backendsOf(t, management) {
			weight := 1
			if drained[a] {
				weight = 10
			}
			if (b.State == "draining") != drained[a] || b.Weight != weight {
				t.Errorf("start %d: %s is %+v", i, a, b)
			}
		}
		for range 5 {
			if a := call(t, "GET", url, ""); a.status != 200 || drained[a.header.Get("X-Backend")] {
				t.Errorf("start %d: a request got %+v", i, a)
			}
		}
		setBackend(t, management, "PUT", address, "weight", `{"weight":10}`)
		setBackend(t, management, "POST", address, "drain", `{"timeout":"1h"}`)
		p.signal(t, syscall.SIGKILL)
		<-p.ended
		drained[address] = true
	}
}

// testDrainBeforeTakeover drains a backend at a process while its successor waits for the port: the
// successor knows of it.
func testDrainBeforeTakeover(t *testing.T, built programs) {
	addresses := freeAddresses(t, 4)
	section, _ := stateIn(t)
	section = strings.Replace(section, "127.0.0.1:0", addresses[2], 1)
	path := writeConfig(t, testConfig(t, addresses[:2], section, "management:\n  listen: "+addresses[3]+"\n"))
	first := startProcess(t, built.lb, "--path="+path, "--demo")
	waitFor(t, "the first to serve", func() bool { return first.stdout.find("proxy") != nil })
	second := startProcess(t, built.lb, "--path="+path, "--demo")
	waitFor(t, "the second to wait", func() bool { return second.stdout.find("waiting for a port that another process holds") != nil })
	setBackend(t, "http://"+addresses[3], "POST", addresses[0], "drain", "")
	first.signal(t, syscall.SIGTERM)
	first.requireExit(t, 0)
	waitFor(t, "the second to serve", func() bool { return second.stdout.find("proxy") != nil })
	if b := backendsOf(t, "http://"+addresses[3])[addresses[0]]; !strings.Contains(b.State, "draining") {
		t.Errorf("at the second it is %+v", b)
	}
}

// testStickyDrainUnderLoad drains a backend with a deadline under the load of clients that are kept
// there and of new ones. The former stay until the deadline and then move, the latter go elsewhere
// at once, and none fails.
func testStickyDrainUnderLoad(t *testing.T, built programs) {
	addresses := freeAddresses(t, 3)
	for _, address := range addresses {
		startFakeBackend(t, built, address)
	}
	section, _ := stateIn(t)
	p, url := startLB(t, built, stickyIn(testConfig(t, addresses, section, "limiter: {enabled: false}")))
	management := managementOf(p)
	cookies := map[string]string{}
	for len(cookies) < 3 {
		a := call(t, "GET", url, "")
		cookies[a.header.Get("X-Backend")], _, _ = strings.Cut(a.header.Get("Set-Cookie"), ";")
	}
	victim := addresses[0]
	var deadline atomic.Int64 // in nanoseconds; 0: not drained yet
	var kept, moved atomic.Int64
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			default:
			}
			drained := deadline.Load() != 0
			fresh, err := tryCall("GET", url, "")
			if err != nil || fresh.status != 200 || drained && fresh.header.Get("X-Backend") == victim {
				t.Errorf("a new client got %+v, %v", fresh, err)
			}
			old, err := tryCall("GET", url, "", "Cookie: "+cookies[victim])
			switch end := deadline.Load(); {
			case err != nil || old.status != 200:
				t.Errorf("a client that is kept got %+v, %v", old, err)
			case old.header.Get("X-Backend") == victim:
				kept.Add(1)
			case end == 0 || time.Now().UnixNano() < end:
				t.Errorf("a client that is kept was sent to %s before the deadline", old.header.Get("X-Backend"))
			default:
				moved.Add(1)
			}
		}
	}()
	b := setBackend(t, management, "POST", victim, "drain", `{"timeout":"500ms"}`)
	deadline.Store(b.StickyUntil.UnixNano())
	before := kept.Load()
	waitFor(t, "the client to move", func() bool { return moved.Load() > 10 })
	close(stop)
	<-ended
	if kept.Load() == before {
		t.Error("a client did not stay until the deadline")
	}
	for _, other := range addresses[1:] {
		if a := call(t, "GET", url, "", "Cookie: "+cookies[other]); a.header.Get("X-Backend") != other {
			t.Errorf("a client of %s was moved to %+v", other, a)
		}
	}
}
