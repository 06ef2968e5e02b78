package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// stickyIn makes the pool of a test's config sticky.
func stickyIn(config string) string {
	return strings.Replace(config, "  main:\n", "  main:\n    sticky: {cookie: lb}\n", 1)
}

// meet sends a request without a cookie, and returns the backend and the cookie.
func meet(t *testing.T, in *instance) (backend, cookie string) {
	t.Helper()
	a := call(t, "GET", in.proxy, "")
	cookie, _, _ = strings.Cut(a.header.Get("Set-Cookie"), ";")
	return a.header.Get("X-Backend"), cookie
}

func mustStay(t *testing.T, when string, in *instance, backend, cookie string) {
	t.Helper()
	for range 6 {
		if a := call(t, "GET", in.proxy, "", "Cookie: "+cookie); a.header.Get("X-Backend") != backend || a.header.Get("Set-Cookie") != "" {
			t.Fatalf("%s: a client of %s was sent to %s with the cookie %q", when, backend, a.header.Get("X-Backend"), a.header.Get("Set-Cookie"))
		}
	}
}

// A client stays at its backend through a reload and a restart. The secret that this needs is made
// once, in a file for the process's user alone.
func TestRestartKeepsClientsAtBackends(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lb.state")
	config := stickyIn(testConfig(t, freeAddresses(t, 3), "server:\n  listen: 127.0.0.1:0\n  state: "+path+"\n"))
	first := startInstance(t, config, "--demo")
	backend, cookie := meet(t, first)
	mustStay(t, "at first", first, backend, cookie)
	first.reload(t, "{cookie: lb}", "{cookie: lb, ttl: 1h}\n    balance: latency")
	first.reload(t, "{cookie: lb, ttl: 1h}", "{cookie: lb}")
	mustStay(t, "after a reload", first, backend, cookie)
	first.stop(t)
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("the state has mode %v (%v)", info.Mode(), err)
	}
	var kept struct{ Sticky struct{ Secret string } }
	if text := readFile(t, path); json.Unmarshal([]byte(text), &kept) != nil || len(kept.Sticky.Secret) < 26 {
		t.Errorf("the state is %s", text)
	}

	second := startInstance(t, config, "--demo")
	mustStay(t, "after a restart", second, backend, cookie)
	if strings.Contains(first.log.String()+second.log.String(), kept.Sticky.Secret) {
		t.Error("the log shows the secret")
	}
}

// A pool that becomes sticky by a reload has a secret from then on. Where none can be kept, the
// reload is refused, and so is a start.
func TestStickySecretCannotBeKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none", "lb.state")
	config := testConfig(t, freeAddresses(t, 1), "server:\n  listen: 127.0.0.1:0\n  state: "+path+"\n")
	in := startInstance(t, config, "--demo")
	in.edit(t, "  main:\n", "  main:\n    sticky: {cookie: lb}\n")
	if a := call(t, "POST", in.management+"/v1/api/reload", ""); a.status != 422 || !strings.Contains(a.body, "server.state") {
		t.Errorf("the reload got %+v", a)
	}
	if _, cookie := meet(t, in); cookie != "" {
		t.Error("a cookie is set after a reload that failed")
	}
	err := run(context.Background(), []string{"--path=" + writeConfig(t, stickyIn(config))}, &journal{})
	if err == nil || !strings.Contains(err.Error(), "server.state") {
		t.Errorf("the start returned %v", err)
	}
	if changed := in.reload(t, "sticky: {cookie: lb}", `sticky: {cookie: lb, secret: "0123456789abcdef"}`); !slices.Equal(changed, []string{"pools.main.sticky.cookie: \"\" → lb", "pools.main.sticky.secret: changed"}) {
		t.Errorf("with a secret of its own: %q", changed)
	}
	backend, cookie := meet(t, in)
	mustStay(t, "with a secret of its own", in, backend, cookie)
}

func TestStateOfAnotherVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lb.state")
	if err := os.WriteFile(path, []byte(`{"version": 7}`), 0o600); err != nil {
		t.Fatal(err)
	}
	config := testConfig(t, freeAddresses(t, 1), "server:\n  listen: 127.0.0.1:0\n  state: "+path+"\n")
	err := run(context.Background(), []string{"--path=" + writeConfig(t, config)}, &journal{})
	if err == nil || !strings.Contains(err.Error(), path+" has the version 7, and this program knows version 1 alone") {
		t.Errorf("the start returned %v", err)
	}
}
