package main

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// axe is the script that finds faults of accessibility, of the npm package axe-core.
func axe(t *testing.T) string {
	t.Helper()
	file, err := os.Open("testdata/axe/axe.min.js.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unpacked, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(unpacked)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestPageIsAccessible looks for serious faults in light and dark, at 360 and 1280 pixels, with
// traffic, a dead backend, a limited client that is opened, and figures that are shown, and then with
// a question. Nothing is wider than the page.
func TestPageIsAccessible(t *testing.T) {
	backends, addresses := pageBackends(t)
	in := startInstance(t, testConfig(t, addresses))
	call(t, "POST", in.management+"/v1/api/clients/", `{"ip_address":"127.0.0.1","capacity":20,"rate_per_second":5,"trial":{"capacity":5,"rate_per_second":1}}`)
	b := openPage(t, in.management)
	backends[0].Close()
	for range 40 {
		call(t, "GET", in.proxy+"/", "")
		time.Sleep(50 * time.Millisecond) // traffic for some seconds of the charts
	}
	b.click("127.0.0.1")
	b.shows("On trial: capacity 5")
	b.eval(`document.querySelectorAll("details").forEach(d => d.open = true)`)
	eachLook(t, b, func(name string) { writeShot(t, name+".png", b.picture()) })
	b.click("Drain " + addresses[1])
	b.shows("requests of the pool main get 503")
	eachLook(t, b, func(name string) { writeShot(t, "question-"+name+".png", b.picture()) })
	b.requireNoFaults()
}

// TestLogInIsAccessible looks at the form after a wrong token.
func TestLogInIsAccessible(t *testing.T) {
	in := startInstance(t, testConfig(t, freeAddresses(t, 1), pageTokens), "--demo")
	b := openPage(t, in.management)
	b.allow("the server responded with a status of 401")
	b.logIn("none-of-those")
	b.shows("The log-in failed")
	eachLook(t, b, func(name string) { writeShot(t, "log-in-"+name+".png", b.picture()) })
	b.requireNoFaults()
}

// eachLook calls look for light and dark, at 360 and 1280 pixels, after it has looked for serious
// faults, and for what is wider than the page.
func eachLook(t *testing.T, b *browser, look func(name string)) {
	script := axe(t)
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{360, 1280} {
			name := fmt.Sprintf("%s-%d", scheme, width)
			b.prefer(scheme)
			b.do(chromedp.EmulateViewport(width, 900))
			b.do(chromedp.Evaluate[chromedp.Void](script))
			found := b.eval(`axe.run({resultTypes: ["violations"]}).then(r => r.violations.filter(v => v.impact === "serious" || v.impact === "critical")
				.map(v => v.id + ": " + v.nodes.map(n => n.html.slice(0, 150) + " " + n.failureSummary).join(" | ")).join("\n"))`)
			if found != "" {
				t.Errorf("%s: %s", name, found)
			}
			if wide := b.eval("document.documentElement.scrollWidth"); wide != fmt.Sprint(width) {
				t.Errorf("%s: the page is %s pixels wide, for %s", name, wide, b.eval(`[...document.querySelectorAll("main *")].filter(e =>
					e.getBoundingClientRect().right > innerWidth && !e.closest(".scroll")).map(e => e.outerHTML.slice(0, 80)).join("\n")`))
			}
			b.eval("scrollTo(0, 0)")
			look(name)
		}
	}
}

// TestReportInABrowser has the page that bench --report writes: it is whole by itself.
func TestReportInABrowser(t *testing.T) {
	_, addresses := pageBackends(t)
	dir := t.TempDir()
	bench := exec.Command("go", "run", "./bench", "--url=http://"+addresses[0]+"/", "--duration=2s", "--rate=100", "--report="+dir+"/index.html")
	if out, err := bench.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	pages := httptest.NewServer(http.FileServer(http.Dir(dir)))
	t.Cleanup(func() { pages.CloseClientConnections(); pages.Close() })
	b := openPage(t, pages.URL)
	b.allow("/favicon.ico")
	b.await(`document.querySelectorAll("svg").length > 0 && document.querySelectorAll("table").length > 0`)
	eachLook(t, b, func(name string) { writeShot(t, "report-"+name+".png", b.picture()) })
	b.requireNoFaults()
}
