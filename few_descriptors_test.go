package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// testFewDescriptors has 1,000 connections meet a process with 256 file descriptors: idle ones, or
// with a request on each whose client leaves before the response. The clients that it serves by then
// go on being served, since descriptors are kept for the backends; the others wait, which costs
// next to nothing, and are served once there is room.
func testFewDescriptors(t *testing.T, built programs) {
	t.Run("idle", func(t *testing.T) { meetFlood(t, built, "") })
	t.Run("sending", func(t *testing.T) { meetFlood(t, built, "GET / HTTP/1.1\r\nHost: a\r\n\r\n") })
}

func meetFlood(t *testing.T, built programs, request string) {
	const clients, flood = 60, 1000
	backends := freeAddresses(t, 2)
	for _, b := range backends {
		serveBackend(t, b)
	}
	config := writeConfig(t, testConfig(t, backends, "limiter: {enabled: false}"))
	p := startProcess(t, "/bin/sh", "-c", `ulimit -n 256 && exec "$0" "$@"`, built.lb, "--path="+config)
	waitFor(t, "the log line of the proxy", func() bool { return p.stdout.find("proxy") != nil })
	address := p.stdout.find("proxy")["listen"].(string)
	management := "http://" + p.stdout.find("management")["listen"].(string)

	get := func(c *http.Client) error {
		a, err := c.Get("http://" + address + "/")
		if err != nil {
			return err
		}
		defer a.Body.Close()
		if _, err := io.Copy(io.Discard, a.Body); err != nil || a.StatusCode != 200 {
			return fmt.Errorf("status %d, %v", a.StatusCode, err)
		}
		return nil
	}
	stop, connected := make(chan struct{}), sync.WaitGroup{}
	var served sync.WaitGroup
	connected.Add(clients)
	for range clients {
		served.Go(func() {
			c := &http.Client{Timeout: deadline, Transport: &http.Transport{}}
			defer c.CloseIdleConnections()
			for i := 0; ; i++ {
				if err := get(c); err != nil {
					t.Errorf("request %d of a client that is being served: %v", i, err)
				}
				if i == 0 {
					connected.Done()
				}
				select {
				case <-stop:
					return
				case <-time.After(50 * time.Millisecond):
				}
			}
		})
	}
	connected.Wait()

	var flooding []net.Conn
	for range flood {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		flooding = append(flooding, conn)
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
	}
	const watched = 3 * time.Second
	before := cpuSeconds(t, management)
	time.Sleep(watched)
	cores := (cpuSeconds(t, management) - before) / watched.Seconds()
	lines := strings.Count(p.stdout.String(), "no connection can be accepted")
	t.Logf("%.2f cores, %d log lines in %s", cores, lines, watched)
	if cores > 0.5 {
		t.Errorf("it took %.2f cores", cores)
	}
	if most := int(watched.Seconds()) + 2; lines == 0 || lines > most {
		t.Errorf("%d log lines, want 1 to %d", lines, most)
	}

	for _, conn := range flooding {
		conn.Close()
	}
	closed := time.Now()
	if err := get(&http.Client{Timeout: deadline, Transport: &http.Transport{DisableKeepAlives: true}}); err != nil {
		t.Errorf("a client after the flood: %v", err)
	}
	took := time.Since(closed)
	t.Logf("a new client is served %s after the flood", took)
	if took > 2*time.Second { // a SYN that met a full queue is sent again after 1 s
		t.Errorf("it took %s", took)
	}
	close(stop)
	served.Wait()
}

// cpuSeconds returns the CPU time that the process has taken.
func cpuSeconds(t *testing.T, management string) (seconds float64) {
	t.Helper()
	for line := range strings.Lines(call(t, "GET", management+"/metrics", "").body) {
		if value, ok := strings.CutPrefix(line, "process_cpu_seconds_total "); ok {
			if _, err := fmt.Sscan(value, &seconds); err != nil {
				t.Fatal(err)
			}
		}
	}
	return seconds
}
