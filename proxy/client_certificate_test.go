package proxy

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"loadbalancer/proxy/certtest"
	"loadbalancer/proxy/message"
	"loadbalancer/proxy/upstream"
)

// plainGet is a request that leaves its connection open.
const plainGet = "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"

// fieldsOf returns the lines of a header with this name, in any case.
func fieldsOf(header, name string) (lines []string) {
	for line := range strings.SplitSeq(header, "\r\n") {
		if before, _, ok := strings.Cut(line, ":"); ok && strings.EqualFold(before, name) {
			lines = append(lines, line)
		}
	}
	return lines
}

func requireFields(t *testing.T, header, name string, want ...string) {
	t.Helper()
	if got := fieldsOf(header, name); strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("%s: got %q, want %q in %q", name, got, want, header)
	}
}

// The scheme that a backend is told is the client's, on both listeners.
func TestSchemeOfAListener(t *testing.T) {
	url, got := startRecordingBackend(t)
	e := startEdge(t, testOptions(url), false)
	request := lines("GET / HTTP/1.1", "Host: example.com", "X-Forwarded-Proto: ftp", "X-Forwarded-Ssl: on", "Forwarded: proto=ftp", "X-Client-Subject: CN=mallory")
	for _, test := range []struct {
		client *rawClient
		want   string
	}{{newWire(t, e.clear), "X-Forwarded-Proto: http"}, {e.dial(t, "example.com"), "X-Forwarded-Proto: https"}, {e.dial(t, ""), "X-Forwarded-Proto: https"}} {
		test.client.send(request)
		header := <-got
		requireFields(t, header, "X-Forwarded-Proto", test.want)
		requireFields(t, header, "X-Client-Subject", "X-Client-Subject: CN=mallory") // a field like any other
		if strings.Contains(header, "ftp") || strings.Contains(header, "Ssl") {
			t.Errorf("what a client says of itself goes on: %q", header)
		}
		test.client.receive("GET")
	}
}

// What a trusted proxy says of its client goes on, whatever it speaks itself; where it says nothing,
// its own connection counts.
func TestSchemeFromATrustedProxy(t *testing.T) {
	url, got := startRecordingBackend(t)
	o := testOptions(url)
	o.Server.TrustedProxies = prefixes("127.0.0.1")
	e := startEdge(t, o, false)
	for _, test := range []struct{ told, clear, secure string }{
		{"X-Forwarded-Proto: https", "https", "https"}, {"X-Forwarded-Proto: http", "http", "http"}, {"X-A: b", "http", "https"}, {"X-Forwarded-Proto:", "http", "https"},
	} {
		for client, want := range map[*rawClient]string{newWire(t, e.clear): test.clear, e.dial(t, "example.com"): test.secure} {
			client.send(lines("GET / HTTP/1.1", "Host: example.com", test.told))
			requireFields(t, <-got, "X-Forwarded-Proto", "X-Forwarded-Proto: "+want)
			client.receive("GET")
		}
	}
}

// The cookie that keeps a client at a backend is for TLS alone where the client speaks it.
func TestStickyCookieOverTLS(t *testing.T) {
	o := testOptions(startBackend(t, mirror))
	change(&o, func(c *upstream.PoolConfig) {
		c.Sticky = upstream.StickyConfig{Cookie: "lb", Secret: "a secret of the tests"}
	})
	e := startEdge(t, o, false)
	for client, want := range map[*rawClient]bool{newWire(t, e.clear): false, e.dial(t, "example.com"): true} {
		client.send(lines("GET / HTTP/1.1", "Host: example.com"))
		cookie := client.receive("GET").Header.Get("Set-Cookie")
		if !strings.HasPrefix(cookie, "lb=") || strings.Contains(cookie, "Secure") != want {
			t.Errorf("Set-Cookie: %s, want Secure %v", cookie, want)
		}
	}
}

// Backends and the log get the subject of the certificate that the client has shown, and no
// other: not one from a client's own field, in any spelling, in the header or behind the body, on any
// listener, through a trusted proxy or not.
func TestClientSubject(t *testing.T) {
	url, got := startVerbatimBackend(t)
	for _, trusted := range []bool{false, true} {
		var log logLines
		o := testOptions(url)
		o.Access, o.Log = AccessAll, zerolog.New(&log)
		if trusted {
			o.Server.TrustedProxies = prefixes("127.0.0.1")
		}
		e := startEdge(t, o, true)
		request := lines("POST / HTTP/1.1", "Host: example.com", "X-Client-Subject: CN=mallory", "x_client_subject: CN=mallory", "X.Client-Subject: CN=mallory", "Connection: X-Client-Subject",
			"Trailer: X-Client-Subject, X-Sum", "TE: trailers", "Transfer-Encoding: chunked") + "2\r\nhi\r\n0\r\nX-Client-Subject: CN=mallory\r\nX_Client_Subject: CN=mallory\r\nX-Sum: 1\r\n\r\n"
		for _, client := range []struct {
			*rawClient
			want []string
		}{{newWire(t, e.clear), nil}, {e.dial(t, "example.com", e.certificate(alice)), []string{"X-Client-Subject: " + alicesText}}} {
			for range 2 { // the second request of a connection is no other's
				client.send(request)
				r := <-got
				requireFields(t, r.header, "X-Client-Subject", client.want...)
				if strings.Contains(r.header+r.body, "mallory") {
					t.Errorf("a forged field goes on: %q", r)
				}
				client.receive("POST")
			}
			client.Close()
		}
		waitIdle(t, e.Proxy)
		subjects := map[any]int{}
		for _, line := range log.parsed(t) {
			subjects[line["client_subject"]]++
		}
		if subjects[nil] != 2 || subjects[alicesText] != 2 || len(subjects) != 2 {
			t.Errorf("the log has the subjects %v", subjects)
		}
	}
}

