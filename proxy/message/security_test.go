package message

import (
	"strings"
	"testing"

	"loadbalancer/proxy/reason"
)

func TestAdmits(t *testing.T) {
	for _, test := range []struct {
		name, authority string
		want            bool
	}{
		{"a.example", "a.example", true},
		{"a.example", "A.Example:8443", true},
		{"a.example", "a.example.", true},
		{"a.example", "a.example.:443", true},
		{"a.example", "a.example:", true},
		{"a.example", "", true}, // names nothing
		{"a.example", "b.example", false},
		{"a.example", "aa.example", false},
		{"a.example", "a.example..", false},
		{"a.example", "%61.example", false},
		{"a.example", ".a.example", false},
		{"a.example", "192.0.2.1", false},
		{"a.example", "[2001:db8::1]", false},
		{"a.example", ":443", false},
		{"", "", true},
		{"", "192.0.2.1", true},
		{"", "192.0.2.1:8443", true},
		{"", "[2001:db8::1]", true},
		{"", "[2001:db8::1]:8443", true},
		{"", "a.example", false},
		{"", "192.0.2.256", false},
		{"", "192.0.2", false},
		{"", "192.0.2.1.5", false},
		{"", "192.0.2.0001", false},
		{"", "192.0..1", false},
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"k.example", "\u212a.example", false}, // the sign of Kelvin is no k
	} {
		s := Security{ServerName: test.name, Verified: true}
		if got := s.admits([]byte(test.authority)); got != test.want {
			t.Errorf("%q after a handshake for %q: %v, want %v", test.authority, test.name, got, test.want)
		}
		if s.Verified = false; s.admits([]byte(test.authority)) {
			t.Errorf("%q after a handshake for %q is admitted without a certificate", test.authority, test.name)
		}
	}
}

// request returns one of a connection, which has passed the guard.
func request(t *testing.T, rules Rules, s *Security, header string) *Request {
	t.Helper()
	r := &Request{Method: []byte("GET"), Target: []byte("/"), Proto: []byte("HTTP/1.1"), Security: s,
		Header: []byte("Host: a.example\r\n" + header + "\r\n")}
	if why := r.Guard(&rules); why != reason.None {
		t.Fatalf("%q: %s", header, why)
	}
	return r
}

// subjectSpellings are those of X-Client-Subject that a backend may mistake for it.
var subjectSpellings = []string{"X-Client-Subject", "x-client-subject", "X_Client_Subject", "X-CLIENT_SUBJECT", "X.Client.Subject", "X!Client~Subject"}

// No client can say who it is: neither in the clear, nor over TLS, nor through a trusted proxy.
func TestSubjectIsTheBalancersAlone(t *testing.T) {
	alice := &Security{ServerName: "a.example", Subject: "CN=alice", Verified: true}
	for _, spelled := range subjectSpellings {
		for _, security := range []*Security{nil, alice, {ServerName: "a.example", Verified: true}} {
			for _, trusted := range []bool{false, true} {
				for _, connection := range []string{"", "Connection: X-Client-Subject\r\n"} {
					r := request(t, Rules{Own: Own{Subject: true}}, security, connection+spelled+": CN=mallory\r\nX-Other: a\r\n"+spelled+":\r\n")
					got := string(r.AppendHeader(nil, &Sender{Trusted: trusted}, &Changes{}, nil, &Via{}))
					want := ""
					if security != nil && security.Subject != "" {
						want = "X-Client-Subject: CN=alice\r\n"
					}
					if strings.Contains(got, "mallory") || strings.Count(strings.ToLower(got), "subject") != strings.Count(want, "X") || !strings.Contains(got, want) || !strings.Contains(got, "X-Other: a\r\n") {
						t.Errorf("%s, %+v, trusted %v: got %q", spelled, security, trusted, got)
					}
				}
			}
			r := request(t, Rules{Own: Own{Subject: true}}, security, "")
			var trailers Trailers
			if !trailers.Add([]byte(spelled+": CN=mallory")) || !trailers.Add([]byte("X-Other: a")) {
				t.Fatal("a trailer is refused")
			}
			if got := string(r.AppendTrailers(nil, &trailers)); got != "X-Other: a\r\n" {
				t.Errorf("trailers %q go on", got)
			}
		}
	}
}

// Without client_ca, X-Client-Subject is a field like any other.
func TestSubjectWithoutAuthority(t *testing.T) {
	r := request(t, Rules{}, &Security{ServerName: "a.example"}, "X-Client-Subject: CN=mallory\r\n")
	got := string(r.AppendHeader(nil, &Sender{}, &Changes{}, nil, &Via{}))
	if strings.Count(got, "X-Client-Subject") != 1 || !strings.Contains(got, "X-Client-Subject: CN=mallory\r\n") {
		t.Errorf("got %q", got)
	}
}

