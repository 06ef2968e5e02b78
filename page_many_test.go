package main

import (
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/chromedp"
)

// manyBackends are as many backends of one server, which keeps no connections.
func manyBackends(t *testing.T, count int) (addresses []string) {
	t.Helper()
	s := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), ReadHeaderTimeout: deadline}
	s.SetKeepAlivesEnabled(false)
	var serving sync.WaitGroup
	t.Cleanup(func() { _ = s.Close(); serving.Wait() })
	for range count {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		serving.Go(func() { _ = s.Serve(ln) })
		addresses = append(addresses, ln.Addr().String())
	}
	return addresses
}

// callFrom sends requests from as many loopback addresses, of which all have some when it returns, and
// more come until the test ends.
func callFrom(t *testing.T, url string, count int) {
	t.Helper()
	get := func(i int) {
		dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(i+1))}, Timeout: deadline}
		c := &http.Client{Timeout: deadline, Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}}
		if r, err := c.Get(url); err != nil {
			t.Error(err)
		} else {
			_ = r.Body.Close()
		}
	}
	for i := range 3 * count {
		get(i % count)
	}
	ended := make(chan struct{})
	var calling sync.WaitGroup
	calling.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-ended:
				return
			case <-time.After(5 * time.Millisecond):
				get(i % count)
			}
		}
	})
	t.Cleanup(func() { close(ended); calling.Wait() })
}

// metrics returns the browser's figures of a page, times in seconds and sizes in bytes.
func (b *browser) metrics() map[string]float64 {
	b.t.Helper()
	got, err := chromedp.Call(b.ctx, performance.GetMetrics, cdp.Empty{})
	if err != nil {
		b.t.Fatal(err)
	}
	all := map[string]float64{}
	for _, m := range got.Metrics {
		all[m.Name] = m.Value
	}
	return all
}

// TestPageHoldsManyBackends shows 1,000 backends with traffic and 100 limited clients. The rows are
// there in time, and the updates leave the page's main thread to its reader: each changes the rows in
// view and some of the others, and each row has its turn.
func TestPageHoldsManyBackends(t *testing.T) {
	const backends, clients = 1000, 100
	config := testConfig(t, manyBackends(t, backends), "limiter:\n  default: {capacity: 1, rate_per_second: 1}\n")
	in := startInstance(t, strings.Replace(config, "interval: 50ms", "interval: 1h", 1))
	callFrom(t, in.proxy+"/", clients)

	b := openPage(t, in.management)
	b.await(fmt.Sprintf(`document.querySelectorAll("#pools tbody tr").length === %d`, backends))
	t.Logf("%s ms until the rows are there and laid out", b.eval("document.body.offsetHeight && performance.now().toFixed(0)"))
	b.await(`document.querySelectorAll("#clients tbody tr").length > 0`)
	b.eval(`window.changed = [], new MutationObserver(all => changed.push(new Set(all.map(m => m.target.closest("tr")).filter(row => row))))
		.observe(document.querySelector("#pools tbody"), {subtree: true, childList: true, attributes: true})`) // once an update

	enable(b, performance.Enable, performance.EnableParams{})
	b.requireIdle("in the order of the config")
	b.click("Requests")
	b.requireIdle("sorted by what changes")
	if most, err := strconv.Atoi(b.eval("Math.max(...changed.map(rows => rows.size))")); err != nil || most > 250 {
		t.Errorf("an update changed %d rows", most)
	}
	if all := b.eval("changed.reduce((all, rows) => all.union(rows)).size"); all != strconv.Itoa(backends) {
		t.Errorf("%s updates changed only %s rows", b.eval("changed.length"), all)
	}
	b.requireNoFaults()
}

// requireIdle measures a page for some seconds, in each of which it gets a status. Its main thread
// may take no more than a part of the CPU time of a core.
func (b *browser) requireIdle(what string) {
	b.t.Helper()
	const seconds, most = 8, 300
	before := b.metrics()
	time.Sleep(seconds * time.Second)
	after := b.metrics()
	milliseconds := func(name string) float64 { return 1000 * (after[name] - before[name]) / seconds }
	b.t.Logf("%s: the main thread takes %.0f ms of CPU time a second: %.0f ms pass, %.0f of them with layout; the heap has %.1f MB", what,
		milliseconds("ThreadTime"), milliseconds("TaskDuration"), milliseconds("LayoutDuration"), after["JSHeapUsedSize"]/1e6)
	if took := milliseconds("ThreadTime"); took > most {
		b.t.Errorf("%s: the main thread takes %.0f ms of CPU time a second, more than %d", what, took, most)
	}
}