// A subject with hostile bytes stays one field, which a parser reads as the same text.
func TestHostileSubject(t *testing.T) {
	url, got := startRecordingBackend(t)
	var log logLines
	o := testOptions(url)
	o.Access, o.Log = AccessAll, zerolog.New(&log)
	e := startEdge(t, o, true)
	for name, want := range map[string]string{
		"a\r\nX-Admin: 1\r\n\r\nGET /": `CN=a\0D\0AX-Admin: 1\0D\0A\0D\0AGET /`,
		"a\x00b\x7f":                   `CN=a\00b\7F`,
		"Zoë, CN=admin":                `CN=Zo\C3\AB\, CN=admin`,
		`"a";b`:                        `CN=\"a\"\;b`,
		" a ":                          `CN=\20a\20`,
	} {
		client := e.dial(t, "example.com", e.certificate(pkix.Name{CommonName: name}))
		client.send(plainGet)
		header := <-got
		requireFields(t, header, "X-Client-Subject", "X-Client-Subject: "+want)
		requireFields(t, header, "X-Admin")
		client.receive("GET")
		client.Close()
	}
	client := e.dial(t, "example.com", e.certificate(pkix.Name{CommonName: "a", Organization: []string{strings.Repeat("long,", 2000)}}))
	client.send(plainGet)
	if long := fieldsOf(<-got, "X-Client-Subject"); len(long) != 1 || len(long[0]) > len("X-Client-Subject: ")+message.MaxSubject {
		t.Errorf("a long subject: %q", long)
	}
	client.receive("GET")
	waitIdle(t, e.Proxy)
	for _, line := range log.parsed(t) {
		if text, _ := line["client_subject"].(string); text == "" || strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c > '~' }) {
			t.Errorf("the log has the subject %q", text)
		}
	}
}

// A client without a certificate, or with one that is another authority's, expired, for servers alone or
// of another client's key, gets no connection.
func TestNoCertificateNoConnection(t *testing.T) {
	url, seen := startCountingBackend(t)
	e := startEdge(t, testOptions(url), true)
	known, other := e.certificate(alice), e.certificate(alice)
	forServers := func(c *x509.Certificate, _ *crypto.Signer) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	for name, own := range map[string][]tls.Certificate{"none": nil, "another authority's": {certtest.NewAuthority(t).Issue([]string{"client"})}, "the servers'": {e.servers.Issue([]string{"client"})},
		"expired": {e.clients.Issue([]string{"client"}, certtest.Expires(time.Now().Add(-time.Minute)))}, "a server's": {e.clients.Issue([]string{"client"}, forServers)}, "another key": {{Certificate: known.Certificate, PrivateKey: other.PrivateKey}}} {
		conn := tls.Client(dial(t, e.secure), &tls.Config{RootCAs: e.servers.Pool, ServerName: "example.com", Certificates: own, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if own == nil {
				return new(tls.Certificate), nil
			}
			return &own[0], nil // whatever the server asks for
		}})
		_, err := io.WriteString(conn, plainGet)
		if err == nil {
			_, err = conn.Read(make([]byte, 1))
		}
		if err == nil || err == io.EOF {
			t.Errorf("%s: %v", name, err)
		}
	}
	if seen.Load() != 0 {
		t.Errorf("the backend has got %d bytes", seen.Load())
	}
}

