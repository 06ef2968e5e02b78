package main

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
)

// TestPageKeepsItsReadersPlace: what is selected in a text whose figures change stays so, and so does the
// focus in a row that moves. A reload of the config does not make the page stale.
func TestPageKeepsItsReadersPlace(t *testing.T) {
	backends, addresses := pageBackends(t)
	in := startInstance(t, testConfig(t, addresses))
	backends[0].Close()
	b := openPage(t, in.management)
	b.await(rowOf(addresses[0]) + `?.innerText.includes("connection refused")`)
	b.click("Backend")
	b.eval(`window.last = document.querySelector("#pools tbody tr:last-child button:last-of-type")`)
	b.eval(`last.focus()`)
	b.click("Backend") // the other way round
	b.await(`document.querySelector("#pools tbody tr").contains(last)`)
	b.eval(`(() => {
		const text = ` + rowOf(addresses[0]) + `.querySelector("small").firstChild, at = text.data.lastIndexOf("refused");
		getSelection().setBaseAndExtent(text, at, text, at + 7);
		window.news = [];
		new MutationObserver(() => news.push(document.body.className)).observe(document.body, {subtree: true, childList: true, characterData: true});
	})()`)
	in.edit(t, "interval: 50ms", "interval: 60ms")
	if a := call(t, "POST", in.management+"/v1/api/reload", ""); a.status != 200 {
		t.Fatal(a.body)
	}
	shown := b.eval(`document.getElementById("at").textContent`)
	for range 3 {
		b.await(fmt.Sprintf(`document.getElementById("at").textContent !== %q`, shown))
		shown = b.eval(`document.getElementById("at").textContent`)
	}
	if got := b.eval(`getSelection() + ", " + (document.activeElement === last) + ", " + news.includes("stale")`); got != "refused, true, false" {
		t.Errorf("selection, focus, stale: %s", got)
	}
	b.requireNoFaults()
}

// TestPageOfAClient has a client that has a plan and is blocked while it is open, and two clicks where one is
// meant.
func TestPageOfAClient(t *testing.T) {
	_, addresses := pageBackends(t)
	in := startInstance(t, testConfig(t, addresses))
	api := in.management + "/v1/api/"
	call(t, "PUT", api+"plans/gold", `{"capacity":90,"rate_per_second":45}`)
	call(t, "POST", api+"clients/", `{"ip_address":"127.0.0.1","plan":"gold"}`)
	b := openPage(t, in.management)
	b.shows("Live")
	b.find("127")
	b.click("127.0.0.1")
	b.shows("capacity 90, 45 a second")
	b.await(`document.getElementById("limit-capacity").value === "90"`)
	call(t, "PATCH", api+"clients/127.0.0.1", `{"blocked":true}`)
	b.shows("✗ blocked, plan gold")
	call(t, "GET", in.proxy+"/", "")
	b.await(`document.querySelector("#one dl").innerText.replace(/\s+/g, " ").includes("Passed in all 0 Rejected in all 1")`)
	b.eval(`document.getElementById("limit-capacity").value = 91`)
	b.eval(`(() => { const set = [...document.querySelectorAll("button")].find(e => e.textContent === "Set the limit"); set.click(); set.click(); })()`)
	b.shows("127.0.0.1: capacity 91, 45 a second; before, capacity 90, 45 a second")
	time.Sleep(time.Second) // the second click would have failed by now
	if said := b.eval(`document.getElementById("said").innerText`); !strings.Contains(said, "✓") {
		t.Errorf("after two clicks: %s", said)
	}
	b.requireNoFaults()
}

