package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// edit replaces parts of the config file, each of which must be there, in pairs of old and new.
func (in *instance) edit(t *testing.T, pairs ...string) {
	t.Helper()
	text, err := os.ReadFile(in.path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(string(text), pairs[i]) {
			t.Fatalf("the config has no %q:\n%s", pairs[i], text)
		}
		text = []byte(strings.Replace(string(text), pairs[i], pairs[i+1], 1))
	}
	if err := os.WriteFile(in.path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// reload edits the config, reloads it, and returns what was changed.
func (in *instance) reload(t *testing.T, pairs ...string) []string {
	t.Helper()
	in.edit(t, pairs...)
	a := call(t, "POST", in.management+"/v1/api/reload", "")
	var got struct{ Changed []string }
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != 200 || got.Changed == nil {
		t.Fatalf("the reload got %+v", a)
	}
	return got.Changed
}

func TestReload(t *testing.T) {
	addresses := freeAddresses(t, 5)
	backends, front, back := addresses[:3], addresses[3], addresses[4]
	in := startInstance(t, testConfig(t, backends[:2], "limiter: {default: {capacity: 5, rate_per_second: 0.01}}"), "--demo")
	serveBackend(t, backends[2])
	require := func(what string, got []string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: changed %q, want %q", what, got, want)
		}
	}
	require("nothing", in.reload(t))
	require("a comment", in.reload(t, "server:", "# a comment\nserver:"))
	require("a backend more, and a weight", in.reload(t, "      - url: http://"+backends[1]+"\n",
		"      - url: http://"+backends[1]+"\n        weight: 3\n      - url: http://"+backends[2]+"\n"),
		"pools.main.backends: "+backends[1]+" weight 1 → 3; + http://"+backends[2])
	require("the default limit", in.reload(t, "capacity: 5", "capacity: 500"), "limiter.default.capacity: 5 → 500")
	for seen := map[string]bool{}; len(seen) < 3; {
		seen[call(t, "GET", in.proxy, "").header.Get("X-Backend")] = true
	}
	require("a backend less", in.reload(t, "      - url: http://"+backends[0]+"\n", ""), "pools.main.backends: - http://"+backends[0])
	require("a pool and routes", in.reload(t, "pools:\n", "routes: [{path: /other, pool: other}, {pool: main}]\npools:\n  other: {backends: [{url: http://"+backends[0]+"}]}\n"),
		"pools: + other", "routes: + {path: /other, pool: other}; + {pool: main}")
	if a := call(t, "GET", in.proxy+"/other", ""); a.header.Get("X-Backend") != backends[0] {
		t.Errorf("the new route leads to %+v", a)
	}
	require("a timeout", in.reload(t, "path: /healthz, interval: 50ms", "path: /healthz, interval: 60ms"), "pools.main.health.interval: 50ms → 60ms")
	require("the pool gone", in.reload(t, "routes: [{path: /other, pool: other}, {pool: main}]\npools:\n  other: {backends: [{url: http://"+backends[0]+"}]}\n", "pools:\n"),
		"pools: - other", "routes: - {path: /other, pool: other}; - {pool: main}")
	require("the listeners", in.reload(t, "server:\n  listen: 127.0.0.1:0", "server:\n  listen: "+front, "management:\n  listen: 127.0.0.1:0", "management:\n  listen: "+back),
		"server.listen: 127.0.0.1:0 → "+front, "management.listen: 127.0.0.1:0 → "+back)
	if _, err := tryCall("GET", in.management+"/healthz", ""); err == nil {
		t.Error("the old management listener still answers")
	}
	in.proxy, in.management = "http://"+front, "http://"+back
	if a := call(t, "GET", in.proxy+"/path", ""); a.status != 200 {
		t.Errorf("the new listener answers %+v", a)
	}
	require("a token", in.reload(t, "api_on_proxy: true", "api_on_proxy: false\n  token: a-secret-of-24-characters"), "management.api_on_proxy: true → false", "management.token: changed")
	if a := call(t, "POST", in.management+"/v1/api/reload", ""); a.status != 401 {
		t.Errorf("a call without the new token got %+v", a)
	}
	if a := call(t, "POST", in.management+"/v1/api/reload", "", "Authorization: Bearer a-secret-of-24-characters"); a.status != 200 || a.body != "{\"changed\":[]}\n" {
		t.Errorf("a call with it got %+v", a)
	}
	if a := call(t, "GET", in.proxy+"/v1/api/clients/", ""); !strings.HasPrefix(a.body, "backend ") {
		t.Errorf("the API still answers on the proxy's listener: %+v", a)
	}
	if text := in.log.String(); strings.Contains(text, "a-secret") {
		t.Errorf("the log shows the token:\n%s", text)
	}
}

// serveBackend answers with its address on it, as the fake backends do, until the test ends.
func serveBackend(t *testing.T, address string) {
	t.Helper()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Backend", address)
		fmt.Fprintln(w, "backend", address)
	})}
	go s.Serve(ln)
	t.Cleanup(func() { s.Close() })
}

