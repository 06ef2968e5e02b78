package proxy

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"loadbalancer/proxy/balance"
	"loadbalancer/proxy/message"
)

func TestIdentify(t *testing.T) {
	o := testOptions("http://127.0.0.1:1")
	o.Server.TrustedProxies = prefixes("10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::ffff:198.51.100.1")
	trust := NewTrust(o.Server)
	for _, test := range []struct {
		name, peer string
		lines      []string
		want       string
		trusted    bool
	}{
		{"no proxy in between", "203.0.113.1", nil, "203.0.113.1", false},
		{"a stranger's word", "203.0.113.1", []string{"1.1.1.1"}, "203.0.113.1", false},
		{"a stranger claims to be a proxy", "203.0.113.1", []string{"10.0.0.1"}, "203.0.113.1", false},
		{"a proxy", "10.1.2.3", []string{"203.0.113.1"}, "203.0.113.1", true},
		{"one proxy by its address", "192.0.2.7", []string{"203.0.113.1"}, "203.0.113.1", true},
		{"its neighbour", "192.0.2.8", []string{"203.0.113.1"}, "192.0.2.8", false},
		{"one proxy, IPv4-mapped in the config", "198.51.100.1", []string{"203.0.113.1"}, "203.0.113.1", true},
		{"a proxy that says nothing", "10.1.2.3", nil, "10.1.2.3", true},
		{"what the client sent itself", "10.1.2.3", []string{"1.1.1.1, 203.0.113.1"}, "203.0.113.1", true},
		{"a client that names a proxy", "10.1.2.3", []string{"10.9.9.9, 203.0.113.1"}, "203.0.113.1", true},
		{"several proxies", "10.1.2.3", []string{"203.0.113.1, 10.0.0.1,10.0.0.2"}, "203.0.113.1", true},
		{"several lines", "10.1.2.3", []string{"1.1.1.1", "203.0.113.1", "10.0.0.1", "10.0.0.2, 10.0.0.3"}, "203.0.113.1", true},
		{"only proxies", "10.1.2.3", []string{"10.0.0.9, 10.0.0.1"}, "10.0.0.9", true},
		{"port", "10.1.2.3", []string{"203.0.113.1:4711"}, "203.0.113.1", true},
		{"IPv6", "10.1.2.3", []string{"2001:470::1"}, "2001:470::1", true},
		{"brackets", "10.1.2.3", []string{"[2001:470::1]"}, "2001:470::1", true},
		{"brackets and port", "10.1.2.3", []string{"[2001:470::1]:4711, [2001:db8::1]:80"}, "2001:470::1", true},
		{"IPv4-mapped", "10.1.2.3", []string{"203.0.113.1, ::ffff:10.0.0.1"}, "203.0.113.1", true},
		{"IPv4-mapped client", "10.1.2.3", []string{"::ffff:203.0.113.1"}, "203.0.113.1", true},
		{"zone", "10.1.2.3", []string{"fe80::1%eth0"}, "fe80::1", true},
		{"white space", "10.1.2.3", []string{" \t203.0.113.1\t ,\t10.0.0.1 "}, "203.0.113.1", true},
		{"garbage", "10.1.2.3", []string{"203.0.113.1, unknown"}, "10.1.2.3", true},
		{"garbage behind a proxy", "10.1.2.3", []string{"203.0.113.1, unknown, 10.0.0.1"}, "10.0.0.1", true},
		{"garbage before the client", "10.1.2.3", []string{"<script>, 203.0.113.1"}, "203.0.113.1", true},
		{"empty entry at the end", "10.1.2.3", []string{"203.0.113.1, "}, "203.0.113.1", true},
		{"empty entry in the middle", "10.1.2.3", []string{"203.0.113.1, \t,10.0.0.1"}, "203.0.113.1", true},
		{"empty entry at the beginning", "10.1.2.3", []string{",203.0.113.1"}, "203.0.113.1", true},
		{"empty entries everywhere", "10.1.2.3", []string{",, 203.0.113.1,,", ", ", "10.0.0.1,", ",10.0.0.2"}, "203.0.113.1", true},
		{"garbage behind an empty entry", "10.1.2.3", []string{"203.0.113.1, x, , 10.0.0.1"}, "10.0.0.1", true},
		{"empty line", "10.1.2.3", []string{"203.0.113.1", ""}, "203.0.113.1", true},
		{"only commas", "10.1.2.3", []string{",,"}, "10.1.2.3", true},
		{"leading zero", "10.1.2.3", []string{"203.0.113.01"}, "10.1.2.3", true},
		{"open bracket", "10.1.2.3", []string{"[2001:470::1"}, "10.1.2.3", true},
		{"bracket and more", "10.1.2.3", []string{"[2001:470::1]80"}, "10.1.2.3", true},
		{"quotes", "10.1.2.3", []string{`"203.0.113.1"`}, "10.1.2.3", true},
		{"port without number", "10.1.2.3", []string{"203.0.113.1:"}, "203.0.113.1", true},
		{"two ports", "10.1.2.3", []string{"203.0.113.1:80:80"}, "10.1.2.3", true},
		{"brackets around IPv4", "10.1.2.3", []string{"[203.0.113.1]:80"}, "203.0.113.1", true},
		{"brackets around nothing", "10.1.2.3", []string{"203.0.113.1, []:80"}, "10.1.2.3", true},
		{"brackets twice", "10.1.2.3", []string{"[[2001:470::1]]"}, "10.1.2.3", true},
		{"IPv4-mapped in hexadecimal, with port", "10.1.2.3", []string{"203.0.113.1, [::ffff:a00:1]:80"}, "203.0.113.1", true},
		{"IPv4-mapped proxy in the config", "10.1.2.3", []string{"203.0.113.1, ::ffff:198.51.100.1"}, "203.0.113.1", true},
		{"its IPv4 form within other IPv6", "10.1.2.3", []string{"203.0.113.1, ::10.0.0.1"}, "::10.0.0.1", true},
		{"a number", "10.1.2.3", []string{"203.0.113.1, 167772161"}, "10.1.2.3", true},
		{"hexadecimal IPv4", "10.1.2.3", []string{"203.0.113.1, 0x0a.0.0.1"}, "10.1.2.3", true},
		{"a range", "10.1.2.3", []string{"203.0.113.1, 10.0.0.0/8"}, "10.1.2.3", true},
		{"as Forwarded writes it", "10.1.2.3", []string{"203.0.113.1, for=10.0.0.1"}, "10.1.2.3", true},
		{"other white space", "10.1.2.3", []string{"203.0.113.1,\u00a010.0.0.1"}, "10.1.2.3", true},
		{"another separator", "10.1.2.3", []string{"203.0.113.1; 10.0.0.1"}, "10.1.2.3", true},
		{"too long for an address", "10.1.2.3", []string{"203.0.113.1, 2001:db8::1%" + strings.Repeat("z", 60)}, "10.1.2.3", true},
		{"garbage at the end of a line ends the walk for the lines before", "10.1.2.3", []string{"203.0.113.1", "x, 10.0.0.1"}, "10.0.0.1", true},
		{"IPv6 peer", "2001:db8::5", []string{"203.0.113.1"}, "203.0.113.1", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			told := forwardedFor(t, test.lines...)
			got := trust.identify(netip.MustParseAddr(test.peer), &told)
			if want := netip.MustParseAddr(test.want); got != (caller{want, balance.AddrKey(want), test.trusted}) {
				t.Errorf("got %v", got)
			}
		})
	}
}

