package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"loadbalancer/bench/backend"
)

// demoLasts is how long the traffic of the demo lasts while nothing is written: long enough for
// the page to tell what it should. The pictures show minutes.
const (
	demoLasts    = 4 * time.Second
	picturesLast = 4 * time.Minute
)

// demoConfig has six backends in two pools; the first of them is not the demo's own.
func demoConfig(t *testing.T, addresses []string) string {
	var text strings.Builder
	text.WriteString("server: {listen: '127.0.0.1:0', state: ''}\nmanagement: {listen: '127.0.0.1:0'}\nclients: {store: memory}\n" +
		"limiter: {api_key_header: X-API-Key, default: {capacity: 20, rate_per_second: 5}}\npools:\n  main:\n    health: {path: /healthz, interval: 1s}\n    backends:\n")
	for i, a := range addresses {
		if i == 4 {
			text.WriteString("  reports:\n    balance: least_requests\n    health: {path: /healthz, interval: 1s}\n    backends:\n")
		}
		fmt.Fprintf(&text, "      - {url: 'http://%s', weight: %d}\n", a, 1+i%2)
	}
	text.WriteString("routes:\n  - {path: /reports, pool: reports}\n  - {pool: main}\n")
	return text.String()
}

// demoClient sends requests of one client at a fixed rate until ctx ends.
func demoClient(ctx context.Context, group *sync.WaitGroup, url, key string, rate int) {
	keepAlive := &http.Client{Transport: &http.Transport{}, Timeout: deadline}
	group.Go(func() {
		defer keepAlive.CloseIdleConnections()
		for tick := time.NewTicker(time.Second / time.Duration(rate)); ; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
			if err != nil {
				panic(err)
			}
			r.Header.Set("X-API-Key", key)
			if res, err := keepAlive.Do(r); err == nil {
				_, _ = io.Copy(io.Discard, res.Body) // so that the connection is used again
				res.Body.Close()
			}
		}
	})
}

// TestPageOfADemo has a demo with traffic, of which one backend is killed: the page tells which and
// why, and which client is limited most, whose limit is doubled there. With -update it makes the
// pictures of docs/page.md and the README.
func TestPageOfADemo(t *testing.T) {
	addresses := freeAddresses(t, 6)
	killed, kill := context.WithCancel(t.Context())
	defer kill()
	ln, err := net.Listen("tcp", addresses[1])
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		served <- backend.Serve(killed, ln, backend.Options{Name: "killed", Delay: 3 * time.Millisecond})
	}()

	in := startInstance(t, demoConfig(t, addresses), "--demo")
	for _, client := range []string{
		`{"name":"shop","api_key":"key-of-the-shop","capacity":40,"rate_per_second":30,"labels":{"team":"sales"}}`,
		`{"name":"mobile-app","api_key":"key-of-the-app","capacity":200,"rate_per_second":60}`,
		`{"name":"partner","api_key":"key-of-a-partner","capacity":10,"rate_per_second":8}`,
	} {
		if a := call(t, "POST", in.management+"/v1/api/clients/", client); a.status != 201 {
			t.Fatal(a.body)
		}
	}
	var group sync.WaitGroup
	defer group.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	demoClient(ctx, &group, in.proxy+"/", "key-of-the-shop", 45)
	demoClient(ctx, &group, in.proxy+"/", "key-of-the-app", 40)
	demoClient(ctx, &group, in.proxy+"/reports/", "key-of-a-partner", 10)

	b := openPage(t, in.management)
	lasts := demoLasts
	if *update {
		lasts = picturesLast
	}
	time.Sleep(lasts / 3)
	b.await(`document.querySelector("#clients tbody button")?.textContent === "shop"`) // it is limited most
	b.click("shop")
	time.Sleep(lasts / 3)
	b.eval(`document.getElementById("limit-capacity").value = 80`)
	b.eval(`document.getElementById("limit-rate").value = 60`)
	b.click("Set the limit")
	b.shows("shop: capacity 80, 60 a second; before, capacity 40, 30 a second")
	time.Sleep(lasts / 3)
	kill()
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	b.shows("3 of 4 backends in; out: http://" + addresses[1])
	b.await(rowOf(addresses[1]) + `?.innerText.includes("connection refused")`)
	b.await(`document.querySelector("#one dl").innerText.includes("60 a second")`)
	time.Sleep(lasts / 20)
	writePictures(t, b)
	b.requireNoFaults()
}

// writePictures makes the pictures of docs/page.md and the README.
func writePictures(t *testing.T, b *browser) {
	if !*update {
		return
	}
	b.eval(`document.querySelectorAll("#said button").forEach(e => e.click())`)
	for _, p := range []struct {
		name, scheme, section string
		width, height         int64
	}{
		{"page", "light", "traffic", 1280, 960},
		{"client", "light", "clients", 1280, 860},
		{"phone", "dark", "pools", 360, 780},
	} {
		b.prefer(p.scheme)
		b.do(chromedp.EmulateViewport(p.width, p.height))
		b.eval(fmt.Sprintf("document.getElementById(%q).scrollIntoView()", p.section))
		time.Sleep(1500 * time.Millisecond) // the charts are drawn anew with the next status
		png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
		if err != nil {
			t.Fatal(err)
		}
		if err = os.WriteFile("docs/page/"+p.name+".png", png, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