// TestReloadRefuses: a file that is faulty, or needs a restart, changes nothing, and is told in the
// answer, the log, the metrics and /readyz.
func TestReloadRefuses(t *testing.T) {
	addresses := freeAddresses(t, 2)
	in := startInstance(t, testConfig(t, addresses[:1]), "--demo")
	before, err := os.ReadFile(in.path)
	if err != nil {
		t.Fatal(err)
	}
	held, err := net.Listen("tcp", addresses[1])
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if got := metricOf(t, in, "lb_config_last_reload_success"); got != "1" {
		t.Errorf("before the first reload, its success is %q", got)
	}
	for _, test := range []struct {
		name   string
		edit   []string
		faults []string // in the order of their lines
	}{
		{"two faults", []string{"server:", "server:\n  via: a b", "interval: 50ms", "interval: 50"}, []string{":2: server.via: ", ": pools.main.health.interval: "}},
		{"no YAML", []string{"server:", "server: ["}, []string{""}},
		{"a secret", []string{"management:", "management:\n  token: 'a secret'"}, []string{": management.token: "}},
		{"a key that is fixed", []string{"server:", "limiter: {max_tracked: 5, ipv6_prefix: 56}\nserver:\n  max_header_size: 8KiB"}, []string{
			":1: limiter.max_tracked: 1000000 → 5: this", ":1: limiter.ipv6_prefix: 64 → 56: this", ":3: server.max_header_size: 16KiB → 8KiB: this change needs a restart"}},
		{"another store", []string{"store: file:", "store: postgres://user:hidden@127.0.0.1/db # file:"}, []string{".yaml:7: clients.store: changed: this change needs a restart"}},
		{"a port that is held", []string{"server:\n  listen: 127.0.0.1:0", "server:\n  listen: " + addresses[1], "via: \"\"", "via: \"\""}, []string{"server.listen: " + addresses[1] + " is held by "}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.name == "a port that is held" {
				test.edit = test.edit[:2]
			}
			in.edit(t, test.edit...)
			defer func() {
				if err := os.WriteFile(in.path, before, 0o600); err != nil {
					t.Fatal(err)
				}
			}()
			a := call(t, "POST", in.management+"/v1/api/reload", "")
			var got struct {
				Detail string
				Faults []string
			}
			if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != 422 || a.header.Get("Content-Type") != "application/problem+json" || len(got.Faults) != len(test.faults) {
				t.Fatalf("got %+v", a)
			}
			for i, want := range test.faults {
				if !strings.Contains(got.Faults[i], want) {
					t.Errorf("fault %d is %q, want %q in it", i, got.Faults[i], want)
				}
			}
			if all := a.body + in.log.String(); strings.Contains(all, "a secret") || strings.Contains(all, "hidden") {
				t.Errorf("a secret is shown in\n%s", all)
			}
			if got := metricOf(t, in, "lb_config_last_reload_success"); got != "0" {
				t.Errorf("the last reload's success is %q", got)
			}
			if a := call(t, "GET", in.management+"/readyz", ""); a.status != 200 || !strings.HasPrefix(a.body, "ready\n") || !strings.Contains(a.body, "failed; the log says why") {
				t.Errorf("/readyz answers %+v", a)
			}
			if a := call(t, "GET", in.proxy, ""); a.status != 200 {
				t.Errorf("a request got %+v", a)
			}
		})
	}
	if got := in.reload(t); len(got) != 0 {
		t.Errorf("the file as it was changes %q", got)
	}
	if a := call(t, "GET", in.management+"/readyz", ""); a.body != "ready\n" {
		t.Errorf("/readyz answers %+v", a)
	}
	if got := metricOf(t, in, "lb_config_reloads_total"); got != "7" {
		t.Errorf("%s reloads were counted, want 7", got)
	}
}

