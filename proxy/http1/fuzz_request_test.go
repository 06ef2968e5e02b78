package http1

import (
	"bufio"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
)

// FuzzGuard gives the server any bytes as a request. Whatever the guard lets through, a reader by
// the letter of the RFC takes for the same request, with one Host and at most one field that frames
// it, and the bytes behind it are left alone.
func FuzzGuard(f *testing.F) {
	for _, request := range []string{
		withHost("GET /a//b/%2e%2E/c%2Fd?x HTTP/1.1", "zEBRA: 1", "Cookie: a=1", "Accept:\t*/*"), withHost("OPTIONS http://example.com HTTP/1.1"), lines("GET / HTTP/1.0", "A: 1"),
		withHost("GET / HTTP/1.1", "A: 1", "Connection: keep-alive, X-Hop", "Keep-Alive: 5", "TE: trailers", "Trailer: A", "Upgrade: h2c", "X-Hop: 1", "Expect: 100-continue"),
		withHost("POST / HTTP/1.1", "tRAILER: X-Sum ", "Transfer-Encoding: chunked") + "0\r\n\r\n", lines("GET https://example.com/a HTTP/1.1", "Host: Example.com:443"),
		withHost("GET / HTTP/1.1", "X-Forwarded-For: 203.0.113.1", "Forwarded: for=203.0.113.1", "x-forwarded-proto: https", "X-Real-IP: 203.0.113.1"), "GET / HTTP/1.0\r\n\r\n",
	} {
		f.Add(request, uint16(len(request)/2))
	}
	f.Add("\r\n"+pipelined, uint16(20))
	f.Fuzz(func(t *testing.T, raw string, cut uint16) {
		in := newPieces(raw, int(cut))
		s, why, parsed := parsedRequest(in)
		if !parsed {
			return
		}
		defer endStream(s)
		if why != reason.None {
			return
		}
		rest := string(s.conn.in.buffered()) + in.unread()
		header, ok := strings.CutSuffix(raw, rest)
		if !ok || !strings.HasSuffix(header, "\r\n\r\n") {
			t.Errorf("of %q the header ends before %q", raw, rest)
		}
		var slow headerScan
		for i := range len(header) {
			if slow.end([]byte(header[i : i+1])); slow.faulty {
				t.Fatalf("%q is refused at byte %d when it comes byte by byte", header, i)
			}
		}
		m, err := strictParse(strings.TrimPrefix(header, "\r\n"))
		if err == nil {
			err = m.framed()
		}
		start := requestLine.FindStringSubmatch(m.start)
		if err != nil || start == nil || len(m.disguised) > 0 || len(m.lines) > message.MaxFields {
			t.Fatalf("%v in %q, names %q", err, header, m.disguised)
		}
		r := &s.Request
		target, authority, ok := strictTarget(start[1], start[2], strings.Join(m.hosts, ""))
		if !ok || start[1] != string(r.Method) || target != string(r.Target) || (start[3] == "0") != r.HTTP10 {
			t.Errorf("%q was read as %s %s", m.start, r.Method, r.Target)
		}
		if len(m.hosts) > 1 || len(m.hosts) == 0 && !r.HTTP10 || authority != string(r.Authority) {
			t.Errorf("Host %q and %q were read as %q, want %q", m.hosts, m.start, r.Authority, authority)
		}
		if (len(m.codings) == 1) != (r.Framing == message.Chunked) || r.HTTP10 && len(m.codings) > 0 ||
			len(m.lengths) == 1 && strings.TrimLeft(m.lengths[0], "0") != strings.TrimLeft(strconv.FormatInt(r.Length, 10), "0") {
			t.Errorf("Content-Length %q, Transfer-Encoding %q were read as framing %d, length %d", m.lengths, m.codings, r.Framing, r.Length)
		}
	})
}

