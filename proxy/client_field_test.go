package proxy

import (
	"fmt"
	"strings"
	"testing"

	"loadbalancer/proxy/message"
)

// The field of server.client_ip_header goes on as X-Real-IP does: from a trusted proxy as it is,
// from others with the client's address in its place, and never where it was not sent.
func TestClientIPHeaderGoesOn(t *testing.T) {
	for _, header := range []string{"CF-Connecting-IP", "X-Real-IP", "client_ip"} {
		url, got := startRecordingBackend(t)
		o := testOptions(url)
		o.Server.ClientIPHeader = message.ClientIPHeader(header)
		_, stranger := startProxy(t, o)
		o.Server.TrustedProxies = prefixes("127.0.0.1")
		_, trusting := startProxy(t, o)
		upper := strings.ToUpper(header)
		for _, test := range []struct{ name, sent, replaced string }{
			{"not sent", "A: 1", "A: 1"},
			{"sent", header + ": 203.0.113.1", header + ": 127.0.0.1"},
			{"empty", header + ":", header + ": 127.0.0.1"},
			{"several lines", "A: 1\r\n" + upper + ":203.0.113.1\r\nB: 2\r\n" + header + ": 203.0.113.2", "A: 1\r\n" + upper + ": 127.0.0.1\r\nB: 2"},
			{"with X-Real-IP", header + ": 203.0.113.1\r\nA: 1", header + ": 127.0.0.1\r\nA: 1"},
		} {
			request := withHost("GET / HTTP/1.1", "Connection: "+header, test.sent)
			for address, fields := range map[string]string{stranger: test.replaced, trusting: test.sent} {
				status(t, address, request)
				if header, want := <-got, withHost("GET / HTTP/1.1", fields, "X-Forwarded-For: "); !strings.HasPrefix(header, strings.TrimSuffix(want, "\r\n\r\n")) {
					t.Errorf("%s: got %q, want it to begin with %q", test.name, header, want)
				}
			}
		}
	}
}

// Two fields with the client's address are replaced each by itself.
func TestBothClientFieldsAreReplaced(t *testing.T) {
	url, got := startRecordingBackend(t)
	o := testOptions(url)
	o.Server.ClientIPHeader = "True-Client-IP"
	_, address := startProxy(t, o)
	status(t, address, withHost("GET / HTTP/1.1", "X-Real-IP: a", "True-Client-IP: b", "x-real-ip: c", "true-client-ip: d"))
	if header, want := <-got, withHost("GET / HTTP/1.1", "X-Real-IP: 127.0.0.1", "True-Client-IP: 127.0.0.1", plainForwarded); !strings.HasPrefix(header, strings.TrimSuffix(want, "\r\n")) {
		t.Errorf("got %q, want it to begin with %q", header, want)
	}
}

// A name that a CGI reads as that of a field with the client's address is refused, whether the peer
// is trusted or not.
func TestDisguisedClientFields(t *testing.T) {
	for header, refused := range map[message.ClientIPHeader][]string{
		"X-Forwarded-For":  {"X_Real_IP", "x-real_ip", "X_REAL-IP"},
		"CF-Connecting-IP": {"CF_Connecting_IP", "cf-connecting_ip", "X_Real_IP"},
		"client_ip":        {"client-ip", "CLIENT-IP"},
	} {
		o := testOptions(startRawBackend(t, answerAll("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")))
		o.Server.ClientIPHeader = header
		_, stranger := startProxy(t, o)
		o.Server.TrustedProxies = prefixes("127.0.0.1")
		_, trusting := startProxy(t, o)
		for _, address := range []string{stranger, trusting} {
			for _, name := range refused {
				if got := status(t, address, withHost("GET / HTTP/1.1", name+": 203.0.113.1")); got != 400 {
					t.Errorf("%s: %s got %d, want 400", header, name, got)
				}
			}
			for _, name := range []string{"X_Real_IPs", "CF_Connecting_IQ", "Real_IP"} {
				if got := status(t, address, withHost("GET / HTTP/1.1", name+": 203.0.113.1")); got != 200 {
					t.Errorf("%s: %s got %d, want 200", header, name, got)
				}
			}
		}
	}
}

// Each client that a trusted proxy tells of has a bucket of its own; a stranger that sends the same
// field has one.
func TestLimitsGoByTheClientIPHeader(t *testing.T) {
	for _, test := range []struct {
		trusted string
		want    string
	}{{"127.0.0.1", "[200 200 429 200]"}, {"192.0.2.1", "[200 429 429 429]"}} {
		o := testOptions(startRawBackend(t, answerAll("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")))
		o.Limiter = limits(1, 0.001)
		o.Server.ClientIPHeader = "X-Real-IP"
		o.Server.TrustedProxies = prefixes(test.trusted)
		_, address := startProxy(t, o)
		var got []int
		for _, client := range []string{"203.0.113.1", "203.0.113.2", "203.0.113.1", "203.0.113.3"} {
			w := newWire(t, address)
			w.send(withHost("GET / HTTP/1.1", "Connection: close", "X-Real-IP: "+client, "X-Forwarded-For: 198.51.100.1"))
			got = append(got, w.receive("GET").StatusCode)
		}
		if fmt.Sprint(got) != test.want {
			t.Errorf("%s trusted: got %v, want %s", test.trusted, got, test.want)
		}
	}
}
