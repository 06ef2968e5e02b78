package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// testRestartUnderLoad has processes take over from each other while clients send requests on kept
// connections and on new ones. Between two of them the system refuses to connect. No request on a
// kept connection fails. On a new one, a client whose handshake takes longer than the listener waits
// for it as it closes believes that it is connected, and is reset: that may happen once.
func testRestartUnderLoad(t *testing.T, built programs) {
	restartUnderLoad(t, built, "http://", "", &http.Transport{})
}

// testSecureRestartUnderLoad is testRestartUnderLoad with TLS.
func testSecureRestartUnderLoad(t *testing.T, built programs) {
	e := newEdge(t)
	restartUnderLoad(t, built, "https://", "  tls: {certificates: ["+e.write("a", "localhost")+"]}\n", e.transport())
}

// testHTTP2RestartUnderLoad is testSecureRestartUnderLoad in HTTP/2, and with a reload by signal
// before each restart.
func testHTTP2RestartUnderLoad(t *testing.T, built programs) {
	e := newEdge(t)
	transport := e.transport()
	transport.ForceAttemptHTTP2 = true
	restartUnderLoad(t, built, "https://", "  tls: {certificates: ["+e.write("a", "localhost")+"]}\n", transport)
}

func restartUnderLoad(t *testing.T, built programs, scheme, server string, transport *http.Transport) {
	addresses := freeAddresses(t, 3)
	serveBackend(t, addresses[0])
	path := writeConfig(t, testConfig(t, addresses[:1], "server:\n  listen: "+addresses[1]+"\n"+server+"management:\n  listen: "+addresses[2]+"\nlimiter: {enabled: false}\n"))
	start := func() *process { return startProcess(t, built.lb, "--path="+path) }
	serving := func(p *process) {
		t.Helper()
		waitFor(t, "a process to serve", func() bool { return p.stdout.find("proxy") != nil })
	}
	p := start()
	serving(p)
	var served, refused, reset, failed atomic.Int64
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for i := range 8 {
		clients.Go(func() {
			own := transport.Clone()
			own.DisableKeepAlives = i > 1
			c := &http.Client{Timeout: deadline, Transport: own}
			defer c.CloseIdleConnections()
			for {
				select {
				case <-stop:
					return
				default:
				}
				kept := false
				trace := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(got httptrace.GotConnInfo) { kept = got.Reused }})
				request, err := http.NewRequestWithContext(trace, "POST", scheme+addresses[1], strings.NewReader("body"))
				if err != nil {
					t.Error(err)
					return
				}
				a, err := c.Do(request)
				var network *net.OpError
				switch {
				case errors.As(err, &network) && network.Op == "dial":
					refused.Add(1)
				case err != nil && !kept:
					reset.Add(1)
					t.Logf("a request on a new connection got %v", err)
				case err != nil || a.StatusCode != 200 || transport.ForceAttemptHTTP2 != (a.ProtoMajor == 2):
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
	rounds := 3
	if *long {
		rounds = 20
	}
	for i := range rounds {
		next := start()
		waitFor(t, "the next to wait", func() bool { return next.stdout.find("waiting for a port that another process holds") != nil })
		enough := served.Load() + 500
		waitFor(t, "requests to be served", func() bool { return served.Load() > enough })
		if transport.ForceAttemptHTTP2 {
			reloadOther(t, p, path, fmt.Sprintf("server:\n  idle_timeout: %ds\n", 61+i))
		}
		p.signal(t, syscall.SIGTERM)
		p.requireExit(t, 0)
		serving(next)
		p = next
	}
	close(stop)
	clients.Wait()
	t.Logf("%d restarts: %d requests were served, %d refused, %d reset, %d failed", rounds, served.Load(), refused.Load(), reset.Load(), failed.Load())
	if reset.Load() > 1 {
		t.Error("more than one were reset")
	}
}

// reloadOther reloads a config by signal, with something else for the head of server.
func reloadOther(t *testing.T, p *process, path, head string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text = regexp.MustCompile(`server:\n(  idle_timeout: .*\n)?`).ReplaceAll(text, []byte(head))
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	p.signal(t, syscall.SIGHUP)
	waitFor(t, "the reload", func() bool { return p.stdout.find("the config was reloaded") != nil })
}
