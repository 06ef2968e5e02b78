package proxy

import (
	"strings"
	"testing"

	"loadbalancer/proxy/reason"
)

// As a client sees one: the body for all but HEAD, and no word of the backend.
func TestProblemResponse(t *testing.T) {
	_, address := startProxy(t, testOptions("http://127.0.0.1:1"))
	answer := reason.ConnectFailed.Answer()
	want := string(answer.Head) + "Connection: close\r\n\r\n"
	if got := withoutDate(talk(t, address, get("/"))); got != want+string(answer.Body) {
		t.Errorf("GET: got %q", got)
	}
	if got := withoutDate(talk(t, address, strings.Replace(get("/"), "GET", "HEAD", 1))); got != want {
		t.Errorf("HEAD: got %q", got)
	}
	if got := talk(t, address, withHost("CONNECT a:1 HTTP/1.1")); !strings.Contains(got, "\r\nAllow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n") {
		t.Errorf("CONNECT: got %q", got)
	}
}

// A refusal to HEAD has no body either, when it was the guard that found the fault.
func TestRefusalOfHead(t *testing.T) {
	_, address := startProxy(t, testOptions("http://127.0.0.1:1"))
	for _, request := range []string{"HEAD / HTTP/1.1\nHost: a\r\n\r\n", withHost("HEAD / HTTP/1.2"), withHost("HEAD / HTTP/1.1", "A b: c")} {
		if got := talk(t, address, request); !strings.HasPrefix(got, "HTTP/1.1 400 ") || !strings.HasSuffix(got, "Connection: close\r\n\r\n") {
			t.Errorf("%q: got %q", request, got)
		}
	}
}