// One may not authenticate for one name and use another.
func TestMisdirectedRequests(t *testing.T) {
	url, seen := startRequestCounter(t)
	var log logLines
	o := testOptions(url)
	o.Access, o.Log = AccessAll, zerolog.New(&log)
	e := startEdge(t, o, true)
	own := e.certificate(alice)
	for _, test := range []struct {
		name, request string
		want          int
	}{
		{"example.com", lines("GET / HTTP/1.1", "Host: example.com"), 200},
		{"example.com", lines("GET / HTTP/1.1", "Host: EXAMPLE.com.:8443"), 200},
		{"example.com", lines("GET https://example.com/ HTTP/1.1", "Host: example.com"), 200},
		{"example.com", lines("GET / HTTP/1.0"), 200},
		{"example.com", lines("GET / HTTP/1.1", "Host: other.example"), 421},
		{"example.com", lines("POST / HTTP/1.1", "Host: other.example", "Content-Length: 40") + get("/")[:40], 421},
		{"example.com", lines("GET https://other.example/ HTTP/1.0"), 421},
		{"example.com", lines("GET / HTTP/1.1", "Host: 127.0.0.1"), 421},
		{"example.com", lines("GET /v1/api/ HTTP/1.1", "Host: other.example"), 421},
		{"", lines("GET / HTTP/1.1", "Host: 127.0.0.1:8443"), 200},
		{"", lines("GET / HTTP/1.1", "Host: [::1]"), 200},
		{"", lines("GET / HTTP/1.1", "Host: example.com"), 421},
	} {
		client := e.dial(t, test.name, own)
		before := seen.Load()
		client.send(test.request)
		a := client.receive("GET")
		if a.StatusCode != test.want || (seen.Load() != before) != (test.want == 200) {
			t.Errorf("%q after a handshake for %q: %d, want %d", test.request, test.name, a.StatusCode, test.want)
		}
		if test.want == 421 {
			checkProblem(t, a, 421, "bad_request", url)
			client.mustEnd()
		}
	}
	if got := errorsWith(e.Proxy, "bad_request"); got != "6" {
		t.Errorf("lb_errors_total is %s", got)
	}
	waitIdle(t, e.Proxy)
	all := log.parsed(t)
	line := all[slices.IndexFunc(all, func(line map[string]any) bool { return line["status"] == 421.0 })]
	checkLine(t, line, map[string]any{"status": 421.0, "reason": "bad_request", "client_subject": alicesText})
	if cause, _ := line["cause"].(string); !strings.Contains(cause, "handshake") {
		t.Errorf("the cause is %q", cause)
	}
}

// Without client_ca, a connection may serve any host.
func TestNamesWithoutClientCertificates(t *testing.T) {
	e := startEdge(t, testOptions(startBackend(t, mirror)), false)
	for _, name := range []string{"example.com", ""} {
		client := e.dial(t, name)
		client.send(lines("GET / HTTP/1.1", "Host: other.example"))
		if a := client.receive("GET"); a.StatusCode != 200 {
			t.Errorf("%q: %d", name, a.StatusCode)
		}
	}
}

// A connection whose client has shown no certificate, or one of an authority that counts no more, is
// of no use once certificates are asked for: a 421 has the client make another.
func TestAuthoritiesChange(t *testing.T) {
	url, got := startRecordingBackend(t)
	e := startEdge(t, testOptions(url), false)
	anonymous := e.dial(t, "example.com")
	anonymous.send(plainGet)
	requireFields(t, <-got, "X-Client-Subject")
	anonymous.receive("GET")

	o := testOptions(url)
	o.Edge.ClientCerts = true
	e.signers.Store(e.clients.Pool)
	e.Apply(o)
	anonymous.send(plainGet)
	if a := anonymous.receive("GET"); a.StatusCode != 421 {
		t.Errorf("without a certificate: %d", a.StatusCode)
	}
	anonymous.mustEnd()

	known := e.dial(t, "example.com", e.certificate(alice))
	both := e.clients.Pool.Clone()
	others := certtest.NewAuthority(t)
	both.AddCert(others.Root())
	for _, step := range []struct {
		name   string
		change func()
		want   int
	}{
		{"as it was", func() {}, 204},
		{"one authority more", func() { e.signers.Store(both) }, 204},
		{"the other one alone", func() { e.signers.Store(others.Pool) }, 421},
	} {
		step.change()
		known.send(plainGet)
		if a := known.receive("GET"); a.StatusCode != step.want {
			t.Errorf("%s: %d", step.name, a.StatusCode)
		}
		if step.want == 204 {
			requireFields(t, <-got, "X-Client-Subject", "X-Client-Subject: "+alicesText)
		}
	}
	known.mustEnd()
}

// A session does not outlive the authority of its certificate.
func TestResumptionAfterTheAuthorityChanged(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		e := startEdge(t, testOptions(startBackend(t, mirror)), true)
		own := e.certificate(alice)
		config := &tls.Config{RootCAs: e.servers.Pool, ServerName: "example.com", Certificates: []tls.Certificate{own}, ClientSessionCache: tls.NewLRUClientSessionCache(1), MaxVersion: version}
		connect := func() (resumed bool, err error) {
			conn := tls.Client(dial(t, e.secure), config)
			if _, err = io.WriteString(conn, plainGet); err != nil {
				return false, err
			}
			if _, err = conn.Read(make([]byte, 1)); err != nil {
				return false, err
			}
			return conn.ConnectionState().DidResume, nil
		}
		for i, want := range []bool{false, true, true} {
			if resumed, err := connect(); err != nil || resumed != want {
				t.Fatalf("%s, connection %d: resumed %v, %v", tls.VersionName(version), i, resumed, err)
			}
		}
		e.signers.Store(certtest.NewAuthority(t).Pool)
		if resumed, err := connect(); err == nil || resumed {
			t.Errorf("%s: a session of the authority before is resumed", tls.VersionName(version))
		}
		e.signers.Store(e.clients.Pool)
		if _, err := connect(); err != nil {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
	}
}
