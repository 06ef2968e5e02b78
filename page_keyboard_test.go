package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// The modifiers of Tab, by its way through the page.
const forth, back = kb.ModifierNone, kb.ModifierShift

// press presses keys.
func (b *browser) press(keys string, options ...chromedp.KeyOption) {
	b.t.Helper()
	b.do(chromedp.KeyEvent(keys, options...))
}

// tab moves the focus.
func (b *browser) tab(way chromedp.Modifier) {
	b.t.Helper()
	b.press(kb.Tab, chromedp.KeyModifiers(way))
}

// focused returns the name of the element that has the focus, as a screen reader would say it.
func (b *browser) focused() string {
	b.t.Helper()
	return b.eval(`(e => e === document.body ? "" : e.getAttribute("aria-label") || e.labels?.[0]?.textContent.trim() || e.textContent.trim())(document.activeElement)`)
}

// requireFocusShown checks that the element with the focus has an outline, is in view, and is not
// beneath another one. What comes between the focus and the look may move it: it then gets the focus
// once more, from where Tab came.
func (b *browser) requireFocusShown(way chromedp.Modifier) {
	b.t.Helper()
	fault := b.focusFault()
	if fault != "" {
		b.tab(forth + back - way)
		b.tab(way)
		fault = b.focusFault()
	}
	if fault != "" {
		b.t.Error(fault)
	}
}

func (b *browser) focusFault() string {
	b.t.Helper()
	return b.eval(`(e => {
		const style = getComputedStyle(e), r = e.getClientRects()[0], name = e.outerHTML.slice(0, 100);
		if (style.outlineStyle === "none" || !(parseFloat(style.outlineWidth) > 0)) return "no outline: " + name;
		const top = r.height > innerHeight - 200 ? Math.max(r.top, 100) : r.top; // one that is too large shows a part
		if (top < -1 || r.left < 0 || r.left >= innerWidth || Math.min(r.bottom, top + 40) > innerHeight + 1) return "not in view: " + name + JSON.stringify(r);
		const above = document.elementFromPoint(r.left + Math.min(r.width / 2, 20), top + Math.min(r.height / 2, 20));
		return e.contains(above) || above?.contains(e) ? "" : "beneath " + above?.outerHTML.slice(0, 100) + ": " + name;
	})(document.activeElement)`)
}

// tabTo moves the focus to the element with a name, by Tab alone.
func (b *browser) tabTo(name string, way chromedp.Modifier) {
	b.t.Helper()
	var passed []string
	for range 100 {
		b.tab(way)
		at := b.focused()
		if at != "" {
			b.requireFocusShown(way)
		}
		if passed = append(passed, at); at == name {
			return
		}
	}
	b.t.Fatalf("Tab does not lead to %q, but to %q", name, passed)
}

// requireFocusStays checks that updates leave the focus to the element that has it.
func (b *browser) requireFocusStays(name string) {
	b.t.Helper()
	b.eval("window.before = document.activeElement")
	time.Sleep(3 * time.Second) // as many updates
	if b.eval("before === document.activeElement") != "true" || b.focused() != name {
		b.t.Errorf("the focus is no longer at %q, but at %q", name, b.focused())
	}
}

// TestPageWorksByKeyboard drains, sorts, and edits a limit without a mouse.
func TestPageWorksByKeyboard(t *testing.T) {
	_, addresses := pageBackends(t)
	in := startInstance(t, testConfig(t, addresses))
	call(t, "POST", in.management+"/v1/api/clients/", `{"ip_address":"127.0.0.1","capacity":4,"rate_per_second":0.001}`)
	for range 6 {
		call(t, "GET", in.proxy+"/", "")
	}
	first, last := "Drain "+addresses[0], "Drain "+addresses[1]
	b := openPage(t, in.management)
	b.await(rowOf("127.0.0.1") + " && " + rowOf(addresses[1]))

	b.tab(forth)
	b.requireFocusShown(forth)
	if got := b.focused(); got != "Skip to the content" {
		t.Errorf("the first Tab leads to %q", got)
	}
	b.press(kb.Enter)
	b.await(`document.activeElement.id === "main"`)

	b.tabTo(first, forth)
	b.press(kb.Enter)
	b.shows(addresses[0] + " in main is drained")
	b.await(fmt.Sprintf(`document.activeElement.getAttribute("aria-label") === "Resume %s"`, addresses[0]))
	b.tabTo(last, forth)
	b.press(kb.Enter)
	b.await(`document.querySelector("dialog")?.contains(document.activeElement)`)
	b.requireFocusShown(forth)
	b.press(kb.Escape)
	b.await(`!document.querySelector("dialog")`)
	b.requireFocusStays(last)
	if a := call(t, "GET", in.management+"/v1/api/backends/main/"+addresses[1], ""); !strings.Contains(a.body, `"state":"up"`) {
		t.Errorf("after Escape: %s", a.body)
	}

	b.tabTo("Requests", back)
	for _, order := range []string{"descending", "ascending", "descending"} {
		b.press(kb.Enter)
		if got := b.eval(`document.activeElement.closest("th").ariaSort`); got != order {
			t.Errorf("the order is %s, not %s", got, order)
		}
	}

	b.tabTo("Weight of "+addresses[1]+": 1", forth)
	b.press(kb.Enter)
	b.await(`document.activeElement.value === "1"`)
	b.press("2")
	b.press(kb.Enter)
	b.shows(addresses[1] + " in main has the weight 2")

	b.tabTo("127.0.0.1", forth)
	b.press(kb.Enter)
	b.await(`document.activeElement.textContent === "Client 127.0.0.1" && document.getElementById("limit-capacity").value === "4"`)
	b.requireFocusShown(forth)
	b.tabTo("Capacity (burst)", forth)
	b.press("50") // what is in a field is selected
	b.press(kb.Enter)
	b.shows("127.0.0.1: capacity 50, 0.001 a second")
	b.requireFocusStays("Capacity (burst)")

	// The backend that takes requests moves to the top of those sorted.
	b.tabTo(last, back)
	for range 5 {
		call(t, "GET", in.proxy+"/", "")
	}
	b.await(fmt.Sprintf(`document.querySelector("#pools tbody tr").innerText.includes(%q)`, addresses[1]))
	b.requireFocusStays(last)
	b.requireNoFaults()
}

