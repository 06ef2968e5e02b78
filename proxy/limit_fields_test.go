package proxy

import (
	"slices"
	"strings"
	"testing"

	"loadbalancer/limiter"
	"loadbalancer/proxy/message"
)

// limitsTold is limits with the fields for a value of limiter.headers.
func limitsTold(headers string, capacity int64, rate float64) (*limiter.Limiter, limiter.Fields) {
	return limits(capacity, rate), limiter.Config{Headers: headers}.Fields()
}

// backendLimits are the fields of a backend that limits its clients too.
const backendLimits = "ratelimit: \"b\";r=1;t=2\r\nRateLimit-Policy: \"b\";q=3;w=4\r\nRATELIMIT-POLICY: \"c\";q=5;w=6\r\n" +
	"X-RateLimit-Limit: 7\r\nx-ratelimit-remaining: 8\r\nX-Ratelimit-Reset: 9\r\n"

const ownLimits = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + backendLimits

// limitFieldsOf returns the lines of an answer that speak of limits.
func limitFieldsOf(answer string) []string {
	header, _, _ := strings.Cut(answer, "\r\n\r\n")
	return slices.DeleteFunc(strings.Split(header, "\r\n"), func(line string) bool {
		line = strings.ToLower(line)
		return !strings.Contains(line, "ratelimit") && !strings.HasPrefix(line, "retry-after")
	})
}

// TestLimitFields has a backend that tells of limits of its own. What the balancer
// tells takes the place of what the backend does under the same names, and of
// nothing else.
func TestLimitFields(t *testing.T) {
	backends := strings.Split(strings.TrimSpace(backendLimits), "\r\n")
	standard := []string{`RateLimit-Policy: "default";q=1;w=100`, `RateLimit: "default";r=0;t=100`}
	legacy := []string{"X-RateLimit-Limit: 1", "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 100"}
	url := startRawBackend(t, answerAll(ownLimits+"\r\nok"))
	for _, test := range []struct {
		headers string
		passes  []string // of the backend's
		tells   []string
	}{
		{"standard", backends[3:], standard},
		{"legacy", backends[:3], legacy},
		{"both", nil, slices.Concat(standard, legacy)},
		{"off", backends, nil},
	} {
		t.Run(test.headers, func(t *testing.T) {
			o := testOptions(url)
			o.Limiter, o.LimitFields = limitsTold(test.headers, 1, 0.01)
			_, address := startProxy(t, o)
			got := talk(t, address, get("/"))
			if fields := limitFieldsOf(got); !strings.HasPrefix(got, "HTTP/1.1 200 ") || !slices.Equal(fields, slices.Concat(test.passes, test.tells)) {
				t.Errorf("admitted: got %q in %q", fields, got)
			}
			got = talk(t, address, get("/"))
			if fields := limitFieldsOf(got); !strings.HasPrefix(got, "HTTP/1.1 429 ") || !slices.Equal(fields, append(test.tells, "Retry-After: 100")) {
				t.Errorf("rejected: got %q in %q", fields, got)
			}
		})
	}
	t.Run("no client is limited", func(t *testing.T) {
		_, address := startProxy(t, testOptions(url))
		if got := limitFieldsOf(talk(t, address, get("/"))); !slices.Equal(got, backends) {
			t.Errorf("got %q", got)
		}
	})
}

// TestBackendThatLimits: a backend's own 429 comes with what the backend tells of
// it, and without our word that tokens are left.
func TestBackendThatLimits(t *testing.T) {
	const retry = "Retry-After: 60\r\n"
	for _, headers := range []string{"standard", "legacy", "both", "off"} {
		o := testOptions(startRawBackend(t, answerAll("HTTP/1.1 429 Slow Down\r\nContent-Length: 0\r\n"+backendLimits+retry+"\r\n")))
		o.Limiter, o.LimitFields = limitsTold(headers, 100, 1)
		_, address := startProxy(t, o)
		if got := strings.Join(limitFieldsOf(talk(t, address, get("/"))), "\r\n") + "\r\n"; got != backendLimits+retry {
			t.Errorf("%s: got %q", headers, got)
		}
	}
}

