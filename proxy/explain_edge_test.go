package proxy

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// TestExplainArrival tells how a request comes by its URL and the listeners that there are.
func TestExplainArrival(t *testing.T) {
	both := Ports{TLS: 443, Redirect: 80}
	alone := Ports{TLS: 8443, TLSAlone: true}
	for _, test := range []struct {
		name     string
		ports    Ports
		url      string
		tls      bool
		redirect string
		err      string
	}{
		{"nothing speaks TLS", Ports{}, "http://a.example/", false, "", ""},
		{"TLS ends at a proxy", Ports{}, "https://a.example/", false, "", ""},
		{"https", both, "HTTPS://a.example/", true, "", ""},
		{"the redirect", both, "http://a.example/a?b", false, "https://a.example/a?b", ""},
		{"server.listen", both, "http://a.example:8080/", false, "", ""},
		{"a path", both, "/a", false, "", ""},
		{"a path with a URL in it", both, "/?https://a.example", false, "", ""},
		{"a path, server.listen speaks TLS", alone, "/a", true, "", ""},
		{"https alone", alone, "https://a.example:8443/", true, "", ""},
		{"nothing is in the clear", alone, "http://a.example/", false, "", "use https"},
		{"the redirect alone", Ports{TLS: 8443, TLSAlone: true, Redirect: 8080}, "http://a.example/", false, "https://a.example:8443/", ""},
		{"ports that are not known", Ports{TLS: -1, TLSAlone: true, Redirect: -1}, "http://a.example/", false, "https://a.example/", ""},
	} {
		o := testOptions("http://127.0.0.1:1")
		o.Edge.Ports = test.ports
		e, err := New(o).Explain(Question{Method: "GET", URL: test.url, From: netip.MustParseAddr("192.0.2.1")})
		if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: %v, want %q", test.name, err, test.err)
			continue
		}
		proto := "X-Forwarded-Proto: http"
		if test.tls {
			proto = "X-Forwarded-Proto: https"
		}
		forwarded := test.redirect == "" && test.err == ""
		if e.TLS != test.tls || e.Redirect != test.redirect || slices.Contains(e.Added, proto) != forwarded || (e.Pool != nil) != forwarded {
			t.Errorf("%s: %+v", test.name, e)
		}
	}
}

// TestExplainClientCertificates tells of the subject, and of a Host that is not that of the URL.
func TestExplainClientCertificates(t *testing.T) {
	o := testOptions("http://127.0.0.1:1")
	o.Edge = Edge{Ports: Ports{TLS: 443}, ClientCerts: true}
	e := explained(t, o, "GET", "https://a.example/", "X-Client-Subject: CN=mallory")
	if !slices.Contains(e.Added, "X-Client-Subject: (that of the client's certificate)") || !slices.Contains(e.Removed, "X-Client-Subject: CN=mallory") {
		t.Errorf("got %+v", e)
	}
	if e := explained(t, o, "GET", "https://192.0.2.1/"); e.Refused != nil {
		t.Errorf("an address: %+v", e.Refused)
	}
	if e := explained(t, o, "GET", "https://a.example/", "Host: b.example"); e.Refused == nil || e.Refused.Status != 421 || e.Refused.Reason != "bad_request" {
		t.Errorf("another host: %+v", e.Refused)
	}
}
