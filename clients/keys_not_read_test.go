package clients

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

// TestKeysNotRead expects a warning, at the registration and at each start, if a client has a key
// and requests are not searched for keys.
func TestKeysNotRead(t *testing.T) {
	for header, want := range map[string]int{"": 1, "X-API-Key": 0} {
		cfg := fileConfig(t)
		readsKeys := func() bool { return header != "" }
		open := func(when, body string, want int) {
			var log bytes.Buffer
			service, stopService := startService(t, cfg, testLimiter(), readsKeys, zerolog.New(&log))
			defer stopService()
			if body != "" {
				base, stop := serve(t, service.Register, true)
				defer stop()
				if got := send(t, "POST", base+collection, body); got.status != http.StatusCreated {
					t.Fatalf("got %d %s", got.status, got.body)
				}
			}
			if got := strings.Count(log.String(), keysNotRead); got != want {
				t.Errorf("api_key_header %q, %s: %d warnings, want %d: %s", header, when, got, want, log.String())
			}
		}
		open("an address is registered", `{"ip_address":"10.0.0.1","capacity":1,"rate_per_second":1}`, 0)
		open("a name is registered", `{"name":"acme","api_key":"the key of acme","capacity":1,"rate_per_second":1}`, want)
		open("a start with a name", "", want)
	}
}
