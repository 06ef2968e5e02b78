package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// pageBackends are two backends for a page to show.
func pageBackends(t *testing.T) (servers []*httptest.Server, addresses []string) {
	for range 2 {
		s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		t.Cleanup(s.Close)
		servers, addresses = append(servers, s), append(addresses, s.Listener.Addr().String())
	}
	return servers, addresses
}

// rowOf returns a script that finds the row of a table with a text.
func rowOf(text string) string {
	return fmt.Sprintf(`[...document.querySelectorAll("tbody tr")].find(r => r.innerText.includes(%q))`, text)
}

// TestPageShowsADeadBackend: the page shows within 2 seconds that a backend is out, and why.
func TestPageShowsADeadBackend(t *testing.T) {
	backends, addresses := pageBackends(t)
	in := startInstance(t, testConfig(t, addresses))
	b := openPage(t, in.management)
	call(t, "GET", in.proxy+"/", "")
	b.await(rowOf(addresses[0]) + `?.innerText.includes("✓ up")`)
	backends[0].CloseClientConnections()
	backends[0].Close()
	if took := b.await(rowOf(addresses[0]) + `?.innerText.includes("✗ down")`); took > 2*time.Second {
		t.Errorf("it is shown after %s", took)
	}
	if row := b.eval(rowOf(addresses[0]) + ".innerText"); !strings.Contains(row, "connection refused") {
		t.Errorf("the row does not say why: %s", row)
	}
	b.shows("1 of 2 backends in; out: http://" + addresses[0] + " (down")
	b.requireNoFaults()
}

// TestPageDrains clicks on drain and resume. Only the drain of the last backend is asked about.
func TestPageDrains(t *testing.T) {
	_, addresses := pageBackends(t)
	in := startInstance(t, testConfig(t, addresses))
	state := func(i int) string {
		return call(t, "GET", in.management+"/v1/api/backends/main/"+addresses[i], "").body
	}
	b := openPage(t, in.management)
	b.click("Drain " + addresses[0])
	b.shows(addresses[0] + " in main is drained, 0 still under way")
	if got := state(0); !strings.Contains(got, `"state":"draining"`) {
		t.Errorf("got %s", got)
	}
	b.click("Drain " + addresses[1])
	b.click("Cancel")
	b.await(`!document.querySelector("dialog")`)
	if got := state(1); !strings.Contains(got, `"state":"up"`) {
		t.Errorf("cancelled: got %s", got)
	}
	b.click("Drain " + addresses[1])
	b.click("Take out the last backend")
	b.shows("no backend of the pool main takes new requests")
	b.click("Resume " + addresses[1])
	b.shows(addresses[1] + " in main is resumed: it is up")
	b.click("Weight of " + addresses[1] + ": 1")
	b.eval(`document.querySelector("dialog input").value = 3`)
	b.click("Set the weight")
	b.shows(addresses[1] + " in main has the weight 3")
	b.shows("config: 1")
	b.click("Weight of " + addresses[1] + ": 3")
	b.eval(`document.querySelector("dialog input").value = "00"`)
	b.click("Set the weight")
	b.shows("Without " + addresses[1])
	b.click("Cancel")
	b.await(`!document.querySelector("dialog")`)
	b.click("Resume " + addresses[0])
	call(t, "PUT", in.management+"/v1/api/backends/main/"+addresses[0]+"/weight", `{"weight":0}`)
	b.click("Weight of " + addresses[0] + ": 0")
	b.click("Cancel")
	b.await(`!document.querySelector("dialog")`)
	b.click("Drain " + addresses[1]) // the other takes no new requests
	b.click("Take out the last backend")
	b.shows(addresses[1] + " in main is drained")
	b.requireNoFaults()
}

// TestPageDrainsStickyClients has a pool that keeps clients at their backends: the page asks for how long
// they stay at one that is drained, and says when they move.
func TestPageDrainsStickyClients(t *testing.T) {
	_, addresses := pageBackends(t)
	in := startInstance(t, strings.Replace(testConfig(t, addresses), "    health:", "    sticky: {cookie: lb}\n    health:", 1))
	b := openPage(t, in.management)
	b.shows("Clients that stick to a drained backend stay there")
	b.eval(`document.querySelector("#pools select").value = "5m"`)
	b.click("Drain " + addresses[0])
	b.shows("kept clients move at")
	if got := call(t, "GET", in.management+"/v1/api/backends/main/"+addresses[0], "").body; !strings.Contains(got, `"sticky_until"`) {
		t.Errorf("got %s", got)
	}
	b.requireNoFaults()
}

