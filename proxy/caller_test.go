package proxy

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

// requestFrom is a request as a listener without a guard gets it.
func requestFrom(t *testing.T, peer net.Addr, fields string) *fasthttp.RequestCtx {
	t.Helper()
	var request fasthttp.Request
	if err := request.Header.Read(bufio.NewReader(strings.NewReader("GET / HTTP/1.1\r\nHost: h\r\n" + fields + "\r\n"))); err != nil {
		t.Fatal(err)
	}
	var ctx fasthttp.RequestCtx
	ctx.Init(&request, peer, nil)
	return &ctx
}

// trustIn trusts some addresses.
func trustIn(trusted ...string) *Trust {
	c := DefaultServerConfig()
	c.TrustedProxies = prefixes(trusted...)
	return NewTrust(c)
}

func TestFromThisMachine(t *testing.T) {
	trust := trustIn("127.0.0.2", "10.0.0.0/8")
	for peer, want := range map[string]bool{
		"127.0.0.1": true, "127.9.9.9": true, "::1": true, "::ffff:127.0.0.1": true,
		"192.0.2.1": false, "10.0.0.1": false, "2001:db8::1": false, "::ffff:192.0.2.1": false, "0.0.0.0": false, "::": false,
		"127.0.0.2": false, "::ffff:127.0.0.2": false,
	} {
		if got := trust.FromThisMachine(requestFrom(t, &net.TCPAddr{IP: net.ParseIP(peer), Port: 1}, "")); got != want {
			t.Errorf("%s: got %v", peer, got)
		}
	}
	for trusted, want := range map[string]bool{"127.0.0.2": true, "127.0.0.1": false, "127.0.0.0/8": false} {
		if got := trustIn(trusted).FromThisMachine(requestFrom(t, &net.UnixAddr{Net: "unix"}, "")); got != want {
			t.Errorf("a unix socket where %s is trusted: got %v", trusted, got)
		}
	}
}

func TestClientAddress(t *testing.T) {
	trust := trustIn("10.0.0.0/8")
	for _, tt := range []struct{ peer, fields, want string }{
		{"192.0.2.1", "", "192.0.2.1"},
		{"::ffff:192.0.2.1", "", "192.0.2.1"},
		{"192.0.2.1", "X-Forwarded-For: 203.0.113.1\r\n", "192.0.2.1"},
		{"10.0.0.1", "", "10.0.0.1"},
		{"10.0.0.1", "X-Forwarded-For: 203.0.113.1\r\n", "203.0.113.1"},
		{"10.0.0.1", "X-Forwarded-For: 198.51.100.1\r\nx-forwarded-for: 203.0.113.1, 10.0.0.2\r\n", "203.0.113.1"},
		{"10.0.0.1", strings.Repeat("X-Forwarded-For: 203.0.113.1\r\n", 9), "10.0.0.1"}, // the guard refuses as many
	} {
		if got := trust.ClientAddress(requestFrom(t, &net.TCPAddr{IP: net.ParseIP(tt.peer), Port: 1}, tt.fields)); got.String() != tt.want {
			t.Errorf("from %s with %q: got %s, want %s", tt.peer, tt.fields, got, tt.want)
		}
	}
}

func TestClientAddressByAnotherField(t *testing.T) {
	c := DefaultServerConfig()
	c.TrustedProxies, c.ClientIPHeader = prefixes("10.0.0.0/8"), "CF-Connecting-IP"
	trust := NewTrust(c)
	const both = "X-Forwarded-For: 198.51.100.1\r\nCF-Connecting-IP: 203.0.113.1\r\n"
	for peer, want := range map[string]string{"10.0.0.1": "203.0.113.1", "192.0.2.1": "192.0.2.1"} {
		if got := trust.ClientAddress(requestFrom(t, &net.TCPAddr{IP: net.ParseIP(peer), Port: 1}, both)); got.String() != want {
			t.Errorf("from %s: got %s, want %s", peer, got, want)
		}
	}
}

// On the proxy's own listener a PROXY header tells the client's address, and that the peer is not on
// this machine.
func TestCallerBehindProxyProtocol(t *testing.T) {
	for header, want := range map[string]string{
		"PROXY TCP4 203.0.113.1 127.0.0.1 4711 80\r\n": "203.0.113.1 false",
		"PROXY TCP4 127.0.0.1 127.0.0.1 4711 80\r\n":   "127.0.0.1 false",
		"PROXY UNKNOWN\r\n":                            "127.0.0.1 false",
	} {
		o := testOptions("http://127.0.0.1:1")
		o.Server.TrustedProxies, o.Server.ProxyProtocol = prefixes("127.0.0.1"), true
		trust := NewTrust(o.Server)
		o.API = apiOf(func(ctx *fasthttp.RequestCtx) {
			fmt.Fprint(ctx, trust.ClientAddress(ctx), " ", trust.FromThisMachine(ctx))
		})
		_, address := startProxy(t, o)
		if got := talk(t, address, header+get("/v1/api/")); !strings.HasSuffix(got, "\r\n\r\n"+want) {
			t.Errorf("%q: got %q, want %s", header, got, want)
		}
	}
}
