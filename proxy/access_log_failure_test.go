package proxy

import (
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"loadbalancer/limiter"
)

// TestAccessLogCause wants what went wrong in words, of each failure.
func TestAccessLogCause(t *testing.T) {
	const backend = `127\.0\.0\.1:\d+`
	for _, test := range []struct {
		name    string
		backend func(t *testing.T) string
		request string // "": a GET
		reason  string
		cause   string // a pattern; "": there is none
	}{
		{"refused", func(t *testing.T) string { return "http://" + closedPort(t) }, "", "connect_failed", `dial tcp ` + backend + `: connect: connection refused`},
		{"queue full", fullBackend, "", "connect_timeout", `dial tcp ` + backend + `: .*timeout`},
		{"silent", silentBackend, "", "response_timeout", `no response header came within 250ms`},
		{"closed", rawAnswer(""), "", "backend_reset", `the backend closed the connection before it responded`},
		{"reset", func(t *testing.T) string {
			return startRawBackend(t, func(conn net.Conn) {
				_, _ = conn.Read(make([]byte, 1))
				reset(conn)
			})
		}, "", "backend_reset", `read from the backend: .*connection reset by peer`},
		{"closed within the header", rawAnswer("HTTP/1.1 200 OK\r\nA: "), "", "bad_response", `the backend closed the connection within the response header`},
		{"large header", rawAnswer("HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", 65<<10)), "", "bad_response", `the response header is larger than the pool's max_response_header`},
		{"not HTTP", rawAnswer("220 smtp.example.com\r\n"), "", "bad_response", `the response header is not valid HTTP/1\.1`},
		{"another protocol", rawAnswer(switched), "", "bad_response", `the backend switched to a protocol that the request did not ask for`},
		{"many interim responses", rawAnswer(strings.Repeat("HTTP/1.1 103 A\r\n\r\n", maxInterim+1)), "", "bad_response", `the backend sent more than 64 interim responses`},
		{"closed within the body", rawAnswer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe"), "", "backend_aborted", `the backend closed the connection within the response body`},
		{"bad chunk", rawAnswer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nx\r\n"), "", "backend_aborted", `the chunked coding of the response body is invalid`},
		{"bad chunk at once", rawAnswer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n"), "", "bad_response", `the chunked coding of the response body is invalid`},
		{"silent body", func(t *testing.T) string {
			return startRawBackend(t, func(conn net.Conn) {
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")
				_, _ = io.Copy(io.Discard, conn)
			})
		}, "", "backend_aborted", `nothing of the response body came for 500ms`},
		{"bad chunk of the client", silentBackend, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nsecret\r\n", "bad_request", `the chunked coding of the request body is invalid`},
		{"silent client", silentBackend, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhe", "request_timeout", `nothing of the request body came for 500ms`},
		{"silent client that uploads", silentBackend, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 500000\r\n\r\nhe", "request_timeout", `nothing of the request body came for 500ms`},
		{"no request line", silentBackend, "GET\r\n\r\n", "bad_request", `the first line is not a request line, .*`},
		{"large request header", silentBackend, "GET / HTTP/1.1\r\nHost: h\r\nA: " + strings.Repeat("a", 64<<10) + "\r\n\r\n", "header_too_large", `the header is larger than server\.max_header_size`},
		{"refused by the guard", silentBackend, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "bad_request", `there is more than one Host field`},
		{"header that does not end", silentBackend, "GET / HTTP/1.1\r\nHost: a\r\n", "request_timeout", `the header did not arrive within server\.read_header_timeout`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o := testOptions(test.backend(t))
			shortTimeouts(&o)
			o.Access = AccessErrors
			request := test.request
			if request == "" {
				request = get("/?secret")
			}
			_, lines := logged(t, o, request)
			if len(lines) != 1 {
				t.Fatalf("logged %v", lines)
			}
			cause, _ := lines[0]["cause"].(string)
			if !regexp.MustCompile("^(?:"+test.cause+")$").MatchString(cause) || lines[0]["reason"] != test.reason {
				t.Errorf("got %v, %q, want %s, %q", lines[0]["reason"], cause, test.reason, test.cause)
			}
		})
	}
}

// TestAccessLogAttempts wants every attempt, with its backend, reason, status and time, of requests
// that were retried or have failed, and of no others.
func TestAccessLogAttempts(t *testing.T) {
	const slow = 50 * time.Millisecond
	good := startRawBackend(t, answerAll("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	closing := startRawBackend(t, func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 1))
		time.Sleep(slow)
	})
	failing := startRawBackend(t, answerAll("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"))
	half := rawAnswer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")(t)
	refusing := "http://" + closedPort(t)
	name := func(url string) string { return nameOf(url) }
	attempt := func(url string, fields map[string]any) map[string]any {
		fields["backend"] = name(url)
		return fields
	}
	for _, test := range []struct {
		name     string
		backends []string
		access   Access
		want     map[string]any
		attempts []map[string]any // nil: they are not in the log
	}{
		{"served", []string{good}, AccessAll, map[string]any{"status": 200., "cause": nil, "backend_ms": brief}, nil},
		{"served with 500", []string{failing}, AccessErrors, map[string]any{"status": 500., "cause": nil, "backend_ms": brief}, nil},
		{"failed", []string{refusing}, AccessErrors, map[string]any{"status": 502., "backend_ms": nil},
			[]map[string]any{attempt(refusing, map[string]any{"reason": "connect_failed", "status": nil, "ms": brief})}},
		{"broken off", []string{half}, AccessErrors, map[string]any{"status": 200., "backend_ms": brief},
			[]map[string]any{attempt(half, map[string]any{"reason": "backend_aborted", "status": 200., "ms": brief})}},
		{"retried", []string{closing, refusing, good}, AccessErrors,
			map[string]any{"level": "info", "status": 200., "reason": nil, "backend": name(good), "backend_ms": brief},
			[]map[string]any{
				attempt(closing, map[string]any{"reason": "backend_reset", "status": nil, "ms": interval{50, 1000}}),
				attempt(refusing, map[string]any{"reason": "connect_failed", "status": nil, "ms": brief}),
				attempt(good, map[string]any{"reason": nil, "status": 200., "ms": brief}),
			}},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := testOptions(test.backends...)
			o.Access = test.access
			withAttempts(&o, len(test.backends))
			_, lines := logged(t, o, get("/"))
			if test.access == AccessErrors && test.name == "retried" && len(lines) == 0 {
				t.Fatal("a request that was retried has no line")
			}
			if len(lines) != 1 {
				t.Fatalf("logged %v", lines)
			}
			checkLine(t, lines[0], test.want)
			if test.name == "retried" && !strings.Contains(lines[0]["cause"].(string), "connection refused") {
				t.Errorf("the cause is %q, want that of the last failure", lines[0]["cause"])
			}
			got, there := lines[0]["attempts"].([]any)
			if there != (test.attempts != nil) || len(got) != len(test.attempts) {
				t.Fatalf("attempts are %v, want %v", got, test.attempts)
			}
			for i, want := range test.attempts {
				checkLine(t, got[i].(map[string]any), want)
			}
		})
	}
}

// TestAccessLogClient names registered clients as the operator did.
func TestAccessLogClient(t *testing.T) {
	o := testOptions(startRawBackend(t, answerAll("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")))
	o.Limiter, o.KeyField = keyLimits("X-API-Key", limiter.Terms{Limit: limiter.Limit{Capacity: 2, RatePerSecond: 0.001}})
	wide := limiter.ID{Prefix: prefixes("192.0.2.0/24")[0].Prefix}
	o.Limiter.Set(limiter.Registration{ID: wide, Terms: limiter.Terms{Limit: ample}})
	o.Limiter.Set(limiter.Registration{ID: addressID("198.51.100.1"), Terms: limiter.Terms{Limit: ample}})
	o.Server.TrustedProxies, o.Access = prefixes("127.0.0.1"), AccessAll
	for _, test := range []struct {
		field string
		want  map[string]any
	}{
		{"X-API-Key: " + partnerKey, map[string]any{"client": "partner", "address": "127.0.0.1", "status": 200.}},
		{"X-API-Key: " + partnerKey, map[string]any{"client": "partner", "address": "127.0.0.1", "status": 200.}},
		{"X-API-Key: " + partnerKey, map[string]any{"client": "partner", "address": "127.0.0.1", "status": 429., "reason": "limited"}},
		{"X-API-Key: another", map[string]any{"client": "127.0.0.1", "address": "127.0.0.1", "status": 200.}},
		{"X-Forwarded-For: 192.0.2.7", map[string]any{"client": "192.0.2.0/24", "address": "192.0.2.7"}},
		{"X-Forwarded-For: 198.51.100.1", map[string]any{"client": "198.51.100.1", "address": "198.51.100.1"}},
		{"X-Forwarded-For: 2001:db8::1", map[string]any{"client": "2001:db8::1", "address": "2001:db8::1"}},
	} {
		_, lines := logged(t, o, withHost("GET / HTTP/1.1", test.field, "Connection: close"))
		checkLine(t, lines[0], test.want)
	}
}

// TestAccessLogFields checks what only some requests have, or only with log.query.
func TestAccessLogFields(t *testing.T) {
	const agent = "curl/8.0 (\"a\"; \\b\x80\t\xe9)"
	good := startRawBackend(t, answerAll("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	for _, test := range []struct {
		query   bool
		request string
		want    map[string]any
	}{
		{false, withHost("GET /a?b=c HTTP/1.1", "Connection: close"), map[string]any{"path": "/a", "user_agent": nil}},
		{true, withHost("GET /a?b=c HTTP/1.1", "Connection: close"), map[string]any{"path": "/a?b=c"}},
		{true, withHost("GET http://user:password@h/?a HTTP/1.1", "Connection: close"), map[string]any{"path": nil}},
		{false, withHost("GET / HTTP/1.1", "user-AGENT:\t"+agent+" ", "User-Agent: second", "Connection: close"),
			map[string]any{"user_agent": "curl/8.0 (\"a\"; \\b\ufffd\t\ufffd)"}},
		{false, withHost("GET / HTTP/1.1", "User-Agent:", "Connection: close"), map[string]any{"user_agent": nil}},
		{false, withHost("GET / HTTP/1.1", "User-Agent: "+strings.Repeat("a", 300), "Connection: close"), map[string]any{"user_agent": strings.Repeat("a", 256)}},
		// The guard refuses these; their lines must be whole all the same.
		{false, withHost("GET / HTTP/1.1", "User-Agent: a\x00b", "Connection: close"), map[string]any{"status": 400.}},
		{false, withHost("GET / HTTP/1.1", "User-Agent: a\x1b[31m\"\x7f\u2028", "Connection: close"), map[string]any{"status": 400.}},
		{false, withHost("GET / HTTP/1.1", "User-Agent: a\rlevel: \"x\"", "Connection: close"), map[string]any{"status": 400.}},
		{false, "GET / HTTP/1.1\r\nHost: h\r\nUser-Agent: a\n{\"forged\":1}\r\n\r\n", map[string]any{"status": 400., "forged": nil}},
	} {
		o := testOptions(good)
		o.Access, o.Query = AccessAll, test.query
		_, lines := logged(t, o, test.request)
		if len(lines) != 1 {
			t.Fatalf("%q: logged %v", test.request, lines)
		}
		checkLine(t, lines[0], test.want)
	}
}
