package main

import (
	"net/http"
	"testing"
)

// TestReloadOfProtocols switches HTTP/2 on and off, over TLS and in the clear. A connection that is
// open keeps its protocol; a new one goes by the new config.
func TestReloadOfProtocols(t *testing.T) {
	addresses := freeAddresses(t, 3)
	serveBackend(t, addresses[0])
	e := newEdge(t)
	in := startInstance(t, testConfig(t, addresses[:1], "server:\n  listen: "+addresses[1]+"\n  http2: true\n  h2c: true\n  tls: {listen: \""+addresses[2]+"\", certificates: ["+e.write("a", "localhost")+"]}\nlimiter: {enabled: false}\n"))
	secure := func() *http.Transport {
		transport := e.transport()
		transport.ForceAttemptHTTP2 = true
		return transport
	}
	plain := func() *http.Transport {
		transport := &http.Transport{Protocols: new(http.Protocols)}
		transport.Protocols.SetUnencryptedHTTP2(true)
		return transport
	}
	proto := func(transport *http.Transport, url string) string {
		t.Helper()
		c := http.Client{Timeout: deadline, Transport: transport}
		t.Cleanup(c.CloseIdleConnections)
		a, err := c.Get(url)
		if err != nil {
			return "none"
		}
		a.Body.Close()
		if a.StatusCode != 200 {
			t.Errorf("%s got %d", url, a.StatusCode)
		}
		return a.Proto
	}
	clear, tls := "http://"+addresses[1], "https://"+addresses[2]
	keptClear, keptTLS := plain(), secure()
	requireAll := func(newClear, newTLS string) {
		t.Helper()
		for _, test := range []struct {
			name      string
			transport *http.Transport
			url, want string
		}{
			{"an open connection in the clear", keptClear, clear, "HTTP/2.0"},
			{"an open connection of TLS", keptTLS, tls, "HTTP/2.0"},
			{"a new connection in the clear", plain(), clear, newClear},
			{"a new connection of TLS", secure(), tls, newTLS},
		} {
			if got := proto(test.transport, test.url); got != test.want {
				t.Errorf("%s: %s, want %s", test.name, got, test.want)
			}
		}
	}
	requireAll("HTTP/2.0", "HTTP/2.0")
	in.reload(t, "http2: true", "http2: false", "h2c: true", "h2c: false")
	requireAll("none", "HTTP/1.1")
	in.reload(t, "http2: false", "http2: true", "h2c: false", "h2c: true")
	requireAll("HTTP/2.0", "HTTP/2.0")
}
