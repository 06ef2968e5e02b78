package proxy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"loadbalancer/limiter"
)

// TestKeyIdentifies tells by whom each request counts, and wants the fields at the backend as they
// came, though Connection names them.
func TestKeyIdentifies(t *testing.T) {
	longest := strings.Repeat("k", limiter.MaxKeySize)
	for _, test := range []struct {
		name, header string
		fields       []string
		want         bool
	}{
		{"the key", "X-API-Key", []string{"X-API-Key: " + partnerKey}, true},
		{"in another case", "X-API-Key", []string{"x-ApI-kEY:" + partnerKey}, true},
		{"with white space around it", "x-api-key", []string{"X-API-Key: \t" + partnerKey + "\t "}, true},
		{"among others", "X-API-Key", []string{"X-API-Kez: a", "X-API-Key2: b", "X-API-Key: " + partnerKey, "X-API: c"}, true},
		{"the longest", "X-API-Key", []string{"X-API-Key: " + longest}, true},
		{"too long", "X-API-Key", []string{"X-API-Key: " + longest + "k"}, false},
		{"none", "X-API-Key", nil, false},
		{"of no client", "X-API-Key", []string{"X-API-Key: other"}, false},
		{"empty", "X-API-Key", []string{"X-API-Key:"}, false},
		{"the key in another case", "X-API-Key", []string{"X-API-Key: " + strings.ToUpper(partnerKey)}, false},
		{"a list", "X-API-Key", []string{"X-API-Key: " + partnerKey + ", other"}, false},
		{"in another field", "X-API-Key", []string{"Authorization: " + partnerKey, "API-Key: " + partnerKey}, false},
		{"no field is asked for", "", []string{"X-API-Key: " + partnerKey}, false},
		{"in Authorization", "Authorization", []string{"authorization: " + partnerKey}, true},
		{"the scheme in another case", "Authorization", []string{"Authorization: sECRET   k3y/=="}, true},
		{"a name with _", "api_key", []string{"API_Key: " + partnerKey}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			url, seen := startRecordingBackend(t)
			o := testOptions(url)
			o.Limiter, o.KeyField = keyLimits(test.header, limiter.Terms{Limit: ample})
			for _, key := range []string{longest, longest + "k"} {
				o.Limiter.Set(limiter.Registration{ID: limiter.ID{Name: key}, Keys: [limiter.MaxKeys]limiter.KeyDigest{limiter.DigestKey([]byte(key))}, Terms: limiter.Terms{Limit: ample}})
			}
			_, address := startProxy(t, o)
			connection := "Connection: close, X-API-Key, Authorization"
			if test.header == "" {
				connection = "Connection: close"
			}
			request := withHost(append([]string{"GET / HTTP/1.1", connection}, test.fields...)...)
			if got := talk(t, address, request); !strings.HasPrefix(got, "HTTP/1.1 204 ") {
				t.Fatalf("got %q", got)
			}
			lines := strings.Join(append(append([]string{"Host: example.com"}, test.fields...), "X-Forwarded-For: "), "\r\n")
			if header := <-seen; !strings.Contains(header, lines) {
				t.Errorf("the backend got %q, which lacks %q", header, lines)
			}
			by := allowed(t, o.Limiter, partner) + allowed(t, o.Limiter, limiter.ID{Name: longest}) + allowed(t, o.Limiter, limiter.ID{Name: longest + "k"})
			if got := by == 1; got != test.want {
				t.Errorf("it counts as a client's with a key: %v, want %v", got, test.want)
			}
			if got := talk(t, address, get("/")); strings.HasPrefix(got, "HTTP/1.1 429 ") == test.want {
				t.Errorf("it counts as the address's: %v; the next request without a key got %.20q", !test.want, got)
			}
		})
	}
}

