package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// testReloads has the built binary reload ten times a second while clients send requests on kept
// connections and on new ones: pools, backends, weights, limits and the default limit change. None
// fails, and after a while the process has the goroutines and descriptors of before and, in the long
// form, the memory.
func testReloads(t *testing.T, built programs) {
	reloads, few := 30, 15 // less than one for each reload
	if *long {
		reloads, few = 300, 5
	}
	backends := freeAddresses(t, 3)
	for _, b := range backends {
		serveBackend(t, b)
	}
	config := testConfig(t, backends, "limiter: {default: {capacity: 900000, rate_per_second: 900000}}")
	p, url := startLB(t, built, config)
	path := strings.TrimPrefix(p.Args[1], "--path=")
	api := "http://" + p.stdout.find("management")["listen"].(string)
	sent, failed, end := sendUntilEnd(t, url)
	time.Sleep(time.Second)
	before := usageOf(t, p, api)
	for i := range reloads {
		time.Sleep(100 * time.Millisecond)
		text := strings.Replace(config, "900000", strconv.Itoa(900000+i), 1)
		switch i % 3 {
		case 0:
			text = strings.Replace(text, "      - url: http://"+backends[i/3%3]+"\n", "", 1)
		case 1:
			text = strings.Replace(text, "pools:\n", fmt.Sprintf("routes: [{path: /x, pool: extra%d}, {pool: main}]\npools:\n  extra%[1]d: {backends: [{url: http://%s}]}\n", i, backends[1]), 1)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if a := call(t, "POST", api+"/v1/api/reload", ""); a.status != 200 {
			t.Fatalf("reload %d: %+v", i, a)
		}
	}
	busy, last := usageOf(t, p, api), time.Now()
	after := busy
	isLess := func() bool {
		return after.goroutines <= before.goroutines+few && after.descriptors <= before.descriptors+few
	}
	for *long && time.Since(last) < 90*time.Second || !isLess() && time.Since(last) < deadline {
		time.Sleep(100 * time.Millisecond)
		after = usageOf(t, p, api)
	}
	end()
	t.Logf("%d requests, %d failed; before %+v, after the last reload %+v, %s later %+v", sent.Load(), failed.Load(), before, busy, time.Since(last).Round(time.Second), after)
	if !isLess() || *long && after.memory > before.memory*1.2+4 {
		t.Error("something is left of the reloads")
	}
}

// usage is what a process takes.
type usage struct {
	goroutines, descriptors int
	memory                  float64 // MiB
}

func usageOf(t *testing.T, p *process, api string) usage {
	t.Helper()
	values := map[string]float64{}
	for line := range strings.Lines(call(t, "GET", api+"/metrics", "").body) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		values[name], _ = strconv.ParseFloat(value, 64)
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return usage{int(values["go_goroutines"]), len(files), values["process_resident_memory_bytes"] / (1 << 20)}
}

// sendUntilEnd has three clients with a kept connection and one without send requests, until end.
func sendUntilEnd(t *testing.T, url string) (sent, failed *atomic.Int64, end func()) {
	sent, failed = new(atomic.Int64), new(atomic.Int64)
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for i := range 4 {
		clients.Go(func() {
			c := &http.Client{Timeout: deadline, Transport: &http.Transport{DisableKeepAlives: i == 0}}
			defer c.CloseIdleConnections()
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
				}
				a, err := c.Post(url, "text/plain", strings.NewReader("body"))
				sent.Add(1)
				if err != nil || a.StatusCode != 200 {
					failed.Add(1)
					t.Errorf("a request got %v, %v", a, err)
				}
				if err == nil {
					_, _ = io.Copy(io.Discard, a.Body)
					a.Body.Close()
				}
			}
		})
	}
	return sent, failed, func() {
		close(stop)
		clients.Wait()
	}
}