// FuzzRequestHeader gives the rewriter any request that passes the guard. The backend gets the
// client's fields in order and case, without those that end at this hop, and behind them ours; it
// can be read in one way.
func FuzzRequestHeader(f *testing.F) {
	for _, fields := range []string{
		"Host: a\r\nA: 1\r\na:2 ", "Host: a\r\nConnection: x-hop, host\r\nX-Hop: 1", "Host: a\r\nConnection: upgrade\r\nUpgrade: websocket, x/1", "Host: a\r\nTE: gzip, trailers\r\nTrailer: B\r\nTransfer-Encoding: chunked",
		"Host: a\r\nX-Forwarded-For: 192.0.2.1\r\nForwarded: for=b\r\nX-Forwarded-Port: 1", "Host:",
		"Host: a\r\nX-Real-IP: b\r\nCF-Connecting-IP: c\r\nx-real-ip:d\r\ncf-connecting-ip:e\r\nConnection: x-real-ip, cf-connecting-ip", "Host: a\r\nContent-Length: 3\r\nExpect: 100-continue",
		"Host: a\r\nX-Request-Id: b\r\nx-request-id:\r\nX-REQUEST-ID: c d\r\nConnection: x-request-id",
	} {
		f.Add("GET", "/a//b?c", fields, false, false)
		f.Add("POST", "http://a/%2f", fields, true, true)
		f.Add("OPTIONS", "HTTPS://A:443?b", fields, true, false)
	}
	f.Fuzz(func(t *testing.T, method, target, fields string, http10, trusted bool) {
		version := "1"
		if http10 {
			version = "0"
		}
		raw := method + " " + target + " HTTP/1." + version + "\r\n" + fields + "\r\n\r\n"
		s, why, parsed := parsedRequest(newPieces(raw))
		if !parsed {
			return
		}
		defer endStream(s)
		if why != reason.None {
			return
		}
		from := message.Sender{Peer: s.Peer(), Client: s.Peer(), Trusted: trusted, ID: []byte("id")}
		out := string(s.Request.AppendHeader(nil, &from, &message.Changes{}, []byte("backend:80"), &message.Via{}))
		checkRequest(t, &s.Request, trusted, out)
		header, _, _ := strings.Cut(raw, "\r\n\r\n")
		m, err := strictParse(strings.TrimPrefix(header, "\r\n") + "\r\n\r\n")
		if err != nil {
			t.Fatalf("%v in %q", err, raw)
		}
		want := strings.Join(append([]string{string(s.Request.Method) + " " + string(s.Request.Target) + " HTTP/1.1"}, passedFields(m, trusted, s.Request.Upgrade != nil)...), "\r\n")
		if tail, ok := strings.CutPrefix(out, want+"\r\n"); !ok || !ourFields.MatchString(tail) {
			t.Errorf("got %q, want %q and ours", out, want)
		}
		edit := message.NewEdit(map[string]string{"X-Team": "a"}, []string{"A", "Authorization"})
		edited := string(s.Request.AppendHeader(nil, &from, &message.Changes{Fields: edit}, []byte("backend:80"), &message.Via{}))
		checkRequest(t, &s.Request, trusted, edited)
		if got := edits.FindAllString(edited, -1); len(got) != 1 || got[0] != "X-Team: a\r\n" {
			t.Errorf("an edit leaves %q in %q", got, edited)
		}
		if edits.ReplaceAllString(edited, "") != edits.ReplaceAllString(out, "") {
			t.Errorf("an edit makes %q of %q", edited, out)
		}
	})
}

// edits finds what the edit of FuzzRequestHeader sets or removes.
var edits = regexp.MustCompile(`(?im)^(X[-_]Team|A|Authorization):[^\n]*\n`)

// ourFields are what stands behind the client's own.
var ourFields = regexp.MustCompile(`^(Host: [^\r\n]*\r\n)?(Transfer-Encoding: chunked\r\n)?(Connection: Upgrade\r\n)?(TE: trailers\r\nConnection: TE\r\n)?` +
	`X-Forwarded-For: [^\r\n]+\r\nX-Forwarded-Proto: [^\r\n]+\r\n(X-Forwarded-Host: [^\r\n]+\r\n)?X-Request-Id: id\r\n\r\n$`)

// passedFields are the lines of a request that go on to the backend.
func passedFields(m strictMessage, trusted, upgrade bool) (lines []string) {
	named, replaced := connectionOptions(m), map[string]bool{}
	for _, line := range m.lines {
		name, value, _ := strings.Cut(line, ":")
		name = strings.ToLower(name)
		passes := !named[name]
		switch name {
		case "connection", "keep-alive", "te", "expect", "transfer-encoding", "proxy-connection", "proxy-authenticate", "proxy-authorization",
			"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-request-id":
			passes = false
		case "upgrade":
			passes = upgrade
		case "trailer":
			passes = passes && len(m.codings) == 1
		case "host":
			passes = strings.Trim(value, " \t") != ""
		case "content-length", "authorization":
			passes = true
		case "x-real-ip", "cf-connecting-ip":
			if passes = trusted || !replaced[name]; !trusted {
				line = line[:len(name)] + ": 192.0.2.1"
			}
			replaced[name] = true
		default:
			if name == "forwarded" || strings.HasPrefix(name, "x-forwarded-") && name != "x-forwarded-" {
				passes = trusted
			}
		}
		if passes {
			lines = append(lines, line)
		}
	}
	return lines
}

