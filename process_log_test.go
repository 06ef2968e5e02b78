package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// requireServed sends requests, each of which leaves a line in the log.
func requireServed(t *testing.T, url string, requests int) {
	t.Helper()
	for i := range requests {
		if a := call(t, "GET", fmt.Sprintf("%s/%d", url, i), ""); a.status != 200 {
			t.Fatalf("request %d got %+v", i, a)
		}
	}
}

// startLogging starts a balancer whose log has a line for each request, and returns the URLs of its
// listeners.
func startLogging(t *testing.T, built programs, backend, shutdown string, stdout, stderr io.Writer) (p *process, url, management string) {
	t.Helper()
	listen := freeAddresses(t, 2)
	config := testConfig(t, []string{backend},
		"server:\n  listen: "+listen[0]+"\n  shutdown_timeout: "+shutdown+"\n",
		"management:\n  listen: "+listen[1]+"\n",
		"limiter:\n  enabled: false\nlog:\n  level: error\n  access: all\n")
	p = startProcessTo(t, stdout, stderr, built.lb, "--path="+writeConfig(t, config))
	url, management = "http://"+listen[0], "http://"+listen[1]
	waitFor(t, "the balancer", func() bool {
		a, err := tryCall("GET", management+"/readyz", "")
		return err == nil && a.status == 200
	})
	return p, url, management
}

// droppedLines is what the metrics say.
func droppedLines(t *testing.T, management string) (n int) {
	t.Helper()
	text := call(t, "GET", management+"/metrics", "").body
	const declared = "# TYPE lb_log_dropped_total counter\nlb_log_dropped_total "
	_, value, found := strings.Cut(text, declared)
	if _, err := fmt.Sscan(value, &n); !found || err != nil || !strings.Contains(text, "# HELP lb_log_dropped_total ") {
		t.Fatalf("lb_log_dropped_total: %v", err)
	}
	return n
}

// exitCode waits for the end. A process that a signal has ended has -1.
func (p *process) exitCode(t *testing.T, within time.Duration) int {
	t.Helper()
	select {
	case <-p.ended:
		return p.ProcessState.ExitCode()
	case <-time.After(within):
		t.Fatalf("it has not ended after %s", within)
		return 0
	}
}

func testLogReaderGone(t *testing.T, built programs) {
	t.Run("stdout", func(t *testing.T) {
		backend, _, _ := slowBackend(t)
		r, w := logPipe(t)
		stderr := &journal{}
		p, url, management := startLogging(t, built, backend, "10s", w, stderr)
		w.Close()
		r.Close()
		requireServed(t, url, 20)
		waitFor(t, "the lines to be counted", func() bool { return droppedLines(t, management) >= 20 })
		p.signal(t, syscall.SIGTERM)
		if code := p.exitCode(t, deadline); code != 0 || stderr.String() != "" {
			t.Errorf("exit code %d, stderr %q", code, stderr)
		}
	})
	t.Run("stderr", func(t *testing.T) {
		r, w := logPipe(t)
		r.Close()
		p := startProcessTo(t, w, w, built.lb, "--path=missing.yaml")
		if code := p.exitCode(t, deadline); code != exitUsage {
			t.Errorf("exit code %d, want %d", code, exitUsage)
		}
	})
}

// The log is not read, and stderr goes the same way: as with docker logs, or 2>&1.
func testLogReaderStalled(t *testing.T, built programs) {
	const requests = 100 // with more lines than the pipe holds
	type stalled struct {
		*process
		url       string
		log       *os.File
		getSlowly func() // starts a request that does not end
	}
	begin := func(t *testing.T, shutdown string) stalled {
		backend, arrived, release := slowBackend(t)
		r, w := logPipe(t)
		p, url, management := startLogging(t, built, backend, shutdown, w, w)
		w.Close()
		requireServed(t, url, requests)
		if a := call(t, "POST", management+"/v1/api/clients/", `{"ip_address":"192.0.2.1","capacity":5,"rate_per_second":1}`); a.status != 201 {
			t.Errorf("the API answers %+v", a)
		}
		if n := droppedLines(t, management); n != 0 {
			t.Errorf("%d lines were dropped, all of which fit", n)
		}
		return stalled{p, url, r, func() {
			answered := getSlow(url, arrived)
			t.Cleanup(func() { release(); <-answered })
		}}
	}
	t.Run("to the end", func(t *testing.T) {
		p := begin(t, "10s")
		p.signal(t, syscall.SIGTERM)
		if code := p.exitCode(t, logGrace+2*time.Second); code != 0 {
			t.Errorf("exit code %d", code)
		}
	})
	t.Run("until the end", func(t *testing.T) {
		p := begin(t, "10s")
		log := &journal{}
		read := make(chan bool)
		go func() {
			_, _ = io.Copy(log, p.log)
			close(read)
		}()
		p.signal(t, syscall.SIGTERM)
		if code := p.exitCode(t, deadline); code != 0 {
			t.Errorf("exit code %d", code)
		}
		<-read
		if messages := log.messages(t); !slices.Equal(messages, slices.Repeat([]string{"request"}, requests)) {
			t.Errorf("the messages are %q, want those of %d requests", messages, requests)
		}
	})
	t.Run("to the end, with an error", func(t *testing.T) {
		p := begin(t, "1s")
		p.getSlowly()
		p.signal(t, syscall.SIGTERM)
		if code := p.exitCode(t, time.Second+logGrace+patience+2*time.Second); code != exitFailed {
			t.Errorf("exit code %d, want %d", code, exitFailed)
		}
	})
	t.Run("to a second signal", func(t *testing.T) {
		p := begin(t, "1h")
		p.getSlowly()
		p.signal(t, syscall.SIGTERM)
		waitFor(t, "the listener to close", func() bool {
			_, err := tryCall("GET", p.url, "")
			return err != nil
		})
		p.signal(t, syscall.SIGTERM)
		if code := p.exitCode(t, time.Second); code != exitFailed {
			t.Errorf("exit code %d, want %d", code, exitFailed)
		}
	})
}

