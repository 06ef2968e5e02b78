package main

import (
	"fmt"
	"strings"
	"testing"
)

// TestAPIBehindProxyProtocol: neither what a PROXY header tells nor the address of the proxy that
// sent it, which is on this machine here, lets a caller into the API.
func TestAPIBehindProxyProtocol(t *testing.T) {
	const server = "server:\n  listen: 127.0.0.1:0\n  proxy_protocol: true\n  trusted_proxies: [%s]\n"
	start := func(trusted, token string) string {
		in := startInstance(t, testConfig(t, freeAddresses(t, 1), fmt.Sprintf(server, trusted), apiOnBoth+token), "--demo")
		return in.proxy
	}
	open, guarded, stranger := start("127.0.0.1", ""), start("127.0.0.1", "  token: s3cret\n"), start("192.0.2.1", "")
	const (
		v2   = "\r\n\r\n\x00\r\nQUIT\n"
		v1   = "PROXY TCP4 192.0.2.1 127.0.0.1 4711 80\r\n"
		self = "PROXY TCP4 127.0.0.1 127.0.0.1 4711 80\r\n"
	)
	for _, tt := range []struct {
		name, address, header, fields string
		status                        int
	}{
		{"a client elsewhere", open, v1, "", 403},
		{"a client that is said to be here", open, self, "", 403},
		{"the same in IPv6", open, "PROXY TCP6 ::1 ::1 4711 80\r\n", "", 403},
		{"the same, IPv4-mapped", open, "PROXY TCP6 ::ffff:127.0.0.1 ::1 4711 80\r\n", "", 403},
		{"a client that is not told", open, "PROXY UNKNOWN\r\n", "", 403},
		{"the proxy itself", open, v2 + "\x20\x00\x00\x00", "", 403},
		{"no address", open, v2 + "\x21\x00\x00\x00", "", 403},
		{"no token", guarded, self, "", 401},
		{"a wrong token", guarded, self, "Authorization: Bearer s3cre\r\n", 401},
		{"the token", guarded, v1, "Authorization: Bearer s3cret\r\n", 200},
		{"a peer that needs no header", stranger, "", "", 200},
		{"a peer that must send none", stranger, self, "", 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			request := "GET /v1/api/clients/ HTTP/1.1\r\nHost: localhost\r\n" + tt.fields + "Connection: close\r\n\r\n"
			if got := raw(t, tt.address, tt.header+request); !strings.HasPrefix(got, fmt.Sprintf("HTTP/1.1 %d ", tt.status)) {
				t.Errorf("got %q, want %d", got, tt.status)
			}
		})
	}
}
