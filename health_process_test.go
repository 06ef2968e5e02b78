package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// testCheckCauses has three backends that fail their checks each in its own way, one of which then
// fails in another.
func testCheckCauses(t *testing.T, built programs) {
	addresses := freeAddresses(t, 3)
	backends := startBackends(t, built, addresses)
	unwell := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }))
	t.Cleanup(unwell.Close)
	config := testConfig(t, append(addresses, strings.TrimPrefix(unwell.URL, "http://")))
	lb, _ := startLB(t, built, strings.Replace(config, "interval: 50ms", "interval: 50ms, timeout: 500ms", 1))
	management := "http://" + lb.stdout.find("management")["listen"].(string)
	var causes []string
	require := func(want ...string) {
		t.Helper()
		waitFor(t, fmt.Sprintf("the causes %q", want), func() bool {
			a := call(t, "POST", management+"/v1/api/explain", `{"url":"/"}`)
			var got struct {
				Pool struct {
					Backends []struct{ State, Cause string }
				}
			}
			if err := json.Unmarshal([]byte(a.body), &got); err != nil {
				t.Fatal(err)
			}
			causes = nil
			for _, b := range got.Pool.Backends {
				causes = append(causes, strings.TrimSpace(b.State+" "+b.Cause))
			}
			return slices.Equal(causes, want)
		})
	}
	require("up", "up", "up", "down wrong_status")
	backends[0].signal(t, syscall.SIGSTOP)
	backends[1].signal(t, syscall.SIGKILL)
	require("down no_answer", "down refused", "up", "down wrong_status")
	unwell.Close()
	backends[0].signal(t, syscall.SIGCONT)
	require("up", "down refused", "up", "down refused")
}

// TestReloadAddsBrokenBackend adds a backend under load that answers everything with 500, and its
// checks late: no request gets there before its first check has ended.
func TestReloadAddsBrokenBackend(t *testing.T) {
	var requests atomic.Int64
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			time.Sleep(200 * time.Millisecond)
		} else {
			requests.Add(1)
		}
		w.WriteHeader(500)
	}))
	t.Cleanup(broken.Close)
	backends := freeAddresses(t, 2)
	in := startInstance(t, strings.Replace(testConfig(t, backends, "limiter: {enabled: false}"), "interval: 50ms", "interval: 50ms, timeout: 1m", 1), "--demo")
	sent, _, end := sendUntilEnd(t, in.proxy)
	waitFor(t, "requests", func() bool { return sent.Load() > 10 })
	last := "      - url: http://" + backends[1] + "\n"
	in.reload(t, last, last+"      - url: "+broken.URL+"\n")
	waitFor(t, "the broken backend to be out", func() bool { return in.log.find("backend is out") != nil })
	before := sent.Load()
	waitFor(t, "more requests", func() bool { return sent.Load() > before+100 })
	end()
	if n := requests.Load(); n > 0 {
		t.Errorf("%d requests got to the backend that does not work", n)
	}
}