// What was logged before the start failed comes before the error.
func testLogBeforeFailure(t *testing.T, built programs) {
	both, held := &journal{}, listenLoopback(t).Addr().String()
	p := startProcessTo(t, both, both, built.lb, "--path="+writeConfig(t, testConfig(t, freeAddresses(t, 1), "server:\n  listen: "+held+"\n")))
	if code := p.exitCode(t, takeoverWait+deadline); code != exitFailed {
		t.Errorf("exit code %d, want %d", code, exitFailed)
	}
	before, failure, _ := strings.Cut(both.String(), "lb: server.listen")
	if !strings.Contains(before, "waiting for a port") || !strings.HasSuffix(before, "}\n") || strings.Contains(failure, "{") {
		t.Errorf("stdout and stderr:\n%s", both)
	}
}

func testHangup(t *testing.T, built programs) {
	address, arrived, release := slowBackend(t)
	p, url := startLB(t, built, testConfig(t, []string{address}))
	answered := getSlow(url, arrived)
	for range 2 {
		p.signal(t, syscall.SIGHUP)
	}
	waitFor(t, "the line of SIGHUP", func() bool {
		line := p.stdout.find("the config file is as it was: nothing is reloaded")
		return line != nil && line["cause"] == "SIGHUP"
	})
	release()
	if a := <-answered; a.status != 200 {
		t.Errorf("the request that was under way got %+v", a)
	}
	p.signal(t, syscall.SIGTERM)
	p.requireExit(t, 0)
	if messages := p.stdout.messages(t); !slices.Equal(messages[len(messages)-4:], []string{"shutting down", "draining", "counters", "stopped"}) {
		t.Errorf("the messages are %q", messages)
	}
}

// A tunnel that is cut is no failure, but the log tells of it.
func testTunnelAtTheEnd(t *testing.T, built programs) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			return
		}
		conn, in, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: talk\r\n\r\n")
		_, _ = io.Copy(conn, in)
	}))
	defer backend.Close()
	p, url := startLB(t, built, testConfig(t, []string{backend.Listener.Addr().String()}, "server:\n  listen: 127.0.0.1:0\n  shutdown_timeout: 100ms\nlog:\n  access: all\n"))
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: talk\r\n\r\nhello")
	in := bufio.NewReader(conn)
	if res, err := http.ReadResponse(in, nil); err != nil || res.StatusCode != 101 {
		t.Fatalf("got %v, %v", res, err)
	}
	_, _ = io.ReadFull(in, make([]byte, len("hello")))
	p.signal(t, syscall.SIGTERM)
	p.requireExit(t, 0)
	messages := p.stdout.messages(t)
	want := []string{"shutting down", "draining", "cut what was still running at the shutdown timeout", "request", "counters", "stopped"}
	if !slices.Equal(messages[len(messages)-len(want):], want) {
		t.Errorf("the messages are %q, want %q at the end", messages, want)
	}
	for _, message := range want[1:3] {
		if line := p.stdout.find(message); line["requests"] != 0.0 || line["tunnels"] != 1.0 {
			t.Errorf("the log has %v", line)
		}
	}
	if line := p.stdout.find("request"); line["status"] != 101.0 || line["duration_ms"].(float64) < 100 {
		t.Errorf("the log has %v", line)
	}
}