// TestLimitFieldsElsewhere: a backend's Retry-After passes, and what it tells behind
// a body ends here as in its header; so does what Connection names.
func TestLimitFieldsElsewhere(t *testing.T) {
	for _, test := range []struct{ name, headers, response, want string }{
		{"Retry-After of a backend", "both", lines("HTTP/1.1 503 Service Unavailable", "Retry-After: 7", "Content-Length: 0"),
			"Retry-After: 7\r\nContent-Length: 0\r\n" + `RateLimit-Policy: "default";q=9;w=9000` + "\r\n"},
		{"trailers", "standard", lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + "0\r\nA: 1\r\nRateLimit: \"b\";r=1;t=2\r\nX-RateLimit-Limit: 3\r\n\r\n",
			"\r\n\r\n0\r\nA: 1\r\nX-RateLimit-Limit: 3\r\n\r\n"},
		{"trailers, off", "off", lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + "0\r\nRateLimit: \"b\";r=1;t=2\r\n\r\n",
			"\r\n\r\n0\r\nRateLimit: \"b\";r=1;t=2\r\n\r\n"},
		{"named by Connection, off", "off", lines("HTTP/1.1 200 OK", "Connection: RateLimit", "RateLimit: \"b\";r=1;t=2", "A: 1", "Content-Length: 0"),
			"HTTP/1.1 200 OK\r\nA: 1\r\n"},
		{"interim response", "off", lines("HTTP/1.1 103 Early Hints", "Link: a") + lines("HTTP/1.1 200 OK", "Content-Length: 0"),
			"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := testOptions(startRawBackend(t, answerAll(test.response)))
			o.Limiter, o.LimitFields = limitsTold(test.headers, 9, 0.001)
			o.Server.EarlyHints = true
			_, address := startProxy(t, o)
			if got := talk(t, address, get("/")); !strings.Contains(got, test.want) {
				t.Errorf("got\n%q, which lacks\n%q", got, test.want)
			}
		})
	}
}

// TestRequestsKeepLimitFields: they mean nothing here, but may to the backend.
func TestRequestsKeepLimitFields(t *testing.T) {
	url, seen := startRecordingBackend(t)
	o := testOptions(url)
	o.Limiter, o.LimitFields = limitsTold("both", 9, 0.001)
	_, address := startProxy(t, o)
	talk(t, address, strings.Replace(get("/"), "Connection", backendLimits+"Connection", 1))
	if got := <-seen; !strings.Contains(got, backendLimits) {
		t.Errorf("got %q", got)
	}
}

// TestLimitFieldsAreReplaced holds the two lists against each other: what the limiter writes is what
// a response from elsewhere must not hold too, and nothing else.
func TestLimitFieldsAreReplaced(t *testing.T) {
	names := []string{
		"RateLimit", "RateLimit-Policy", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset",
		"Retry-After", "RateLimit-Limit", "RateLimit-Reset", "X-RateLimit", "X-RateLimit-Used", "X-RateLimit-Limits", "X_RateLimit_Limit",
		"Set-Cookie", "Last-Modified", "X-Frame-Options", "X-Permitted-Policies",
	}
	for headers, count := range map[string]int{"standard": 2, "legacy": 3, "both": 5, "off": 0} {
		f, had := limiter.Config{Headers: headers}.Fields(), 0
		written := string(f.Append(nil, limiter.Decision{Capacity: 1, RetryAfter: 1, Reset: 1, Window: 1}))
		for _, name := range names {
			want := name != "Retry-After" && strings.Contains("\r\n"+written, "\r\n"+name+": ")
			for _, spelled := range []string{name, strings.ToLower(name), strings.ToUpper(name)} {
				var r message.Response
				if !r.Parse([]byte(lines("HTTP/1.1 200 OK", spelled+": 1")), false) {
					t.Fatalf("%s is refused", spelled)
				}
				if got := !strings.Contains(string(r.AppendHeader(nil, false, limitFields(f))), spelled); got != want {
					t.Errorf("%s: %s is replaced: %v", headers, spelled, got)
				}
			}
			if want {
				had++
			}
		}
		if had != count {
			t.Errorf("%s: %d fields are written, want %d", headers, had, count)
		}
	}
}