// What only resembles the name goes on.
func TestFieldsLikeTheSubject(t *testing.T) {
	for _, name := range []string{"X-Client-Subjects", "X-Client-Subjec", "X-Client-Subjekt", "XaClient-Subject", "X1Client-Subject", "X-Client-Subject-DN", "Client-Subject"} {
		r := request(t, Rules{Own: Own{Subject: true}}, nil, name+": a\r\n")
		if got := string(r.AppendHeader(nil, &Sender{}, &Changes{}, nil, &Via{})); !strings.Contains(got, name+": a\r\n") {
			t.Errorf("%s does not go on: %q", name, got)
		}
	}
}

func TestMisdirected(t *testing.T) {
	rules := Rules{Own: Own{Subject: true}}
	for _, test := range []struct {
		security *Security
		rules    Rules
		want     reason.Code
	}{
		{nil, rules, reason.None}, // in the clear
		{&Security{ServerName: "a.example", Verified: true}, rules, reason.None},
		{&Security{ServerName: "b.example", Verified: true}, rules, reason.Misdirected},
		{&Security{ServerName: "a.example"}, rules, reason.Misdirected},
		{&Security{Verified: true}, rules, reason.Misdirected},
		{&Security{ServerName: "b.example"}, Rules{}, reason.None},
	} {
		r := &Request{Method: []byte("GET"), Target: []byte("/"), Proto: []byte("HTTP/1.1"), Security: test.security, Header: []byte("Host: a.example\r\n\r\n")}
		if got := r.Guard(&test.rules); got != test.want || got != reason.None && r.Fault == nil {
			t.Errorf("%+v, %+v: %q, %v, want %q", test.security, test.rules, got, r.Fault, test.want)
		}
	}
	absolute := &Request{Method: []byte("GET"), Target: []byte("https://b.example/"), Proto: []byte("HTTP/1.0"), Security: &Security{ServerName: "a.example", Verified: true}, Header: []byte("\r\n")}
	if got := absolute.Guard(&rules); got != reason.Misdirected {
		t.Errorf("the target's authority: %q", got)
	}
}

// Backends are told the scheme that the client speaks: with the trusted proxy in front, or here.
func TestScheme(t *testing.T) {
	for _, test := range []struct {
		secure, trusted bool
		told            string
		want            string
	}{
		{false, false, "", "http"},
		{false, false, "https", "http"},
		{false, true, "", "http"},
		{false, true, "https", "https"},
		{true, false, "", "https"},
		{true, false, "http", "https"},
		{true, true, "", "https"},
		{true, true, "http", "http"},
		{true, true, "wss", "wss"},
	} {
		var security *Security
		if test.secure {
			security = &Security{}
		}
		header := ""
		if test.told != "" {
			header = "X-Forwarded-Proto: " + test.told + "\r\n"
		}
		r := request(t, Rules{}, security, header)
		got := string(r.AppendHeader(nil, &Sender{Trusted: test.trusted}, &Changes{}, nil, &Via{}))
		if strings.Count(got, "X-Forwarded-Proto: ") != 1 || !strings.Contains(got, "X-Forwarded-Proto: "+test.want+"\r\n") {
			t.Errorf("%+v: %q", test, got)
		}
		if secure := r.IsSecure(test.trusted); secure != (test.want == "https") {
			t.Errorf("%+v: secure is %v", test, secure)
		}
	}
}

// No header and no trailer has a backend see a subject that the balancer has not written.
func FuzzForgedSubject(f *testing.F) {
	for _, spelled := range subjectSpellings {
		f.Add("Connection: "+spelled+"\r\n"+spelled+": CN=mallory\r\n", spelled+": CN=mallory")
	}
	f.Add("Trailer: X-Client-Subject\r\nTransfer-Encoding: chunked\r\n", "X-Client-Subject\t: a")
	f.Fuzz(func(t *testing.T, header, trailer string) {
		r := &Request{Method: []byte("POST"), Target: []byte("/"), Proto: []byte("HTTP/1.1"), Header: []byte("Host: a\r\n" + header + "\r\n")}
		if r.Guard(&Rules{Own: Own{Subject: true}}) != reason.None {
			return
		}
		out := r.AppendHeader(nil, &Sender{Trusted: true}, &Changes{}, nil, &Via{})
		var trailers Trailers
		if trailers.Add([]byte(trailer)) {
			out = r.AppendTrailers(out, &trailers)
		}
		for line := range strings.SplitSeq(string(out), "\n") {
			name, _, _ := strings.Cut(line, ":")
			plain := strings.Map(func(c rune) rune {
				if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
					return c
				}
				return '-'
			}, strings.ToLower(strings.TrimSpace(name)))
			if plain == "x-client-subject" {
				t.Errorf("%q and %q make %q", header, trailer, line)
			}
		}
	})
}
