package clients

import (
	"net/http"
	"path/filepath"
	"testing"

	"github.com/rs/zerolog"
)

// TestNotStarted: a service that was made has touched nothing, and says to come again.
func TestNotStarted(t *testing.T) {
	cfg := DefaultConfig()
	path := filepath.Join(t.TempDir(), "clients.db")
	cfg.Store = filePrefix + path
	s := New(cfg, testLimiter(), keysAreRead, zerolog.Nop())
	base, stop := serve(t, s.Register, true)
	defer stop()
	for _, call := range []string{"GET " + collection + "/", "GET " + collection + "/10.0.0.1/usage"} {
		method, path := call[:3], call[4:]
		if got := send(t, method, base+path, ""); got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") != "1" {
			t.Errorf("%s: got %d %s", call, got.status, got.body)
		}
	}
	if s.Up() {
		t.Error("the store answers")
	}
	if matches, _ := filepath.Glob(path); len(matches) > 0 {
		t.Error("the store is opened")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
