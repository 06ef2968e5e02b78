package proxy

import (
	"bufio"
	"io"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"strings"
	"testing"
)

// FuzzGuard gives the server any bytes as a request. Whatever the guard lets
// through reaches the backend as a header that can be read in one way, by a parser
// written from the RFC and by net/http, and leaves the bytes behind it alone.
func FuzzGuard(f *testing.F) {
	for _, test := range requestHeaders {
		f.Add(test.request, uint16(len(test.request)/2))
	}
	for _, request := range []string{
		"\r\n" + pipelined, "GET / HTTP/1.1\nHost: a\n\n", "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
		"GET //a HTTP/1.1\r\nHost: a\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nContent_Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
		"GET http://a:80//b HTTP/1.0\r\nHost:\r\n\r\n", "GET / HTTP/1.1\r\nHost: [::1]:80\r\nConnection: host,content-length\r\n\r\n",
	} {
		f.Add(request, uint16(20))
	}
	o := testOptions("http://127.0.0.1:1")
	o.Server.TrustedProxies = []string{"192.0.2.0/24"}
	trusting := New(o)
	o.Server.TrustedProxies = nil
	stranger := New(o)
	f.Fuzz(func(t *testing.T, raw string, cut uint16) {
		for _, p := range []*Proxy{stranger, trusting} {
			in := newPieces(raw, int(cut))
			x, why, parsed := p.parsedRequest(in)
			if !parsed {
				return
			}
			if why == none {
				p.identify(x)
				x.backend = p.pools[0].backends[0]
				out := string(p.appendRequestHeader(nil, x))
				checkRequest(t, x, out)
				rest := string(x.client.in.buffered()) + in.unread()
				if before, ok := strings.CutSuffix(raw, rest); !ok || !strings.HasSuffix(before, "\r\n\r\n") {
					t.Errorf("of %q the header ends before %q", raw, rest)
				}
			}
			endExchange(x)
		}
	})
}

// checkRequest fails the test if the header for the backend can be misread.
func checkRequest(t *testing.T, x *exchange, out string) {
	t.Helper()
	m, err := strictParse(out)
	if err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	if err := m.framed(); err != nil {
		t.Errorf("%v in %q", err, out)
	}
	start := strings.Split(m.start, " ")
	if len(start) != 3 || start[2] != "HTTP/1.1" || start[0] == "" || start[0] == "CONNECT" ||
		start[1] != "*" && (!strings.HasPrefix(start[1], "/") || strings.HasPrefix(start[1], "//") || strings.Contains(start[1], "#")) {
		t.Errorf("request line %q", m.start)
	}
	if len(m.hosts) != 1 || strings.ContainsAny(m.hosts[0], " /@?#\\\t") {
		t.Errorf("Host %q", m.hosts)
	} else if a := string(x.request.authority); a != "" && !strings.EqualFold(a, m.hosts[0]) {
		t.Errorf("routed by %q, but sent with the Host %q", a, m.hosts[0])
	}
	for _, name := range []string{"connection", "keep-alive", "te", "trailer", "upgrade", "expect", "proxy-connection", "proxy-authorization"} {
		if m.fields[name] != 0 {
			t.Errorf("%s reaches the backend in %q", name, out)
		}
	}
	if m.fields["x-forwarded-for"] != 1 || m.fields["x-forwarded-proto"] != 1 || m.fields["x-forwarded-host"] > 1 || m.fields["via"] < 1 {
		t.Errorf("forwarding fields in %q", out)
	}
	for name := range m.fields {
		if x.trusted || name == "x-forwarded-for" || name == "x-forwarded-proto" || name == "x-forwarded-host" {
			continue
		}
		if name == "forwarded" || strings.HasPrefix(name, "x-forwarded-") && len(name) > len("x-forwarded-") {
			t.Errorf("a stranger's %s reaches the backend", name)
		}
	}
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(out)))
	if err != nil {
		if !isOursAlone(err) {
			t.Errorf("net/http: %v in %q", err, out)
		}
		return
	}
	length := r.ContentLength
	switch b := &x.request.body; {
	case b.framing == chunked && length != -1, b.framing == fixedLength && length != b.length, b.framing == noBody && length != 0:
		t.Errorf("net/http reads a body of %d in %q, we one of framing %d and length %d", length, out, b.framing, b.length)
	}
}

// isOursAlone reports whether net/http refuses what we let through on purpose:
// the target's escapes are the backend's to judge.
func isOursAlone(err error) bool {
	return strings.Contains(err.Error(), "invalid URL escape") || strings.Contains(err.Error(), "malformed HTTP request") || strings.Contains(err.Error(), "parse ")
}

