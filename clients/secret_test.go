package clients

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"loadbalancer/clients/store/pgtest"
	"loadbalancer/limiter"
)

// TestKeysAreNeverTold sends a key in every way that a call allows, and searches all responses and
// logs for it.
func TestKeysAreNeverTold(t *testing.T) {
	eachStore(t, func(t *testing.T, cfg Config) {
		log := &bytes.Buffer{}
		service, stopService := startService(t, cfg, testLimiter(), keysAreRead, zerolog.New(log).Level(zerolog.TraceLevel))
		base, stop := serve(t, service.Register, true)
		defer stop()
		told := tellKeys(t, base)
		stopService() // then every call fails, and logs why
		told += tellKeys(t, base)
		if !strings.Contains(log.String(), "call failed") {
			t.Errorf("the log holds no failed call: %s", log)
		}
		untold(t, told+log.String())
	})
}

// TestKeysAreNotInErrorsOfTheStore has an error that PostgreSQL details with the row.
func TestKeysAreNotInErrorsOfTheStore(t *testing.T) {
	cfg := postgresConfig(t)
	log := &bytes.Buffer{}
	service, _ := startService(t, cfg, testLimiter(), keysAreRead, zerolog.New(log).Level(zerolog.TraceLevel))
	base, stop := serve(t, service.Register, true)
	defer stop()
	pgtest.Exec(t, cfg.Store, "ALTER TABLE clients ADD CHECK (capacity <> 77)")
	got := send(t, "POST", base+collection, `{"name":"acme","api_key":"`+secretKey+`","capacity":77,"rate_per_second":1}`)
	if got.status != http.StatusServiceUnavailable || !strings.Contains(log.String(), "violates check constraint") {
		t.Errorf("got %d %s and the log %s", got.status, got.body, log)
	}
	untold(t, got.body+log.String())
}

const (
	secretKey  = "Bearer s3cr3t-0123456789"
	otherKey   = "Bearer s3cr3t-9876543210"
	secretPart = "s3cr3t"
)

// tellKeys returns all responses to calls with keys, header and body.
func tellKeys(t *testing.T, base string) string {
	t.Helper()
	var told strings.Builder
	const rest = `,"capacity":5,"rate_per_second":1`
	long := strings.Repeat(secretPart, 50)
	for _, c := range []struct{ method, path, body string }{
		{"POST", "", `{"name":"acme","api_key":"` + secretKey + `"` + rest + `}`},
		{"POST", "", `{"name":"acme","api_key":"` + secretKey + `"` + rest + `}`},
		{"POST", "", `{"name":"other","api_key":"` + secretKey + `"` + rest + `}`},
		{"POST", "", `{"ip_address":"10.0.0.1","api_key":"` + secretKey + `"` + rest + `}`},
		{"POST", "", `{"api_key":"` + secretKey + `"` + rest + `}`},
		{"POST", "", `{"name":"other","api_key":"` + otherKey + `"` + rest + `}`},
		{"PUT", "/other", `{"api_key":"` + secretKey + `"` + rest + `}`},
		{"PUT", "/other", `{"api_key":"` + otherKey + `"` + rest + `}`},
		{"PUT", "/nobody", `{"api_key":"` + secretKey + `"` + rest + `}`},
		{"PUT", "/10.0.0.1", `{"api_key":"` + secretKey + `"` + rest + `}`},
		{"POST", "", `{"name":"third","api_key":" ` + secretKey + `"` + rest + `}`},
		{"POST", "", `{"name":"third","api_key":"` + secretPart + `"` + rest + `}`},
		{"POST", "", `{"name":"third","api_key":"` + long + `"` + rest + `}`},
		{"POST", "", `{"name":"third","api_key":["` + secretKey + `"]` + rest + `}`},
		{"POST", "", `{"name":"third","api_key":{"` + secretKey + `":1}` + rest + `}`},
		{"POST", "", `{"name":"third","api_key":"` + secretKey + `","api_key":"` + secretKey + `"` + rest + `}`},
		{"POST", "", `{"name":"third","API_KEY":"` + secretKey + `"` + rest + `}`},
		{"POST", "", `{"name":"third","api_key":"` + secretKey + `",}`},
		{"POST", "", `{"name":"third","api_key":` + secretKey + rest + `}`},
		{"POST", "", `{"name":"third","api_key":"` + secretKey},
		{"GET", "", ""},
		{"GET", "/acme", ""},
		{"GET", "/acme/usage", ""},
		{"POST", "/acme/reset", secretKey},
		{"DELETE", "/acme", ""},
	} {
		got := send(t, c.method, base+collection+c.path, c.body)
		told.WriteString(got.body)
		_ = got.header.Write(&told)
	}
	return told.String()
}

// untold fails the test if the text holds a key or what is stored of it.
func untold(t *testing.T, text string) {
	t.Helper()
	forms := []string{secretPart, "api_key_sha256"}
	for _, key := range []string{secretKey, otherKey} {
		digest := limiter.DigestKey([]byte(key))
		forms = append(forms, hex.EncodeToString(digest[:]), base64.StdEncoding.EncodeToString(digest[:]))
	}
	for _, form := range forms {
		if at := strings.Index(text, form); at >= 0 {
			t.Errorf("%q is told: …%s…", form, text[max(0, at-200):min(len(text), at+200)])
		}
	}
}
