package management

import (
	"net"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"loadbalancer/proxy"
)

// The field that trusted proxies tell the client's address in may be another one.
func TestAccessByClientIPHeader(t *testing.T) {
	server := proxy.DefaultServerConfig()
	server.ClientIPHeader = "CF-Connecting-IP"
	a := &rules{trust: proxy.NewTrust(server)}
	for name, want := range map[string]bool{
		"CF-Connecting-IP": true, "cf-connecting-ip": true, "CF_Connecting_IP": true, "X-Forwarded-For": true,
		"CF-Connecting": false, "CF-Connecting-IPv6": false,
	} {
		if got := a.tellsOfOthers(name); got != want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func TestWarningOfAnOpenAPI(t *testing.T) {
	tokens := TokenConfigs{{Name: "a", Role: roleRead, SHA256: new(tokenDigest)}}
	for _, tt := range []struct {
		name   string
		config Config
		front  net.Addr
		warns  bool
	}{
		{"every address", Config{APIOnProxy: true}, &net.TCPAddr{IP: net.IPv6zero, Port: 8080}, true},
		{"another machine's", Config{APIOnProxy: true}, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 8080}, true},
		{"loopback", Config{APIOnProxy: true}, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2), Port: 8080}, false},
		{"IPv6 loopback", Config{APIOnProxy: true}, &net.TCPAddr{IP: net.IPv6loopback, Port: 8080}, false},
		{"a unix socket", Config{APIOnProxy: true}, &net.UnixAddr{Name: "/run/lb", Net: "unix"}, false},
		{"not on the proxy", Config{}, &net.TCPAddr{IP: net.IPv6zero, Port: 8080}, false},
		{"a token", Config{APIOnProxy: true, Token: "0123456789abcdef"}, &net.TCPAddr{IP: net.IPv6zero, Port: 8080}, false},
		{"tokens", Config{APIOnProxy: true, Tokens: tokens}, &net.TCPAddr{IP: net.IPv6zero, Port: 8080}, false},
	} {
		log := &strings.Builder{}
		tt.config.Warn(zerolog.New(log), tt.front)
		want := 0
		if tt.warns {
			want = 1
		}
		if lines := strings.Count(log.String(), "\n"); lines != want || tt.warns && !strings.Contains(log.String(), "without a token") {
			t.Errorf("%s: got %q", tt.name, log)
		}
	}
}
