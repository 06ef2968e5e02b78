package main

import (
	"net"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

func TestAccessToTheAPI(t *testing.T) {
	const noToken, token = "", "  token: s3cret\n"
	tests := []struct {
		name, config string
		fields       []string
		status       int
	}{
		{"loopback", noToken, nil, 200},
		{"by the name localhost", noToken, []string{"Host: localhost:8080"}, 200},
		{"by the name in capitals", noToken, []string{"Host: LOCALHOST"}, 200},
		{"by an IPv6 address", noToken, []string{"Host: [::1]"}, 200},
		{"by an IPv6 address and port", noToken, []string{"Host: [::1]:8080"}, 200},
		{"foreign host", noToken, []string{"Host: evil.example"}, 403},
		{"foreign host and port", noToken, []string{"Host: evil.example:8080"}, 403},
		{"host that looks like an address", noToken, []string{"Host: 127.0.0.1.evil.example"}, 403},
		{"X-Forwarded-For", noToken, []string{"X-Forwarded-For: 127.0.0.1"}, 403},
		{"X-Forwarded-Host", noToken, []string{"X-Forwarded-Host: localhost"}, 403},
		{"X-Forwarded-Proto", noToken, []string{"X-Forwarded-Proto: https"}, 403},
		{"X-Real-IP", noToken, []string{"X-Real-IP: 127.0.0.1"}, 403},
		{"Forwarded", noToken, []string{"Forwarded: for=127.0.0.1"}, 403},
		{"Via", noToken, []string{"Via: 1.1 proxy"}, 403},
		{"a browser's page", noToken, []string{"Origin: http://evil.example"}, 403},
		{"a browser's file", noToken, []string{"Origin: null"}, 403},
		{"a token where none is set", noToken, []string{"Via: 1.1 proxy", "Authorization: Bearer s3cret"}, 403},
		{"an empty token where none is set", noToken, []string{"Via: 1.1 proxy", "Authorization: Bearer "}, 403},
		{"loopback with a token set", token, nil, 200},
		{"no token", token, []string{"Via: 1.1 proxy"}, 401},
		{"the token", token, []string{"Via: 1.1 proxy", "Authorization: Bearer s3cret"}, 200},
		{"the token, scheme in small letters", token, []string{"Via: 1.1 proxy", "Authorization: bearer s3cret"}, 200},
		{"the token from a foreign host", token, []string{"Host: lb.example", "Authorization: Bearer s3cret"}, 200},
		{"the token from a browser's page", token, []string{"Origin: http://ui.example", "Authorization: Bearer s3cret"}, 200},
		{"a wrong token", token, []string{"Via: 1.1 proxy", "Authorization: Bearer s3cre"}, 401},
		{"a longer token", token, []string{"Via: 1.1 proxy", "Authorization: Bearer s3cret2"}, 401},
		{"an empty token", token, []string{"Via: 1.1 proxy", "Authorization: Bearer "}, 401},
		{"another scheme", token, []string{"Via: 1.1 proxy", "Authorization: Basic s3cret"}, 401},
		{"no scheme", token, []string{"Via: 1.1 proxy", "Authorization: s3cret"}, 401},
	}
	instances := map[string]*instance{}
	for _, config := range []string{noToken, token} {
		instances[config] = startInstance(t, testConfig(t, freeAddresses(t, 1), "management:\n  listen: 127.0.0.1:0\n"+config), "--demo")
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := instances[tt.config]
			for _, base := range []string{in.proxy, in.management} {
				a := call(t, "GET", base+"/v1/api/clients/", "", tt.fields...)
				if tt.status != 200 {
					requireProblem(t, base, a, tt.status)
				} else if a.status != 200 {
					t.Errorf("%s: got %+v", base, a)
				}
				if asks := a.header.Get("WWW-Authenticate") != ""; asks != (tt.status == 401) {
					t.Errorf("%s: WWW-Authenticate is %q", base, a.header.Get("WWW-Authenticate"))
				}
			}
			if a := call(t, "GET", in.management+"/healthz", "", tt.fields...); a.status != 200 {
				t.Errorf("/healthz is open to all, but got %+v", a)
			}
		})
	}
}

func TestPeersElsewhereNeedTheToken(t *testing.T) {
	for peer, want := range map[string]bool{
		"127.0.0.1": true, "127.9.9.9": true, "::1": true, "::ffff:127.0.0.1": true,
		"192.0.2.1": false, "10.0.0.1": false, "2001:db8::1": false, "::ffff:192.0.2.1": false, "0.0.0.0": false,
	} {
		var request fasthttp.Request
		request.SetRequestURI("/v1/api/clients/")
		request.Header.SetHost("localhost")
		var ctx fasthttp.RequestCtx
		ctx.Init(&request, &net.TCPAddr{IP: net.ParseIP(peer), Port: 1}, nil)
		if got := fromLoopback(&ctx); got != want {
			t.Errorf("%s: got %v", peer, got)
		}
	}
}

// The path must not be read in one way by the access rule and in another by the
// router.
func TestAccessByOddPaths(t *testing.T) {
	in := startInstance(t, testConfig(t, freeAddresses(t, 1)), "--demo")
	for _, base := range []string{in.proxy, in.management} {
		for _, path := range []string{
			"/v1/api/clients/..%2f..%2f..%2f..%2fx",
			"/v1/api/clients/%2e%2e%2f%2e%2e%2f%2e%2e%2fhealthz",
			"/v1/api/clients/10.0.0.1%2f..%2f..%2f..%2f..%2fx/8",
		} {
			if a := call(t, "DELETE", base+path, "", "Via: 1.1 proxy"); a.status != 403 {
				t.Errorf("%s: got %+v", path, a)
			}
		}
	}
}

// A refusal reaches the client although it is still sending the body.
func TestRefusalBeforeTheBodyIsRead(t *testing.T) {
	in := startInstance(t, testConfig(t, freeAddresses(t, 1)), "--demo")
	body := strings.Repeat("x", 8<<20) // more than the sockets' buffers hold
	for range 3 {
		requireProblem(t, "403", call(t, "POST", in.management+"/v1/api/clients/", body, "Via: 1.1 proxy"), 403)
		requireProblem(t, "404", call(t, "POST", in.management+"/nowhere", body), 404)
	}
}