// TestDisguisedKeys are refused: a backend that reads names like a CGI would take the client for
// another one than the limiter does.
func TestDisguisedKeys(t *testing.T) {
	for header, names := range map[string][]string{
		"X-API-Key":     {"X_API_Key", "x_api-key", "X-API_KEY"},
		"api_key":       {"api-key", "API-KEY"},
		"authorization": nil,
		"":              nil,
	} {
		o := testOptions(startRawBackend(t, answerAll("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")))
		o.Limiter, o.KeyField = limiter.New(limiter.DefaultConfig()), limiter.Config{APIKeyHeader: header}.KeyField()
		_, address := startProxy(t, o)
		for _, name := range names {
			for _, request := range []string{
				withHost("GET / HTTP/1.1", name+": a"), withHost("GET / HTTP/1.1", header+": a", name+":"), withHost("GET / HTTP/1.1", name+": a", header+": b"),
			} {
				if got := status(t, address, request); got != 400 {
					t.Errorf("%s: %q: got %d, want 400", header, request, got)
				}
			}
		}
		for _, name := range []string{"X_API_Kez", "XX_API_Key", "API_Ke", "autho_ization"} {
			if got := status(t, address, withHost("GET / HTTP/1.1", name+": a")); got != 200 {
				t.Errorf("%s: %s got %d, want 200", header, name, got)
			}
		}
	}
	_, address := startProxy(t, testOptions(startRawBackend(t, answerAll("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))))
	if got := status(t, address, withHost("GET / HTTP/1.1", "X_API_Key: a")); got != 200 {
		t.Errorf("without keys: got %d, want 200", got)
	}
}

// TestTwoKeys are refused: a client must not get at the limit of its address by a key that only the
// backend understands.
func TestTwoKeys(t *testing.T) {
	for header, requests := range map[string][]string{
		"X-API-Key": {
			withHost("GET / HTTP/1.1", "X-API-Key: "+partnerKey, "X-API-Key: "+partnerKey),
			withHost("GET / HTTP/1.1", "X-API-Key: other", "A: b", "x-api-key: "+partnerKey),
			withHost("GET / HTTP/1.1", "X-API-Key: "+partnerKey, "X-API-Key:"),
			withHost("GET / HTTP/1.1", "X-API-Key:", "X-API-Key:"),
			"GET / HTTP/1.0\r\nX-API-Key: a\r\nX-API-Key: a\r\n\r\n",
		},
		"Authorization": {withHost("GET / HTTP/1.1", "Authorization: "+partnerKey, "Authorization: "+partnerKey)},
	} {
		o := testOptions(startRawBackend(t, answerAll("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")))
		o.Limiter, o.KeyField = keyLimits(header, limiter.Terms{Limit: ample})
		_, address := startProxy(t, o)
		for _, request := range requests {
			if got := status(t, address, request); got != 400 {
				t.Errorf("%s: %q: got %d, want 400", header, request, got)
			}
		}
		if got := allowed(t, o.Limiter, partner); got != 0 {
			t.Errorf("%s: %d requests count as the client's, want none", header, got)
		}
	}
	_, address := startProxy(t, testOptions(startRawBackend(t, answerAll("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))))
	if got := status(t, address, withHost("GET / HTTP/1.1", "X-API-Key: a", "X-API-Key: b")); got != 200 {
		t.Errorf("without keys: got %d, want 200", got)
	}
}

// TestKeysStaySecret checks that no log line, metric or answer has a key, whatever becomes of the
// request.
func TestKeysStaySecret(t *testing.T) {
	var log logLines
	o := testOptions(startRawBackend(t, answerAll("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")))
	o.Limiter, o.KeyField = keyLimits("X-API-Key", limiter.Terms{Limit: limiter.Limit{Capacity: 1, RatePerSecond: 0.0001}})
	o.Access, o.Log = AccessAll, zerolog.New(&log)
	p, address := startProxy(t, o)
	requests := []string{
		withHost("GET / HTTP/1.1", "Connection: close", "X-API-Key: "+partnerKey), withHost("GET / HTTP/1.1", "Connection: close", "X-API-Key: "+partnerKey), // the second is limited
		withHost("GET / HTTP/1.1", "Host: twice", "X-API-Key: "+partnerKey), withHost("GET / HTTP/1.1", "X_API_Key: "+partnerKey),
	}
	for _, request := range requests {
		if got := talk(t, address, request); strings.Contains(got, partnerKey) {
			t.Errorf("the answer tells the key: %q", got)
		}
	}
	eventually(t, "all requests in the log", func() bool { return len(log.parsed(t)) == len(requests) })
	var metrics strings.Builder
	p.WriteMetrics(&metrics)
	if all := fmt.Sprint(log.parsed(t), metrics.String()); strings.Contains(all, partnerKey) {
		t.Errorf("the key stands in %s", all)
	}
}