// checkRequest fails the test if the header for the backend can be misread.
func checkRequest(t *testing.T, request *message.Request, trusted bool, out string) {
	t.Helper()
	m, err := strictParse(out)
	if err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	if err := m.framed(); err != nil || len(m.disguised) > 0 {
		t.Errorf("%v in %q, names %q", err, out, m.disguised)
	}
	start := strings.Split(m.start, " ")
	if len(start) != 3 || start[2] != "HTTP/1.1" || start[0] == "" || start[0] == "CONNECT" ||
		start[1] != "*" && (!strings.HasPrefix(start[1], "/") || strings.Contains(start[1], "#")) {
		t.Errorf("request line %q", m.start)
	}
	if len(m.hosts) != 1 || strings.ContainsAny(m.hosts[0], " /@?#\\\t") {
		t.Errorf("Host %q", m.hosts)
	} else if a := string(request.Authority); a != "" && !strings.EqualFold(a, m.hosts[0]) {
		t.Errorf("routed by %q, but sent with the Host %q", a, m.hosts[0])
	}
	if m.fields["te"]+m.fields["upgrade"] != m.fields["connection"] || m.fields["te"] == 1 && !strings.Contains(out, "\r\nTE: trailers\r\nConnection: TE\r\n") || m.fields["te"] > 1 ||
		m.fields["trailer"] > 0 && len(m.codings) == 0 {
		t.Errorf("TE, Connection or Trailer in %q", out)
	}
	if n := m.fields["upgrade"]; n > 1 || n == 1 && (len(m.codings) > 0 || request.Length > 0 || request.HTTP10 ||
		!strings.Contains(out, "\r\nConnection: Upgrade\r\n") || h2Upgrade.MatchString(out)) {
		t.Errorf("Upgrade in %q", out)
	}
	for _, name := range []string{"keep-alive", "expect", "proxy-connection", "proxy-authorization"} {
		if m.fields[name] != 0 {
			t.Errorf("%s reaches the backend in %q", name, out)
		}
	}
	if m.fields["x-forwarded-for"] != 1 || m.fields["x-forwarded-proto"] != 1 || m.fields["x-forwarded-host"] > 1 {
		t.Errorf("forwarding fields in %q", out)
	}
	if m.fields["x-request-id"] != 1 {
		t.Errorf("X-Request-Id in %q", out)
	}
	for name := range m.fields {
		if trusted || name == "x-forwarded-for" || name == "x-forwarded-proto" || name == "x-forwarded-host" {
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
	switch {
	case request.Framing == message.Chunked && length != -1, request.Framing == message.FixedLength && length != request.Length, request.Framing == message.NoBody && length != 0:
		t.Errorf("net/http reads a body of %d in %q, we one of framing %d and length %d", length, out, request.Framing, request.Length)
	}
}

// h2Upgrade finds an Upgrade to HTTP.
var h2Upgrade = regexp.MustCompile(`(?i)\r\nUpgrade:([^\r\n]*,)?[ \t]*(h2c[ \t]*[,\r]|http)`)

// isOursAlone reports whether net/http refuses what we let through on purpose: the target's escapes
// are the backend's to judge.
func isOursAlone(err error) bool {
	return strings.Contains(err.Error(), "invalid URL escape") || strings.Contains(err.Error(), "malformed HTTP request") || strings.Contains(err.Error(), "parse ")
}

// connectionOptions are what the message's Connection fields name, in lower case.
func connectionOptions(m strictMessage) map[string]bool {
	var all []string
	for _, line := range m.lines {
		if name, value, _ := strings.Cut(line, ":"); strings.EqualFold(name, "Connection") {
			all = append(all, value)
		}
	}
	return options(strings.Join(all, ","))
}

func options(connection string) map[string]bool {
	named := map[string]bool{}
	for option := range strings.SplitSeq(connection, ",") {
		named[strings.ToLower(strings.Trim(option, " \t"))] = true
	}
	return named
}