// TestPageEditsALimit: the client that is limited most is opened, and its limit edited, which holds at
// the next request. A trial is started, watched and taken over.
func TestPageEditsALimit(t *testing.T) {
	_, addresses := pageBackends(t)
	in := startInstance(t, testConfig(t, addresses))
	call(t, "POST", in.management+"/v1/api/clients/", `{"ip_address":"127.0.0.1","capacity":1,"rate_per_second":0.001,"labels":{"note":"<img src=x>"}}`)
	for range 3 {
		call(t, "GET", in.proxy+"/", "")
	}
	b := openPage(t, in.management)
	set := func(field, value string) { b.eval(fmt.Sprintf("document.getElementById(%q).value = %q", field, value)) }
	b.click("127.0.0.1")
	b.await(`document.getElementById("limit-capacity")?.value === "1"`)
	b.await(`document.querySelector("#one dl").innerText.includes("Tokens left")`)
	set("limit-capacity", "50")
	b.click("Set the limit")
	b.shows("127.0.0.1: capacity 50, 0.001 a second")
	if a := call(t, "GET", in.proxy+"/", ""); a.status != 200 {
		t.Errorf("the next request got %d", a.status)
	}
	set("trial-capacity", "1")
	set("trial-rate", "0.002")
	b.click("Start a trial")
	b.shows("On trial for 127.0.0.1: capacity 1, 0.002 a second")
	for range 3 {
		call(t, "GET", in.proxy+"/", "")
	}
	b.shows("It would have rejected 2 requests")
	b.click("Take over as the limit")
	b.await(`[...document.querySelectorAll("button")].some(b => b.textContent === "Set the lower limit") || document.body.innerText.includes("before, capacity 50")`)
	if b.eval(`!!document.querySelector("dialog")`) == "true" {
		b.click("Set the lower limit")
	}
	b.shows("127.0.0.1: capacity 1, 0.002 a second; before, capacity 50, 0.001 a second")
	if a := call(t, "GET", in.management+"/v1/api/clients/127.0.0.1", ""); !strings.Contains(a.body, `"rate_per_second":0.002`) || strings.Contains(a.body, `"trial"`) {
		t.Errorf("got %s", a.body)
	}
	b.find("img")
	b.shows("note=<img src=x>")
	b.requireNoFaults()
}

// TestPageAsksBeforeALowerLimit has a client with traffic, whose rate is set below and above it.
func TestPageAsksBeforeALowerLimit(t *testing.T) {
	_, addresses := pageBackends(t)
	in := startInstance(t, testConfig(t, addresses))
	call(t, "POST", in.management+"/v1/api/clients/", `{"ip_address":"127.0.0.1","capacity":1000,"rate_per_second":500}`)
	sendSteadily(t, in.proxy+"/")
	b := openPage(t, in.management)
	b.find("127")
	b.click("127.0.0.1")
	b.await(`document.querySelector("#one dl").innerText.includes("Tokens left")`)
	time.Sleep(2500 * time.Millisecond) // of three readings a rate can be made
	set := func(rate, answer string) {
		b.eval(`document.getElementById("limit-rate").value = ` + rate)
		b.click("Set the limit")
		if answer != "" {
			b.shows("requests a second let through now, more than " + rate)
			b.click(answer)
		}
	}
	rate := func() string {
		var c struct {
			Rate float64 `json:"rate_per_second"`
		}
		_ = json.Unmarshal([]byte(call(t, "GET", in.management+"/v1/api/clients/127.0.0.1", "").body), &c)
		return fmt.Sprint(c.Rate)
	}
	set("2", "Cancel")
	if got := rate(); got != "500" {
		t.Errorf("after Cancel the rate is %s", got)
	}
	set("400", "")
	b.shows("127.0.0.1: capacity 1000, 400 a second; before, capacity 1000, 500 a second")
	set("2", "Set the lower limit")
	b.shows("127.0.0.1: capacity 1000, 2 a second; before, capacity 1000, 400 a second")
	if got := rate(); got != "2" {
		t.Errorf("the rate is %s", got)
	}
	b.requireNoFaults()
}

// TestPageGivesAnAddressALimit opens an address that the default limit counts for, which the form
// shows, and registers it.
func TestPageGivesAnAddressALimit(t *testing.T) {
	_, addresses := pageBackends(t)
	in := startInstance(t, testConfig(t, addresses, "limiter:\n  default: {capacity: 2, rate_per_second: 0.001}\n"))
	for range 4 {
		call(t, "GET", in.proxy+"/", "")
	}
	b := openPage(t, in.management)
	b.click("127.0.0.1")
	b.await(`document.getElementById("limit-capacity")?.value === "2"`)
	time.Sleep(2500 * time.Millisecond) // of three readings a rate could be made
	b.eval(`document.getElementById("limit-capacity").value = 4`)
	b.click("Set the limit")
	b.shows("127.0.0.1: capacity 4, 0.001 a second")
	if a := call(t, "GET", in.proxy+"/", ""); a.status != 200 {
		t.Errorf("the next request got %d", a.status)
	}
	b.requireNoFaults()
}