// TestPageShowsTheFocus goes through the whole page by Tab and back, from wide to narrow. Nothing moves
// for readers who want no motion.
func TestPageShowsTheFocus(t *testing.T) {
	_, addresses := pageBackends(t)
	in := startInstance(t, testConfig(t, addresses, "limiter:\n  default: {capacity: 1, rate_per_second: 0.001}\n"))
	call(t, "GET", in.proxy+"/", "")
	call(t, "GET", in.proxy+"/", "")
	b := openPage(t, in.management)
	b.click("127.0.0.1")
	b.await(`document.getElementById("limit-capacity").value === "1"`)
	b.eval(`document.querySelectorAll("details").forEach(d => d.open = true)`)
	for _, width := range []int64{1280, 1000, 360} {
		b.do(chromedp.EmulateViewport(width, 700))
		b.eval("import('/page/ask.js').then(m => m.attempt('The weight of 127.0.0.1:12345', () => { throw Error('the load balancer has no such backend: it was removed by the reload') }))")
		seen := map[string]bool{}
		b.tabTo("Skip to the content", forth)
		for range 200 {
			b.tab(forth)
			at := b.focused()
			if at == "" {
				break // after the last
			}
			b.requireFocusShown(forth)
			seen[at] = true
		}
		for range seen {
			b.tab(back)
			if b.focused() != "" {
				b.requireFocusShown(back)
			}
		}
		for _, name := range []string{"Drain " + addresses[1], "Requests", "Weight of " + addresses[0] + ": 1", "127.0.0.1", "Set the limit", "Search"} {
			if !seen[name] {
				t.Errorf("%d pixels: Tab does not lead to %q", width, name)
			}
		}
	}
	enable(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-reduced-motion", Value: "reduce"}}})
	if moving := b.eval(`[...document.querySelectorAll("*")].filter(e => ["", "::before", "::after"].some(part => {
		const s = getComputedStyle(e, part);
		return s.animationName !== "none" || s.transitionDuration.split(", ").some(t => t !== "0s") || s.scrollBehavior === "smooth";
	})).map(e => e.outerHTML.slice(0, 100)).join("\n")`); moving != "" {
		t.Error(moving)
	}
	b.requireNoFaults()
}

// TestPageShowsWholeFigures checks the box that has numbers shown in full, by keyboard.
func TestPageShowsWholeFigures(t *testing.T) {
	in := startInstance(t, testConfig(t, freeAddresses(t, 1)), "--demo")
	call(t, "POST", in.management+"/v1/api/clients/", `{"ip_address":"192.0.2.7","capacity":1234567,"rate_per_second":7654.321}`)
	b := openPage(t, in.management)
	b.shows("Live")
	b.find("192")
	row := rowOf("192.0.2.7") + "?.innerText"
	b.await(row + `.includes("1.23M") && ` + row + `.includes("7.65K")`)
	b.tabTo("Whole figures", back)
	b.press(" ")
	b.await(row + `.includes("1,234,567") && ` + row + `.includes("7,654.321")`)
	b.press(" ")
	b.await(row + `.includes("1.23M")`)
	b.allow("net::ERR_") // the browser logs calls that fail
	in.stop(t)
	b.shows("Stale since")
	b.press(" ")
	b.await(row + `.includes("1,234,567")`)
	b.requireNoFaults()
}