// TestPageOfRareTraffic hands statuses to the parts of the page: none yet, messages that were missed, and
// a value without neighbours.
func TestPageOfRareTraffic(t *testing.T) {
	in := startInstance(t, testConfig(t, freeAddresses(t, 1)), "--demo")
	b := openPage(t, in.management)
	b.shows("Live")
	const status = `(time, requests) => ({traffic: {requests: 0}, pools: [], history: {time, requests, rejected: requests,
		statuses: {"2xx": requests}, errors: {}, p50_ms: requests, p90_ms: requests, p99_ms: requests, recent_time: []}})`
	got := b.eval(`Promise.all([import("/page/history.js"), import("/page/traffic.js")]).then(([{keepHistory}, {showTraffic}]) => {
		const history = keepHistory(), status = ` + status + `, section = document.createElement("section"), show = showTraffic(section);
		history.add(status([], []));
		show(status([], []), history);
		for (const at of [100, 101, 105]) history.add(status([at], [7]));
		return section.innerText.includes("NaN") + " " + JSON.stringify([history.traffic().time, history.traffic().requests, history.traffic().statuses["2xx"]]);
	})`)
	if want := "false [[100,101,104,105],[7,7,null,7],[7,7,null,7]]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	got = b.eval(`Promise.all([import("/page/history.js"), import("/page/traffic.js")]).then(([{keepHistory}, {showTraffic}]) => {
		const history = keepHistory(), status = (` + status + `)([100], [7]), section = document.createElement("section");
		status.history.errors = {limited: [3], too_many_in_flight: [4], no_backend: [2]};
		history.add(status);
		showTraffic(section)(status, history);
		return [...section.querySelectorAll(".now div")].map(d => d.textContent).filter(text => /^(Rej|Err)/.test(text)).join();
	})`)
	if want := "Rejected a second7,Errors a second2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	got = b.eval(`import("/page/chart.js").then(({chart}) => {
		const drawn = alone => {
			const made = chart({name: "a", unit: "b", sync: "c", lasting: 60});
			made.update([1, 2, 3, 4, 5], [{name: "a", values: [9, 9, null, alone, null]}]);
			return new Promise(done => setTimeout(() => done(made.node.querySelector("canvas").toDataURL()), 100));
		};
		return Promise.all([drawn(null), drawn(5)]).then(([without, with_]) => without !== with_);
	})`)
	if got != "true" {
		t.Error("a value without neighbours is not drawn")
	}
	b.requireNoFaults()
}

// point moves the pointer onto an element, and returns where it is then.
func (b *browser) point(at string) (x, y float64) {
	b.t.Helper()
	place := b.eval(`(r => r.x + 5 + " " + (r.y + 5))(document.querySelector(` + strconv.Quote(at) + `).getBoundingClientRect())`)
	if _, err := fmt.Sscan(place, &x, &y); err != nil {
		b.t.Fatal(err)
	}
	params := input.DispatchMouseEventParams{Type: "mouseMoved", X: x, Y: y}
	if _, err := chromedp.Call(b.ctx, input.DispatchMouseEvent, params); err != nil {
		b.t.Fatal(err)
	}
	return x, y
}

// TestPageHoldsWhatIsAimedAt has a backend go down above another whose button is beneath the pointer: the
// button stays there, though the row above grows.
func TestPageHoldsWhatIsAimedAt(t *testing.T) {
	backends, addresses := pageBackends(t)
	in := startInstance(t, testConfig(t, addresses))
	b := openPage(t, in.management)
	drain := "Drain " + addresses[1]
	b.await(`document.querySelector("[aria-label='` + drain + `']")`)
	b.eval(`document.body.style.paddingBottom = "100rem"`) // so that there is room to scroll
	x, y := b.point("[aria-label='" + drain + "']")
	backends[0].Close()
	b.await(rowOf(addresses[0]) + `?.innerText.includes("connection refused")`)
	if got := b.eval(fmt.Sprintf(`document.elementFromPoint(%v, %v).ariaLabel`, x, y)); got != drain {
		t.Errorf("beneath the pointer is %q, want %q", got, drain)
	}
	b.requireNoFaults()
}

// TestTableHoldsItsOrder has rows that change places while the pointer is over them: they do so when it
// has left, so that a click hits the row that was aimed at.
func TestTableHoldsItsOrder(t *testing.T) {
	in := startInstance(t, testConfig(t, freeAddresses(t, 1)), "--demo")
	b := openPage(t, in.management)
	b.shows("Live")
	b.eval(`import("/page/table.js").then(({table}) => {
		window.made = table({caption: "T", key: r => r, columns: [{label: "Row", show: r => [r]}]});
		made.node.id = "made";
		document.body.prepend(made.node);
		made.update(["a", "b"]);
	})`)
	order := func(update string) string {
		return b.eval("made.update(" + update + `), [...document.querySelectorAll("#made tbody tr")].map(r => r.textContent).join(" ")`)
	}
	b.point("#made tbody")
	if got := order(`["c", "b", "a"]`); got != "a b c" {
		t.Errorf("beneath the pointer: %s", got)
	}
	b.point("#made h3")
	if got := order(`["c", "b", "a"]`); got != "c b a" {
		t.Errorf("without the pointer: %s", got)
	}
}