// TestPageComesBack stops the load balancer under the page, and starts another.
func TestPageComesBack(t *testing.T) {
	_, addresses := pageBackends(t)
	config := testConfig(t, addresses, "management:\n  listen: "+freeAddresses(t, 1)[0]+"\n")
	in := startInstance(t, config)
	b := openPage(t, in.management)
	b.allow("net::ERR_") // the browser logs calls that fail
	b.shows("Live")
	in.stop(t)
	b.shows("Stale since")
	if b.eval(`getComputedStyle(document.querySelector("main")).filter`) == "none" {
		t.Error("the page is not grey")
	}
	eachLook(t, b, func(string) {}) // what is stale can be read, too
	startInstance(t, config)
	b.shows("Live")
	b.click("Drain " + addresses[0]) // by the page's token of the new process
	b.shows("is drained")
	b.requireNoFaults()
}

// TestPageFindsASilentStream has a stream whose messages stay away, and nothing ends it.
func TestPageFindsASilentStream(t *testing.T) {
	_, addresses := pageBackends(t)
	in := startInstance(t, testConfig(t, addresses))
	var silent atomic.Bool
	b := openPage(t, between(t, in.management, func(body io.ReadCloser) io.ReadCloser { return heldBody{body, &silent} }))
	b.shows("Live")
	silent.Store(true)
	b.shows("nothing came for 5 s")
	time.Sleep(2 * time.Second)                        // by then it waits for the next stream
	b.eval(`document.querySelector("#whole").click()`) // and still shows what it has
	silent.Store(false)
	b.shows("Live")
	b.requireNoFaults()
}

// forwarder passes calls on to a balancer's management.
func forwarder(t *testing.T, management string) *httputil.ReverseProxy {
	t.Helper()
	target, err := url.Parse(management)
	if err != nil {
		t.Fatal(err)
	}
	return &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host }}
}

// between returns the URL of a server before a balancer's management that changes the bodies of streams.
func between(t *testing.T, management string, change func(io.ReadCloser) io.ReadCloser) string {
	t.Helper()
	forward := forwarder(t, management)
	forward.ModifyResponse = func(r *http.Response) error {
		if strings.HasPrefix(r.Header.Get("Content-Type"), "text/event-stream") {
			r.Body = change(r.Body)
			r.Header.Del("Content-Length")
		}
		return nil
	}
	server := httptest.NewServer(forward)
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return server.URL
}

// heldBody is a body that is held while it is silent.
type heldBody struct {
	io.ReadCloser
	silent *atomic.Bool
}

func (h heldBody) Read(p []byte) (int, error) {
	n, err := h.ReadCloser.Read(p)
	for h.silent.Load() {
		time.Sleep(10 * time.Millisecond)
	}
	return n, err
}

// TestPageShowsTextAsText has names, a client, causes and errors that are markup and scripts.
func TestPageShowsTextAsText(t *testing.T) {
	backends, addresses := pageBackends(t)
	in := startInstance(t, testConfig(t, addresses, "limiter:\n  default: {capacity: 1, rate_per_second: 0.001}\n"))
	backends[0].Close()
	for range 2 {
		call(t, "GET", in.proxy+"/", "")
	}
	const hostile = `<img src=x onerror=alert(1)><script>alert(2)</script>\"'`
	b := openPage(t, between(t, in.management, func(body io.ReadCloser) io.ReadCloser { return hostileBody{body, hostile} }))
	shown := strings.ReplaceAll(hostile, `\"`, `"`)
	b.shows("Pool " + shown)
	b.shows(shown + "/config")
	b.await(rowOf(addresses[0]) + fmt.Sprintf("?.innerText.includes(%q)", shown+"health check"))
	b.await(rowOf(addresses[1]) + fmt.Sprintf("?.innerText.includes(%q)", "ago: "+shown))
	b.allow("the server responded with a status of 422") // the name is no address
	b.click(shown)
	b.shows("Client " + shown)
	b.await(`document.querySelector("#one > p").textContent.includes("<img")`)
	if n := b.eval(`document.querySelectorAll("body img, body script").length`); n != "0" {
		t.Errorf("%s elements came of text", n)
	}
	b.requireNoFaults()
}

// hostileBody puts a name into a status: in place of the pool's and the client's, and before others,
// causes and errors.
type hostileBody struct {
	io.ReadCloser
	name string
}

func (h hostileBody) Read(p []byte) (int, error) {
	n, err := h.ReadCloser.Read(p[:len(p)/8])
	text := bytes.ReplaceAll(p[:n], []byte(`"pool":"main"`), []byte(`"pool":"`+h.name+`"`))
	text = bytes.ReplaceAll(text, []byte(`"client":"127.0.0.1"`), []byte(`"client":"`+h.name+`"`))
	text = bytes.ReplaceAll(text, []byte(`"config":"`), []byte(`"config":"`+h.name+`/config`))
	for _, field := range []string{`"why":"`, `"last_error":"`} {
		text = bytes.ReplaceAll(text, []byte(field), []byte(field+h.name))
	}
	return copy(p, text), err
}

// writeShot writes a picture to the folder that PAGE_PICTURES names, if it does, so that a look at what
// was judged is possible.
func writeShot(t *testing.T, name string, png []byte) {
	t.Helper()
	if dir := os.Getenv("PAGE_PICTURES"); dir != "" {
		if err := os.WriteFile(dir+"/"+name, png, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