// FuzzResponseHeader gives any bytes as a backend's response. What is accepted
// reaches the client as a header that can be read in one way, and net/http, where
// it accepts the response too, reads the same status and body.
func FuzzResponseHeader(f *testing.F) {
	for _, response := range []string{
		lines("HTTP/1.1 200 OK", "Content-Length: 5") + "hello", lines("HTTP/1.0 200", "Connection: keep-alive, x-a", "X-A: 1") + "hello",
		lines("HTTP/1.1 100 Continue") + lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + "5\r\nhello\r\n0\r\n\r\n",
		lines("HTTP/1.1 204 No Content", "Content-Length: 0"), lines("HTTP/1.1 304 \xff", "ETag: \"a\""), lines("HTTP/1.1 200 OK", "Content-Length: 5", "Content-Length: 5"),
	} {
		f.Add(response, uint16(20), false)
		f.Add(response, uint16(3), true)
	}
	f.Fuzz(func(t *testing.T, raw string, cut uint16, head bool) {
		in := newPieces(raw, int(cut))
		r, err := readResponse(in, head)
		if err != nil {
			return
		}
		x := &exchange{response: *r}
		out := string(x.appendResponseHeader(nil))
		m, err := strictParse(out)
		if err == nil {
			err = m.framed()
		}
		if err != nil || !strings.HasPrefix(m.start, "HTTP/1.1 ") || m.fields["keep-alive"] != 0 ||
			r.status != upgradeRequired && m.fields["connection"]+m.fields["upgrade"] != 0 {
			t.Fatalf("%v in %q", err, out)
		}
		if want := x.chunks(); want != (len(m.codings) == 1) {
			t.Errorf("chunks %v, Transfer-Encoding %q", want, m.codings)
		}
		compareResponse(t, raw, head, r)
	})
}

// compareResponse reads the response with net/http too.
func compareResponse(t *testing.T, raw string, head bool, r *response) {
	request := &http.Request{Method: http.MethodGet}
	if head {
		request.Method = http.MethodHead
	}
	br := bufio.NewReader(strings.NewReader(raw))
	want, err := http.ReadResponse(br, request)
	for err == nil && want.StatusCode < 200 && want.StatusCode != 101 {
		want, err = http.ReadResponse(br, request)
	}
	if err != nil {
		return
	}
	if want.StatusCode != r.status {
		t.Errorf("status %d, net/http reads %d", r.status, want.StatusCode)
	}
	content, err := io.ReadAll(want.Body)
	if err != nil {
		return
	}
	var got []byte
	for err = nil; !r.body.ended && err == nil; {
		var part []byte
		part, err = r.body.next(make([]byte, 0, 100))
		got = append(got, part...)
	}
	if err == nil && string(got) != string(content) {
		t.Errorf("body %q, net/http reads %q, of %q", got, content, raw)
	}
}

// FuzzChunked compares the decoder with net/http's: what it accepts, that one
// decodes to the same bytes.
func FuzzChunked(f *testing.F) {
	for _, test := range chunkedBodies {
		f.Add(test.in+"rest", uint16(len(test.in)/2), uint8(7))
	}
	for _, body := range []string{"1\na\n0\n\n", "0x1\r\na\r\n0\r\n\r\n", "1\r\nab0\r\n\r\n", "ffffffffffffffff\r\n", "1 ;\r\na\r\n0\r\n\r\n"} {
		f.Add(body, uint16(1), uint8(1))
	}
	f.Fuzz(func(t *testing.T, raw string, cut uint16, size uint8) {
		got, rest, err := decode(newPieces(raw, int(cut)), chunked, 0, int(size)+1)
		again, restAgain, errAgain := decode(newPieces(raw), chunked, 0, 4096)
		if (err == nil) != (errAgain == nil) || err == nil && (got != again || rest != restAgain) {
			t.Errorf("cut at %d: %q, rest %q, %v; whole: %q, rest %q, %v", cut, got, rest, err, again, restAgain, errAgain)
		}
		if err != nil {
			return
		}
		if taken, ok := strings.CutSuffix(raw, rest); !ok || !strings.HasSuffix(taken, "\r\n\r\n") {
			t.Errorf("of %q the body ends before %q", raw, rest)
		}
		want, err := io.ReadAll(httputil.NewChunkedReader(strings.NewReader(raw)))
		spaced := strings.Contains(raw, " ;") || strings.Contains(raw, "\t;") // allowed by RFC 9112, section 7.1.1
		if err != nil && !spaced && !strings.Contains(err.Error(), "too much non-data") {
			t.Errorf("net/http: %v in %q", err, raw)
		}
		if err == nil && got != string(want) {
			t.Errorf("got %q, net/http reads %q", got, want)
		}
	})
}

// FuzzForwardedAddr compares the reader of X-Forwarded-For with netip's: it accepts
// nothing that is no address once port and brackets are off.
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
