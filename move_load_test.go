package main

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// testMovesUnderLoad has reloads move the listener between two addresses while clients send requests
// on kept connections and on new ones. An address that was given up may refuse a client; no request
// fails in another way, not even while it connects.
func testMovesUnderLoad(t *testing.T, built programs) {
	addresses := freeAddresses(t, 3)
	serveBackend(t, addresses[0])
	config := testConfig(t, addresses[:1], "server:\n  listen: "+addresses[1]+"\nlimiter: {enabled: false}\n")
	p, _ := startLB(t, built, config)
	path := strings.TrimPrefix(p.Args[1], "--path=")
	api := "http://" + p.stdout.find("management")["listen"].(string)
	var at atomic.Pointer[string]
	at.Store(&addresses[1])
	var served, refused, failed atomic.Int64
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for i := range 8 {
		clients.Go(func() {
			c := &http.Client{Timeout: deadline, Transport: &http.Transport{DisableKeepAlives: i > 1}}
			defer c.CloseIdleConnections()
			for {
				select {
				case <-stop:
					return
				default:
				}
				a, err := c.Post("http://"+*at.Load(), "text/plain", strings.NewReader("body"))
				switch {
				case errors.Is(err, syscall.ECONNREFUSED):
					refused.Add(1)
				case err != nil || a.StatusCode != 200:
					failed.Add(1)
					t.Errorf("a request got %v, %v", a, err)
				default:
					served.Add(1)
					_, _ = io.Copy(io.Discard, a.Body)
					a.Body.Close()
				}
			}
		})
	}
	moves := 20
	if *long {
		moves = 300
	}
	for range moves {
		enough := served.Load() + 100
		waitFor(t, "requests to be served", func() bool { return served.Load() > enough })
		from, to := *at.Load(), addresses[1]
		if from == to {
			to = addresses[2]
		}
		text := strings.Replace(config, "listen: "+addresses[1], "listen: "+to, 1)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if a := call(t, "POST", api+"/v1/api/reload", ""); a.status != 200 {
			t.Fatalf("the reload: %+v", a)
		}
		at.Store(&to)
	}
	close(stop)
	clients.Wait()
	t.Logf("%d moves: %d requests were served, %d refused, %d failed", moves, served.Load(), refused.Load(), failed.Load())
}