// metricOf returns the value of a metric without labels.
func metricOf(t *testing.T, in *instance, name string) string {
	t.Helper()
	for line := range strings.Lines(call(t, "GET", in.management+"/metrics", "").body) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// TestReloadKeepsWhatStays has a bucket, a registered client, a backend that is down, a request
// that waits, and a connection that is kept alive outlive a reload that changes something of each.
func TestReloadKeepsWhatStays(t *testing.T) {
	address, arrived, release := slowBackend(t)
	dead := freeAddresses(t, 1)[0]
	in := startInstance(t, testConfig(t, []string{address, dead}, "limiter: {default: {capacity: 10, rate_per_second: 0.001}}"))
	waitFor(t, "the dead backend to be out", func() bool { return in.log.find("backend is out") != nil })
	if a := call(t, "POST", in.management+"/v1/api/clients/", `{"ip_address":"192.0.2.1","capacity":3,"rate_per_second":1}`); a.status != 201 {
		t.Fatalf("POST: %+v", a)
	}
	waiting := getSlow(in.proxy, arrived)
	kept, err := net.Dial("tcp", strings.TrimPrefix(in.proxy, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	lines := bufio.NewReader(kept)
	remaining := func() string {
		t.Helper()
		fmt.Fprint(kept, "GET /v1/api/nothing HTTP/1.1\r\nHost: localhost\r\n\r\nGET /none HTTP/1.1\r\nHost: none\r\n\r\n")
		for range 2 {
			a, err := http.ReadResponse(lines, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, a.Body)
			if left := a.Header.Get("RateLimit"); left != "" {
				return left
			}
		}
		return ""
	}
	in.reload(t, "pools:", "routes: [{host: localhost, pool: main}]\npools:")
	if got := remaining(); !strings.HasPrefix(got, `"default";r=8;`) {
		t.Errorf("after two requests of ten, %q is left", got)
	}
	in.reload(t, "capacity: 10", "capacity: 20", "interval: 50ms", "interval: 40ms")
	if got := remaining(); !strings.HasPrefix(got, `"default";r=17;`) {
		t.Errorf("after three requests of twenty, %q is left", got)
	}
	if got := metricOf(t, in, `lb_backend_up{pool="main",backend="`+dead+`"}`); got != "0" {
		t.Errorf("the dead backend counts as up: %q", got)
	}
	if strings.Count(in.log.String(), "backend is out") != 1 {
		t.Errorf("the dead backend was reported twice:\n%s", in.log)
	}
	if a := call(t, "GET", in.management+"/v1/api/clients/192.0.2.1", ""); a.status != 200 {
		t.Errorf("the registered client: %+v", a)
	}
	in.reload(t, "      - url: http://"+address+"\n", "") // the request at it ends all the same
	release()
	if a := <-waiting; a.status != 200 {
		t.Errorf("the request that was under way got %+v", a)
	}
}

// TestReloadUnderLoad reloads while clients send requests on connections that are kept alive and on
// new ones: none fails. In the end nothing is left of the pools and backends that have gone.
func TestReloadUnderLoad(t *testing.T) {
	backends := freeAddresses(t, 3)
	in := startInstance(t, testConfig(t, backends, "limiter: {enabled: false}"), "--demo")
	sent, failed, end := sendUntilEnd(t, in.proxy)
	whole, err := os.ReadFile(in.path)
	if err != nil {
		t.Fatal(err)
	}
	const rounds = 20
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for i := range rounds {
		<-tick.C
		text := string(whole)
		if i%2 == 0 {
			text = strings.Replace(text, "      - url: http://"+backends[i/2%3]+"\n", "", 1)
		}
		if i%3 == 0 {
			text = strings.Replace(text, "pools:\n", fmt.Sprintf("routes: [{path: /x, pool: extra}, {pool: main}]\npools:\n  extra: {backends: [{url: http://%s}]}\n", backends[1]), 1)
		}
		if err := os.WriteFile(in.path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if a := call(t, "POST", in.management+"/v1/api/reload", ""); a.status != 200 {
			t.Fatalf("reload %d: %+v", i, a)
		}
	}
	end()
	t.Logf("%d reloads, %d requests, %d failed", rounds, sent.Load(), failed.Load())
	if sent.Load() < int64(rounds) {
		t.Errorf("only %d requests were sent", sent.Load())
	}
}

// testWatch has the built binary reload a file that is written in place, one that is replaced by a
// renamed one, and one that a link in its path leads to, as Kubernetes does it. Other files of the
// folder, which change all the time, hold nothing up.
func testWatch(t *testing.T, built programs) {
	config := testConfig(t, freeAddresses(t, 1))
	with := func(via string) []byte {
		return []byte(strings.Replace(config, "server:\n", "server:\n  via: "+via+"\n", 1))
	}
	folder := t.TempDir()
	write := func(path, via string) {
		t.Helper()
		if err := os.WriteFile(path, with(via), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i, name := range []string{"first", "second"} {
		if err := os.Mkdir(filepath.Join(folder, name), 0o700); err != nil {
			t.Fatal(err)
		}
		write(filepath.Join(folder, name, "lb.yaml"), fmt.Sprint("data", i))
	}
	link := func(target, name string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("first", "..data")
	link(filepath.Join("..data", "lb.yaml"), "linked.yaml")
	write(filepath.Join(folder, "plain.yaml"), "plain0")
	noise := make(chan struct{})
	defer close(noise)
	go func() {
		for {
			select {
			case <-noise:
				return
			case <-time.After(50 * time.Millisecond):
				_ = os.WriteFile(filepath.Join(folder, "noise.log"), nil, 0o600)
			}
		}
	}()
	start := func(name string) *process {
		t.Helper()
		p := startProcess(t, built.lb, "--path="+filepath.Join(folder, name), "--watch")
		waitFor(t, "the start", func() bool { return p.stdout.find("proxy") != nil })
		return p
	}
	changed := func(p *process, via string) {
		t.Helper()
		waitFor(t, via, func() bool {
			return strings.Contains(p.stdout.String(), "→ "+via+`"`)
		})
	}
	plain := start("plain.yaml")
	write(filepath.Join(folder, "plain.yaml"), "plain1")
	changed(plain, "plain1")
	write(filepath.Join(folder, "new.yaml"), "plain2")
	if err := os.Rename(filepath.Join(folder, "new.yaml"), filepath.Join(folder, "plain.yaml")); err != nil {
		t.Fatal(err)
	}
	changed(plain, "plain2")
	plain.signal(t, syscall.SIGTERM)
	plain.requireExit(t, 0)

	linked := start("linked.yaml")
	link("second", "..new")
	if err := os.Rename(filepath.Join(folder, "..new"), filepath.Join(folder, "..data")); err != nil {
		t.Fatal(err)
	}
	changed(linked, "data1")
	write(filepath.Join(folder, "second", "lb.yaml"), "data2")
	changed(linked, "data2")
	linked.signal(t, syscall.SIGTERM)
	linked.requireExit(t, 0)
}
