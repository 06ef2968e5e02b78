package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// find searches for clients.
func (b *browser) find(text string) {
	b.t.Helper()
	b.eval(fmt.Sprintf(`document.getElementById("find").value = %q`, text))
	b.click("Search")
}

// sendSteadily sends up to 50 requests a second, one after the other, until the test ends.
func sendSteadily(t *testing.T, url string) {
	ctx, stop := context.WithCancel(context.Background())
	var sender sync.WaitGroup
	sender.Go(func() {
		for ctx.Err() == nil {
			_, _ = tryCall("GET", url, "")
			time.Sleep(20 * time.Millisecond)
		}
	})
	t.Cleanup(func() { stop(); sender.Wait() })
}

const (
	limitShown = `document.getElementById("limit-capacity").checkVisibility()`
	capacityIs = `document.getElementById("limit-capacity").value === `
)

// TestPageOfSlowCalls opens a client and, before that is read, another: nothing of the one is shown, done
// or focused for the other.
func TestPageOfSlowCalls(t *testing.T) {
	_, addresses := pageBackends(t)
	in := startInstance(t, testConfig(t, addresses))
	for name, key := range map[string]string{"fast": "b25d40863f9c1e7a", "slow": "c25d40863f9c1e7a"} {
		call(t, "POST", in.management+"/v1/api/clients/", `{"name":"`+name+`","api_key":"`+key+`","capacity":1`+key[1:2]+`,"rate_per_second":1,"labels":{"kind":"both"}}`)
	}
	var held sync.RWMutex // while slow is not read
	var came, answered atomic.Int32
	forward := forwarder(t, in.management)
	between := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "GET" && strings.HasSuffix(r.URL.Path, "/clients/slow") {
			came.Add(1)
			held.RLock()
			defer answered.Add(1)
			defer held.RUnlock()
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { between.CloseClientConnections(); between.Close() })
	b := openPage(t, between.URL)
	b.find("both")
	b.click("fast")
	b.await(capacityIs + `"12"`)
	held.Lock()
	b.find("both")
	b.click("slow")
	b.shows("Client slow")
	if b.eval(limitShown) == "true" {
		t.Error("the limit of fast is shown for slow")
	}
	waitFor(t, "the call", func() bool { return came.Load() > 0 })
	b.find("both")
	b.click("fast")
	b.await(limitShown)
	b.eval(`document.getElementById("find").focus()`)
	held.Unlock()
	waitFor(t, "the answer", func() bool { return answered.Load() == came.Load() })
	time.Sleep(200 * time.Millisecond) // the page would have shown it by then
	if got := b.eval(`document.activeElement.id + ", " + document.querySelector("#one h3").textContent + ", " + document.getElementById("limit-capacity").value`); got != "find, Client fast, 12" {
		t.Errorf("the focus, the client and its capacity: %s", got)
	}
	b.find("both")
	b.click("slow")
	b.await(limitShown)
	held.Lock()
	b.eval(`document.getElementById("limit-capacity").value = 20`)
	b.click("Set the limit")
	b.shows("slow: capacity 20, 1 a second; before, capacity 12, 1 a second")
	b.eval(`document.getElementById("limit-capacity").value = 30`) // before the page has read what it has set
	held.Unlock()
	b.await(`document.querySelector("#one dl").innerText.includes("capacity 20")`)
	if got := b.eval(`document.getElementById("limit-capacity").value`); got != "30" {
		t.Errorf("30 was typed, the form has %s", got)
	}
	b.requireNoFaults()
}

// TestPageOfAnAddressOverTLS opens an address without a limit of its own where clients speak TLS.
func TestPageOfAnAddressOverTLS(t *testing.T) {
	_, addresses := pageBackends(t)
	e := newEdge(t)
	in := startInstance(t, testConfig(t, addresses, "server:\n  listen: 127.0.0.1:0\n  tls: {certificates: ["+e.write("a", "localhost")+"]}\n",
		"limiter:\n  default: {capacity: 2, rate_per_second: 0.001}\n"))
	for range 4 {
		if _, _, err := e.get(strings.TrimPrefix(in.proxy, "http://")); err != nil {
			t.Fatal(err)
		}
	}
	b := openPage(t, in.management)
	b.click("127.0.0.1")
	b.await(capacityIs + `"2"`)
	b.await(limitShown)
	b.requireNoFaults()
}

// TestPageBesideAnotherHand changes a client elsewhere while it is open: what is not typed yet follows,
// and what was decided about another state is refused.
func TestPageBesideAnotherHand(t *testing.T) {
	_, addresses := pageBackends(t)
	in := startInstance(t, testConfig(t, addresses))
	client := in.management + "/v1/api/clients/127.0.0.1"
	call(t, "POST", in.management+"/v1/api/clients/", `{"ip_address":"127.0.0.1","capacity":1000,"rate_per_second":500}`)
	call(t, "PATCH", client, `{"trial":{"capacity":5,"rate_per_second":1}}`)
	sendSteadily(t, in.proxy+"/")
	b := openPage(t, in.management)
	b.find("127")
	b.click("127.0.0.1")
	b.await(capacityIs + `"1000"`)
	b.eval(`document.getElementById("limit-rate").value = 300`)
	call(t, "PATCH", client, `{"capacity":900,"rate_per_second":400}`)
	b.await(capacityIs + `"900" && document.getElementById("limit-rate").value === "300"`)

	time.Sleep(2500 * time.Millisecond) // of three readings a rate can be made
	b.allow("the server responded with a status of 412")
	b.click("Take over as the limit")
	b.shows("requests a second let through now, more than 1")
	call(t, "PATCH", client, `{"trial":{"capacity":7,"rate_per_second":1}}`)
	b.shows("On trial: capacity 7") // behind the question
	b.click("Set the lower limit")
	b.shows("The limit of 127.0.0.1 failed")
	if a := call(t, "GET", client, ""); !strings.Contains(a.body, `"capacity":900,"rate_per_second":400,"trial":{"capacity":7`) {
		t.Errorf("got %s", a.body)
	}

	b.await(`/rejected [1-9]/.test(document.querySelector("#one").innerText)`)
	b.click("End the trial")
	b.shows("is ended")
	for field, value := range map[string]string{"capacity": "7", "rate": "1"} {
		b.eval(`document.getElementById("trial-` + field + `").value = ` + value)
	}
	b.click("Start a trial")
	b.shows("It would have rejected")
	if said := b.eval(`document.querySelector("#one").innerText`); strings.Contains(said, " -") {
		t.Errorf("a count is below 0: %s", said)
	}
	b.requireNoFaults()
}
