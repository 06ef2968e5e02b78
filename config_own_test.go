package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"loadbalancer/proxy/upstream"
)

func TestLeadsTo(t *testing.T) {
	interfaces := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")}
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		backend, listen string
		want            bool
	}{
		{"http://127.0.0.1:8080", ":8080", true},
		{"http://127.0.0.2:8080", ":8080", true},
		{"http://localhost:8080", "0.0.0.0:8080", true},
		{"http://192.0.2.7:8080", ":8080", true},
		{"http://192.0.2.7:8080", "192.0.2.7:8080", true},
		{"http://[::ffff:192.0.2.7]:8080", "192.0.2.7:8080", true},
		{"http://[2001:db8::7]:8080", "[::]:8080", true},
		{"http://[::1]:8080", "[::1]:8080", true},
		{"http://[::1]:8080", "localhost:8080", false}, // which listens on 127.0.0.1
		{"http://localhost:8080", "[::1]:8080", true},
		{"http://localhost:8080", "LOCALHOST:8080", true},
		{"http://0.0.0.0:8080", "127.0.0.1:8080", true},
		{"http://[::]:8080", ":8080", true},
		{"http://localhost", ":80", true},
		{"https://localhost", ":443", true},
		{"https://127.0.0.1:8443", ":8443", true},
		{"https://localhost", ":80", false},
		{"unix:" + filepath.Join(wd, "lb.sock"), "unix:lb.sock", true},
		{"unix:/run/a/../lb.sock", "unix:/run/lb.sock", true},

		{"http://127.0.0.1:8081", ":8080", false},
		{"http://127.0.0.2:8080", "127.0.0.1:8080", false},
		{"http://192.0.2.8:8080", ":8080", false}, // of another machine
		{"http://192.0.2.7:8080", "127.0.0.1:8080", false},
		{"http://192.0.2.7:8080", "localhost:8080", false},
		{"http://[2001:db8::7]:8080", "0.0.0.0:8080", false},
		{"http://backend:8080", ":8080", false},
		{"http://127.0.0.1:8080", "127.0.0.1:0", false},
		{"http://127.0.0.1:8080", "", false},
		{"http://127.0.0.1:8080", "lb.example:8080", false},
		{"unix:/run/a.sock", "unix:/run/b.sock", false},
		{"unix:/run/a.sock", ":8080", false},
		{"http://127.0.0.1:8080", "unix:/run/a.sock", false},
	} {
		backend, err := upstream.ParseURL(test.backend)
		if err != nil {
			t.Fatal(err)
		}
		if got := leadsTo(backend, addressOf(t, test.listen), interfaces); got != test.want {
			t.Errorf("%s leads to %s: got %v", test.backend, test.listen, got)
		}
	}
}

// A backend at an address of this machine, on the port of server.listen, is the balancer itself.
func TestBackendAtAnInterface(t *testing.T) {
	for _, a := range interfaceAddresses() {
		text := "pools: {main: {backends: [{url: 'http://" + netip.AddrPortFrom(a, 8080).String() + "'}]}}\n"
		_, err := parseConfig("lb.yaml", []byte(text), environment(nil))
		want := "lb.yaml:1: pools.main.backends[0].url: http://" + netip.AddrPortFrom(a, 8080).String() +
			" is invalid: use another address: the balancer itself listens there (server.listen)"
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
