package clients

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"loadbalancer/limiter"
)

// TestUsageOutlivesARestart ends a service as SIGTERM does, and then as kill -9 does.
func TestUsageOutlivesARestart(t *testing.T) {
	eachLastingStore(t, func(t *testing.T, cfg Config) {
		if cfg.Snapshot == "" || cfg.Snapshot == DefaultConfig().Snapshot {
			cfg.Snapshot = filepath.Join(t.TempDir(), "clients.snapshot")
		}
		a, stop := startAPI(t, cfg)
		a.call(http.StatusCreated, "POST", "/", `{"name":"acme","api_key":"the key of acme","capacity":2,"rate_per_second":0.001}`)
		a.create("10.0.0.1", 5)
		a.create("10.0.0.2", 5)
		for range 5 {
			admit(a.limiter, "192.0.2.1", "the key of acme")
		}
		admit(a.limiter, "10.0.0.1", "")
		a.call(http.StatusNoContent, "DELETE", "/10.0.0.1", "")
		for range 2 {
			before := a.usageOf("/acme")
			stop()
			a, stop = startAPI(t, cfg)
			after := a.usageOf("/acme")
			if after.Allowed != 2 || after.Limited != 3 || !after.LastSeen.Equal(*before.LastSeen) {
				t.Errorf("the usage is %+v, was %+v", after, before)
			}
		}
		if u := a.usageOf("/10.0.0.2"); u.Allowed != 0 || u.LastSeen != nil {
			t.Errorf("without a request the usage is %+v", u)
		}
		if _, err := os.Stat(usageFile(cfg)); err == nil {
			t.Error("the file is left: after kill -9 its counts would come again")
		}
	})
}

// TestUsageThatCannotBeKept: the folder takes no file at the end, or keeps the one of the start. The
// log tells, and nothing fails. Counts that stay in their file are not counted twice.
func TestUsageThatCannotBeKept(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Store = "file:" + filepath.Join(t.TempDir(), "clients.db")
	block := func(path string) {
		if err := os.MkdirAll(path+"/kept", 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for path, message := range map[string]string{
		usageFile(cfg) + ".new": "the counts of the clients' requests are lost",
		usageFile(cfg):          "the counts of the clients' requests are not restored",
	} {
		var lines bytes.Buffer
		block(path)
		_, stop := startService(t, cfg, limiter.New(limiter.DefaultConfig()), keysAreRead, zerolog.New(&lines))
		stop() // fails the test where Close returns an error
		if !strings.Contains(lines.String(), message) || !strings.Contains(lines.String(), `"level":"warn"`) {
			t.Errorf("with %s, the log has %s", path, lines.String())
		}
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
}

func TestUsageFile(t *testing.T) {
	for want, cfg := range map[string]Config{
		"a/clients.db.usage": {Store: "file:a/clients.db", Snapshot: "s"}, "s.usage": {Store: "postgres://localhost/a", Snapshot: "s"},
		"": {Store: memoryStore, Snapshot: "s"},
	} {
		if got := usageFile(cfg); got != want {
			t.Errorf("%+v: %q, want %q", cfg, got, want)
		}
	}
}