// TestIdentifyByOtherFields has trusted proxies tell the client's address in a field of their own.
func TestIdentifyByOtherFields(t *testing.T) {
	const peer = "192.0.2.1"
	for _, header := range []message.ClientIPHeader{"X-Real-IP", "CF-Connecting-IP", "true_client_ip"} {
		o := testOptions("http://127.0.0.1:1")
		o.Server.ClientIPHeader = header
		stranger := NewTrust(o.Server)
		o.Server.TrustedProxies = prefixes("192.0.2.0/24")
		trust := NewTrust(o.Server)
		name := string(header)
		for _, test := range []struct {
			name   string
			fields []string
			want   string
		}{
			{"an address", []string{name + ": 203.0.113.1"}, "203.0.113.1"},
			{"the name in another case", []string{strings.ToUpper(name) + ":203.0.113.1"}, "203.0.113.1"},
			{"X-Forwarded-For beside it", []string{"X-Forwarded-For: 198.51.100.1", name + ": 203.0.113.1", "X-Forwarded-For: 198.51.100.2"}, "203.0.113.1"},
			{"X-Forwarded-For alone", []string{"X-Forwarded-For: 198.51.100.1"}, peer},
			{"no field", nil, peer},
			{"several lines", []string{name + ": 198.51.100.1", name + ": 203.0.113.1"}, "203.0.113.1"},
			{"several lines, the last without an address", []string{name + ": 198.51.100.1", name + ":"}, peer},
			{"the address of a trusted proxy", []string{name + ": 192.0.2.9"}, "192.0.2.9"},
			{"port", []string{name + ": 203.0.113.1:4711"}, "203.0.113.1"},
			{"IPv6", []string{name + ": 2001:db8::1"}, "2001:db8::1"},
			{"brackets and port", []string{name + ": [2001:db8::1]:4711"}, "2001:db8::1"},
			{"IPv4-mapped", []string{name + ": ::ffff:203.0.113.1"}, "203.0.113.1"},
			{"white space", []string{name + ": \t203.0.113.1\t "}, "203.0.113.1"},
			{"empty", []string{name + ":"}, peer},
			{"garbage", []string{name + ": unknown"}, peer},
			{"a list", []string{name + ": 203.0.113.1, 198.51.100.1"}, peer},
			{"a list of one", []string{name + ": 203.0.113.1,"}, peer},
		} {
			request := withHost(append([]string{"GET / HTTP/1.1"}, test.fields...)...)
			if got := identified(t, trust, request); got != test.want {
				t.Errorf("%s, %s: got %s, want %s", header, test.name, got, test.want)
			}
			if got := identified(t, stranger, request); got != peer {
				t.Errorf("%s, %s, of a stranger: got %s, want the peer", header, test.name, got)
			}
		}
	}
}

