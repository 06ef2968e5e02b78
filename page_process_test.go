package main

import (
	"fmt"
	"testing"

	"loadbalancer/clients/store/pgtest"
	"loadbalancer/limiter/shared/redistest"
)

// fact waits until the page says something of the process, or fails with what the page shows.
func (b *browser) fact(name, says string) {
	b.t.Helper()
	b.await(fmt.Sprintf(`[...document.querySelectorAll("#balancer dl div")].some(d => d.firstChild.innerText === %q && d.lastChild.innerText.includes(%q))`, name, says))
}

// listed waits until a list below the process has a line with a text.
func (b *browser) listed(title, line string) {
	b.t.Helper()
	b.await(fmt.Sprintf(`[...document.querySelectorAll("#balancer h3")].find(h => h.innerText === %q)?.parentNode.innerText.includes(%q)`, title, line))
}

// TestPageShowsTheProcess: the client store, Redis and a reload come and go, and the page says so.
func TestPageShowsTheProcess(t *testing.T) {
	t.Cleanup(pgtest.Start())
	gate, database := pgtest.NewGate(t, pgtest.NewDatabase(t))
	redis := redistest.Start(t, redistest.Options{})
	_, addresses := pageBackends(t)
	certificate := newEdge(t).write("a", "localhost")
	in := startInstance(t, testConfig(t, addresses,
		"server:\n  listen: 127.0.0.1:0\n  tls:\n    listen: 127.0.0.1:0\n    certificates: ["+certificate+"]\n",
		"clients:\n  store: \""+database+"\"\n", "limiter:\n  share: "+redis.URL()+"\n"))
	call(t, "POST", in.management+"/v1/api/clients/", `{"ip_address":"192.0.2.1","capacity":1,"rate_per_second":1}`)
	b := openPage(t, in.management)
	b.fact("Version", currentBuild().version)
	b.fact("Config", in.path)
	b.fact("State", "✓ ready")
	b.fact("Last reload", "none so far")
	b.fact("Client store", "✓ answers, clients: 1")
	b.fact("Limits shared by Redis", "✓ answers, instances: 1")
	b.fact("Log lines dropped", "0")
	b.fact("Memory", "MiB")
	b.listed("Certificates", "localhost until ")

	redis.Kill()
	gate.Redirect("tcp", freeAddresses(t, 1)[0])
	gate.Cut()
	b.fact("Client store", "✗ away, clients: 1")
	b.fact("Limits shared by Redis", "✗ away")

	in.edit(t, "interval: 50ms", "intervall: 50ms")
	if a := call(t, "POST", in.management+"/v1/api/reload", ""); a.status != 422 {
		t.Errorf("the reload got %+v", a)
	}
	b.fact("Last reload", "✗ failed: the older config is in use")
	b.listed("Faults of the last reload", "intervall")
	in.reload(t, "intervall: 50ms", "interval: 60ms")
	b.fact("Last reload", "✓ succeeded")
	b.listed("Changed by the last reload", "pools.main.health.interval: 50ms → 60ms")

	for _, a := range addresses {
		call(t, "POST", in.management+"/v1/api/backends/main/"+a+"/drain", "")
	}
	b.fact("State", "✗ not ready: pool main has no backend that takes requests")
	b.requireNoFaults()
}
