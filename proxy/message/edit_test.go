package message

import (
	"net/netip"
	"strings"
	"testing"
)

func TestCheckEdit(t *testing.T) {
	for _, test := range []struct {
		name     string
		action   Action
		response bool
		want     string // a piece of what is allowed; "": the name is
	}{
		{"X-Team", Setting, false, ""},
		{"authorization", Setting, false, ""},
		{"Authorization", Removing, false, ""},
		{"Cookie", Removing, false, ""},
		{"Set-Cookie", Setting, true, ""},
		{"Server", Removing, true, ""},
		{"Content-Type", Setting, true, ""},
		{"Via", Removing, true, ""},
		{"Via", Setting, true, "server.via"},
		{"RateLimit", Setting, false, ""}, // a backend may be told what it likes
		{"RateLimit", Setting, true, "limiter.headers"},
		{"x-ratelimit-reset", Removing, true, "limiter.headers"},
		{"Host", Setting, false, "pools.*.host"},
		{"HOST", Removing, false, "pools.*.host"},
		{"Content-Length", Removing, true, "for each connection"},
		{"content_length", Setting, true, "for each connection"},
		{"Transfer-Encoding", Setting, false, "for each connection"},
		{"Connection", Setting, true, "for each connection"},
		{"Keep-Alive", Setting, true, "for each connection"},
		{"Upgrade", Removing, false, "for each connection"},
		{"Proxy-Authorization", Setting, false, "for each connection"},
		{"Trailer", Setting, true, "for each connection"},
		{"X-Forwarded-For", Setting, false, "server.trusted_proxies"},
		{"X-Forwarded-Anything", Removing, false, "server.trusted_proxies"},
		{"x_forwarded_for", Setting, false, "server.trusted_proxies"},
		{"Forwarded", Removing, false, "server.trusted_proxies"},
		{"X-Real-IP", Setting, false, "server.trusted_proxies"},
		{"True-Client-IP", Removing, false, "server.client_ip_header"},
		{"true_client_ip", Setting, false, "server.client_ip_header"},
		{"X-Request-Id", Removing, false, "its ID"},
		{"X-Client-Subject", Setting, false, "server.tls.client_ca"},
		{"x_client.subject", Removing, false, "server.tls.client_ca"},
		{"X-Client-Subject", Setting, true, ""},
		{"Idempotency-Key", Removing, false, "retry.idempotency_key"},
		{"", Setting, false, "the name of a field"},
		{"A B", Setting, false, "the name of a field"},
		{"A:", Removing, false, "the name of a field"},
		{"A\r\nB", Removing, true, "the name of a field"},
	} {
		got := CheckEdit(test.name, &Own{ClientField: "true-client-ip", Subject: true}, test.action, test.response)
		if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%q, action %d, response %v: use %q, want %q in it", test.name, test.action, test.response, got, test.want)
		}
	}
}

// No field that the edit sets or removes goes on, in any spelling, in the header or behind the body.
func TestEdit(t *testing.T) {
	e := NewEdit(map[string]string{"X-Team": "a", "B": "c: d"}, []string{"x-DEBUG", "Authorization"})
	header := "x_team: 1\r\nA: 1\r\nX-Team: 2\r\nx-debug: 3\r\nX_Debug: 4\r\nX-Debugs: 5\r\nAuthorization: 6\r\nb: 7\r\nHost: h\r\n"
	r := Request{Method: []byte("GET"), Target: []byte("/a?b"), Proto: []byte("HTTP/1.1"), Header: []byte(header)}
	if why := r.Guard(&Rules{}); why != 0 {
		t.Fatal(r.Fault)
	}
	from := Sender{Peer: netip.MustParseAddr("192.0.2.1"), ID: []byte("id")}
	got := string(r.AppendHeader(nil, &from, &Changes{Path: []byte("/c"), Host: "other", Fields: e}, nil, &Via{}))
	want := "GET /c?b HTTP/1.1\r\nA: 1\r\nX-Debugs: 5\r\nHost: other\r\n" +
		"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\nX-Request-Id: id\r\nB: c: d\r\nX-Team: a\r\n\r\n"
	if got != want {
		t.Errorf("got\n%q, want\n%q", got, want)
	}
	var trailers Trailers
	for _, line := range []string{"X-Team: 1", "X-Sum: 2", "x_debug: 3"} {
		if !trailers.Add([]byte(line)) {
			t.Fatal(line)
		}
	}
	if got := string(r.AppendTrailers(nil, &trailers)); got != "X-Sum: 2\r\n" {
		t.Errorf("the trailers are %q", got)
	}
	plain := r.AppendHeader(nil, &from, &Changes{}, nil, &Via{})
	if !strings.HasPrefix(string(plain), "GET /a?b HTTP/1.1\r\n"+header) {
		t.Errorf("without changes: got %q", plain)
	}
	if e := NewEdit(nil, nil); e != nil {
		t.Errorf("an edit of nothing is %v", e)
	}
}

func TestShown(t *testing.T) {
	for name, want := range map[string]string{"X-Team": "a", "Server": "a", "authorization": "…", "X-Api-Key": "…", "Set-Cookie": "…", "X-Auth-User": "…", "X-ACCESS-TOKEN": "…"} {
		if got := Shown(name, "a"); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}