// identified is the address that the request counts for.
func identified(t *testing.T, trust *Trust, request string) string {
	t.Helper()
	_, header, _ := strings.Cut(request, "\r\n")
	told, ok := message.ForwardedBy([]byte(header), trust.field)
	if !ok {
		t.Fatalf("%q was refused", request)
	}
	return trust.identify(netip.MustParseAddr("192.0.2.1"), &told).addr.String()
}

// Without trusted proxies no peer is believed.
func TestNobodyTrusted(t *testing.T) {
	told := forwardedFor(t, "203.0.113.1")
	if got := NewTrust(DefaultServerConfig()).identify(netip.IPv6Loopback(), &told); got.trusted || got.addr != netip.IPv6Loopback() {
		t.Errorf("got %v", got)
	}
}

// forwardedFor returns what a header with these lines of X-Forwarded-For says.
func forwardedFor(t *testing.T, lines ...string) message.Forwarded {
	t.Helper()
	header := "Host: h\r\n"
	for _, line := range lines {
		header += "X-Forwarded-For: " + line + "\r\n"
	}
	f, ok := message.ForwardedBy([]byte(header), "")
	if !ok {
		t.Fatalf("%q is refused", header)
	}
	return f
}

// FuzzForwardedAddr compares the reader of X-Forwarded-For with netip's: it accepts nothing that is
// no address once port and brackets are off.
func FuzzForwardedAddr(f *testing.F) {
	for _, addr := range []string{"192.0.2.1", "192.0.2.1:80", "[::1]:80", "::ffff:192.0.2.1", "fe80::1%eth0", "[", "[]", ":", "a"} {
		f.Add(addr)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := parseForwardedAddr([]byte(text))
		if !ok {
			if _, err := netip.ParseAddr(text); err == nil && len(text) <= 60 {
				t.Errorf("%q is an address", text)
			}
			return
		}
		if !got.IsValid() || got.Is4In6() || got.Zone() != "" {
			t.Errorf("%q: %v is not in its plain form", text, got)
		}
	})
}

func TestPrefix(t *testing.T) {
	for text, want := range map[string]string{
		"10.1.2.3": "10.1.2.3/32", "10.1.2.3/8": "10.0.0.0/8", "::1": "::1/128", "2001:db8::1/32": "2001:db8::/32",
		"::ffff:10.0.0.1": "10.0.0.1/32", "::ffff:10.0.0.0/104": "10.0.0.0/8", "0.0.0.0/0": "0.0.0.0/0",
	} {
		var p Prefix
		if err := p.UnmarshalText([]byte(text)); err != nil || p.Prefix != netip.MustParsePrefix(want) {
			t.Errorf("%s: got %s, %v, want %s", text, p, err, want)
		}
	}
	for _, text := range []string{"/", "a", "localhost", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0", "10.0.0.0/8/8", "fe80::1%eth0/64", "10.0.0.1:80"} {
		p := prefixes("10.0.0.1")[0]
		if err := p.UnmarshalText([]byte(text)); err == nil || err.Error() != allowedPrefix {
			t.Errorf("%q: got %s, %v", text, p, err)
		}
	}
	p := prefixes("10.0.0.1")[0]
	if err := p.UnmarshalText(nil); err != nil || p != (Prefix{}) {
		t.Errorf("an empty text: got %s, %v", p, err)
	}
}

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

// On the proxy's own listener a PROXY header gives the client's address, and the peer counts as one
// of another machine.
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
