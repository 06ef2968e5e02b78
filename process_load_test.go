package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func testBackendKilled(t *testing.T, built programs) {
	const requests, connections = 3000, 8
	addresses := freeAddresses(t, 10)
	backends := startBackends(t, built, addresses)
	victim := backends[len(backends)-1]
	config := testConfig(t, addresses, "management:\n  listen: ''\nlimiter:\n  enabled: false\n")
	// Health checks that come too late leave it to the retries.
	_, url := startLB(t, built, strings.Replace(config, "interval: 50ms", "interval: 1h", 1))

	load := &http.Client{Timeout: deadline, Transport: &http.Transport{MaxIdleConnsPerHost: connections}}
	defer load.CloseIdleConnections()
	var sent, fromVictim atomic.Int64
	killed := make(chan bool)
	var wg sync.WaitGroup
	for range connections {
		wg.Go(func() {
			for n := sent.Add(1); n <= requests; n = sent.Add(1) {
				if n == requests/3 {
					victim.signal(t, syscall.SIGKILL)
					<-victim.ended
					close(killed)
				}
				res, err := load.Get(url)
				if err != nil {
					t.Error(err)
					continue
				}
				_, err = io.Copy(io.Discard, res.Body)
				res.Body.Close()
				if err != nil || res.StatusCode != 200 {
					t.Errorf("request %d: %d, %v", n, res.StatusCode, err)
				}
				if res.Header.Get("X-Backend") == addresses[len(addresses)-1] {
					fromVictim.Add(1)
				}
			}
		})
	}
	wg.Wait()
	<-killed
	if n := fromVictim.Load(); n < requests/3/10/2 || n > requests/10*2/3 {
		t.Errorf("%d of %d requests were answered by the backend that was killed after a third of them", n, requests)
	}
}

func testTimeToFirstResponse(t *testing.T, built programs) {
	listen := freeAddresses(t, 2)
	config := writeConfig(t, testConfig(t, listen[1:], "server:\n  listen: "+listen[0]+"\n"))
	begun := time.Now()
	startProcess(t, built.lb, "--path="+config, "--demo")
	waitFor(t, "the first response", func() bool {
		a, err := tryCall("GET", "http://"+listen[0]+"/", "")
		return err == nil && a.status == 200
	})
	took := time.Since(begun)
	t.Logf("from the start to the first response: %s", took)
	if took > 2*time.Second {
		t.Errorf("it took %s", took)
	}
}

// Idle connections may use up all file descriptors, or those of their listener: that must not end the
// process.
func testOutOfDescriptors(t *testing.T, built programs) {
	const descriptors = 50
	for _, listener := range []string{"proxy", "management", "demo backend"} {
		t.Run(listener, func(t *testing.T) {
			backends := freeAddresses(t, 1)
			config := writeConfig(t, testConfig(t, backends))
			p := startProcess(t, "/bin/sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, descriptors), built.lb, "--path="+config, "--demo")
			waitFor(t, "the log line of the proxy", func() bool { return p.stdout.find("proxy") != nil })
			address := func(of string) string {
				if of == "demo backend" {
					return backends[0]
				}
				return p.stdout.find(of)["listen"].(string)
			}

			var idle []net.Conn
			for range descriptors {
				conn, err := net.Dial("tcp", address(listener))
				if err != nil {
					t.Fatal(err)
				}
				idle = append(idle, conn)
			}
			if listener == "management" { // it has no more than its part, so that the traffic has descriptors left
				if a := call(t, "GET", "http://"+address("proxy")+"/", ""); a.status != 200 {
					t.Errorf("a request got %d", a.status)
				}
			} else {
				waitFor(t, "the log line", func() bool { return strings.Contains(p.stdout.String(), "no connection can be accepted") })
			}
			for _, conn := range idle {
				conn.Close()
			}
			waitFor(t, "both listeners", func() bool {
				proxied, _ := tryCall("GET", "http://"+address("proxy")+"/", "")
				managed, _ := tryCall("GET", "http://"+address("management")+"/healthz", "")
				return proxied.status == 200 && managed.status == 200
			})
			p.signal(t, syscall.SIGTERM)
			p.requireExit(t, 0)
		})
	}
}
