package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"loadbalancer/proxy/upstream"
)

// stateIn is a server section with a state file of its own.
func stateIn(t *testing.T) (section, path string) {
	path = filepath.Join(t.TempDir(), "lb.state")
	return "server:\n  listen: 127.0.0.1:0\n  state: " + path + "\n", path
}

// changed is the answer to a change of a backend.
type changed struct {
	upstream.BackendState
	Warnings []string
}

// setBackend makes a call that changes a backend of the pool main, and returns the backend.
func setBackend(t *testing.T, management, method, address, what, body string, fields ...string) (b changed) {
	t.Helper()
	a := call(t, method, management+"/v1/api/backends/main/"+url.PathEscape(address)+"/"+what, body, fields...)
	if err := json.Unmarshal([]byte(a.body), &b); err != nil || a.status != 200 || b.Address != address {
		t.Fatalf("%s %s of %s: got %+v", method, what, address, a)
	}
	return b
}

// backendsOf returns the backends by their addresses.
func backendsOf(t *testing.T, management string, fields ...string) map[string]upstream.BackendState {
	t.Helper()
	a := call(t, "GET", management+"/v1/api/backends", "", fields...)
	var list []upstream.BackendState
	if err := json.Unmarshal([]byte(a.body), &list); err != nil || a.status != 200 {
		t.Fatalf("the backends are %+v", a)
	}
	all := map[string]upstream.BackendState{}
	for _, b := range list {
		all[b.Address] = b
	}
	return all
}

// TestBackendsAPI makes each call in right and wrong ways.
func TestBackendsAPI(t *testing.T) {
	section, _ := stateIn(t)
	backends := freeAddresses(t, 2)
	socket := filepath.Join(t.TempDir(), "s")
	tokens := "management:\n  listen: 127.0.0.1:0\n  api_on_proxy: true\n  tokens: [{name: deploy, role: write, token: write-write-write-write}, {name: r, role: read, token: read-read-read-read}]\n"
	config := testConfig(t, backends, section, tokens) + "      - url: unix:" + socket + "\n"
	in := startInstance(t, config, "--demo")
	waitFor(t, "the socket to be down", func() bool { return in.log.find("backend is out") != nil })
	one, unix := "/backends/main/"+backends[0], "/backends/main/"+url.PathEscape(socket)
	for _, test := range []struct {
		method, path, body string
		role               string
		status             int
		says               string
	}{
		{"GET", "/backends", "", "read", 200, `"state":"up"`},
		{"GET", "/backends/", "", "read", 200, `"causes":["health check of unix:` + socket},
		{"GET", "/backends?x=1", "", "read", 422, `the parameter \"x\" is unknown`},
		{"GET", "/backends", "", "no", 401, ""},
		{"POST", "/backends", "", "write", 405, ""},
		{"GET", one, "", "read", 200, `"address":"` + backends[0] + `"`},
		{"GET", unix + "/", "", "read", 200, `"cause":"refused"`},
		{"GET", "/backends/main/" + url.PathEscape("http://"+backends[0]), "", "read", 200, `"address":"` + backends[0] + `"`},
		{"GET", "/backends/main/a", "", "read", 404, `address is \"a\", which does not exist; the pool main has ` + backends[0] + ", " + backends[1] + ", " + socket},
		{"GET", "/backends/other/a", "", "read", 404, `pool is \"other\", which does not exist; the pools are main`},
		{"DELETE", one, "", "write", 405, ""},
		{"POST", one + "/drain", "", "read", 403, ""},
		{"POST", one + "/drain", "", "write", 200, `"state":"draining"`},
		{"POST", one + "/drain/", `{"timeout":"30s"}`, "write", 200, `"sticky_until":"`},
		{"POST", one + "/drain", `{"timeout":null}`, "write", 200, `"causes":["drained by an operator"],"last_error":"","streak"`},
		{"POST", unix + "/drain", `{}`, "write", 200, `"state":"down,draining"`},
		{"POST", one + "/drain", `{"timeout":30}`, "write", 422, `timeout is 30; allowed is a time from \"0s\" to \"24h\"`},
		{"POST", one + "/drain", `{"timeout":"-1s"}`, "write", 422, `"field":"timeout"`},
		{"POST", one + "/drain", `{"timeout":"25h"}`, "write", 422, `"field":"timeout"`},
		{"POST", one + "/drain", `{"timeuot":"1s"}`, "write", 422, `"field":"timeuot"`},
		{"POST", one + "/drain", `{`, "write", 400, ""},
		{"POST", "/backends/main/a/drain", "", "write", 404, `"field":"address"`},
		{"POST", "/backends/other/a/drain", "", "write", 404, `"field":"pool"`},
		{"GET", one + "/drain", "", "read", 405, ""},
		{"POST", one + "/resume", "", "read", 403, ""},
		{"POST", one + "/resume", `{"timeout":"1s"}`, "write", 422, `"field":"timeout"`},
		{"POST", "/backends/main/a/resume", "", "write", 404, `"field":"address"`},
		{"POST", one + "/resume", "", "write", 200, `"state":"up"`},
		{"POST", unix + "/resume", "", "write", 200, `"state":"down"`},
		{"PUT", one + "/weight", `{"weight":3}`, "read", 403, ""},
		{"PUT", one + "/weight", `{"weight":3}`, "write", 200, `"weight":3,"configured_weight":1`},
		{"PUT", one + "/weight/", `{"weight":1000}`, "write", 200, `"weight":1000,`},
		{"PUT", one + "/weight", `{"weight":1001}`, "write", 422, `weight is 1001; allowed is a whole number from 0 to 1000`},
		{"PUT", one + "/weight", `{"weight":-1}`, "write", 422, `"field":"weight"`},
		{"PUT", one + "/weight", `{"weight":1.5}`, "write", 422, `"field":"weight"`},
		{"PUT", one + "/weight", `{"weight":"3"}`, "write", 422, `"field":"weight"`},
		{"PUT", one + "/weight", `{"weight":null}`, "write", 422, `the field \"weight\" is missing`},
		{"PUT", one + "/weight", ``, "write", 422, `the field \"weight\" is missing`},
		{"PUT", one + "/weight", `{"weight":1,"w":1}`, "write", 422, `"field":"w"`},
		{"PUT", "/backends/main/a/weight", `{"weight":1}`, "write", 404, `"field":"address"`},
		{"POST", one + "/weight", `{"weight":1}`, "write", 405, ""},
	} {
		for _, base := range in.listeners() {
			a := call(t, test.method, base+"/v1/api"+test.path, test.body, "Authorization: Bearer "+strings.Repeat(test.role+"-", 3)+test.role)
			what := test.method + " " + test.path + " " + test.body
			isProblem := a.header.Get("Content-Type") == "application/problem+json"
			if a.status != test.status || isProblem == (a.status == 200) || !strings.Contains(a.body, test.says) {
				t.Errorf("%s: got %+v, want %d with %s", what, a, test.status, test.says)
			}
		}
	}
	waitFor(t, "the last line of the log", func() bool { return strings.Count(in.log.String(), `"weight":1000`) == 2 })
	line := in.log.find("backend is drained")
	if line["token"] != "deploy" || line["address"] != "127.0.0.1" || line["pool"] != "main" || line["backend"] != "http://"+backends[0] || line["in_flight"] != 0.0 {
		t.Errorf("the log says of the drain %v", line)
	}
	if line := in.log.find("backend has a weight set by hand"); line["token"] != "deploy" || line["weight"] != 3.0 || line["configured_weight"] != 1.0 {
		t.Errorf("the log says of the weight %v", line)
	}
	if n := strings.Count(in.log.String(), `"message":"backend is resumed"`); n != 4 {
		t.Errorf("the log has %d lines of the 4 resumes", n)
	}
}

// A drain and a weight live through reloads and restarts. A weight ends when the config gets
// another, also across a restart; what was set of a backend that is gone is dropped once more is
// set.
func TestBackendsByHandAreKept(t *testing.T) {
	section, path := stateIn(t)
	backends := freeAddresses(t, 3)
	config := testConfig(t, backends, section)
	in := startInstance(t, config, "--demo")
	setBackend(t, in.management, "POST", backends[0], "drain", `{"timeout":"1h"}`)
	setBackend(t, in.management, "PUT", backends[1], "weight", `{"weight":5}`)
	setBackend(t, in.management, "PUT", backends[2], "weight", `{"weight":7}`)
	until := backendsOf(t, in.management)[backends[0]].StickyUntil
	require := func(when string, in *instance, state string, weights ...int) {
		t.Helper()
		all := backendsOf(t, in.management)
		if a := all[backends[0]]; a.State != state || state == "draining" && !a.StickyUntil.Equal(until) {
			t.Errorf("%s: the drained one is %+v", when, a)
		}
		if got := []int{all[backends[1]].Weight, all[backends[2]].Weight}; !slices.Equal(got, weights) {
			t.Errorf("%s: the weights are %v, want %v", when, got, weights)
		}
		for range 12 {
			if a := call(t, "GET", in.proxy, ""); a.status != 200 || state == "draining" && a.header.Get("X-Backend") == backends[0] {
				t.Errorf("%s: got %+v", when, a)
			}
		}
	}
	in.reload(t, "interval: 50ms", "interval: 60ms")
	require("after a reload", in, "draining", 5, 7)
	last := "      - url: http://" + backends[2] + "\n"
	in.reload(t, last, "")
	in.reload(t, "      - url: http://"+backends[1]+"\n", "      - url: http://"+backends[1]+"\n"+last)
	require("after a backend was away", in, "draining", 5, 7)
	in.stop(t)

	in = startInstance(t, config, "--demo")
	require("after a restart", in, "draining", 5, 7)
	if n := strings.Count(in.log.String(), "backend is as an operator has set it before"); n != 3 {
		t.Errorf("the log tells of %d backends", n)
	}
	in.reload(t, last, last+"        weight: 2\n")
	require("with a weight in the config", in, "draining", 5, 2)
	in.reload(t, last+"        weight: 2\n", last)
	in.stop(t)

	in = startInstance(t, config, "--demo")
	require("after another restart", in, "draining", 5, 1)
	in.stop(t)
	in = startInstance(t, strings.Replace(config, backends[1]+"\n", backends[1]+"\n        weight: 4\n", 1), "--demo")
	require("with another weight since the restart", in, "draining", 4, 1)
	if in.log.find("the config, or its SRV record, has another weight than before: it counts in place of the one that was set by hand") == nil {
		t.Errorf("the log does not say that the config counts")
	}
	in.stop(t)
	in = startInstance(t, config, "--demo")
	require("with the weight of before", in, "draining", 1, 1)
	in.stop(t)

	in = startInstance(t, testConfig(t, backends[1:], section), "--demo")
	if text := readFile(t, path); !strings.Contains(text, backends[0]) {
		t.Errorf("a start without the backend has dropped its drain: %s", text)
	}
	setBackend(t, in.management, "PUT", backends[1], "weight", `{"weight":9}`)
	if text := readFile(t, path); strings.Contains(text, backends[0]) || !strings.Contains(text, backends[1]) {
		t.Errorf("the drain of a backend that is gone was kept: %s", text)
	}
	setBackend(t, in.management, "PUT", backends[1], "weight", `{"weight":1}`)
	if text := readFile(t, path); strings.Contains(text, backends[1]) {
		t.Errorf("the weight of the config is kept as one set by hand: %s", text)
	}
}

// The last backend may be drained; the answer says what that means.
func TestDrainOfTheLast(t *testing.T) {
	section, _ := stateIn(t)
	backends := freeAddresses(t, 2)
	in := startInstance(t, testConfig(t, backends, section), "--demo")
	if b := setBackend(t, in.management, "POST", backends[0], "drain", ""); len(b.Warnings) != 0 {
		t.Errorf("of the first, it warns of %q", b.Warnings)
	}
	b := setBackend(t, in.management, "POST", backends[1], "drain", "")
	if len(b.Warnings) != 1 || !strings.Contains(b.Warnings[0], "no backend of the pool main takes new requests") {
		t.Errorf("of the last, it warns of %q", b.Warnings)
	}
	a := call(t, "GET", in.proxy, "")
	requireProblem(t, "a request", a, 503)
	ready, metrics := call(t, "GET", in.management+"/readyz", ""), call(t, "GET", in.management+"/metrics", "")
	if !strings.Contains(a.body, "no_backend") || ready.status != 503 || !strings.Contains(metrics.body, `lb_backend_up{pool="main",backend="`+backends[1]+`"} 0`) {
		t.Errorf("the request got %s, /readyz says %+v", a.body, ready)
	}
	setBackend(t, in.management, "POST", backends[1], "resume", "")
	if a := call(t, "GET", in.proxy, ""); a.header.Get("X-Backend") != backends[1] {
		t.Errorf("resumed, a request got %+v", a)
	}
	if metrics := call(t, "GET", in.management+"/metrics", ""); !strings.Contains(metrics.body, `lb_backend_up{pool="main",backend="`+backends[1]+`"} 1`) {
		t.Error("resumed, lb_backend_up is not 1")
	}
}

// Where the state cannot be written, the call acts all the same, and the answer and the log say so.
func TestDrainCannotBeKept(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "later")
	backends := freeAddresses(t, 2)
	in := startInstance(t, testConfig(t, backends, "server:\n  listen: 127.0.0.1:0\n  state: "+folder+"/lb.state\n"), "--demo")
	b := setBackend(t, in.management, "POST", backends[0], "drain", "")
	if b.State != "draining" || len(b.Warnings) != 1 || !strings.Contains(b.Warnings[0], "could not be written to server.state") {
		t.Errorf("got %+v", b)
	}
	waitFor(t, "the log line", func() bool { return in.log.find("backend is drained") != nil })
	if line := in.log.find("backend is drained"); line["level"] != "error" || !strings.Contains(line["not_kept"].(string), folder) {
		t.Errorf("the log says %v", line)
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if b := setBackend(t, in.management, "PUT", backends[1], "weight", `{"weight":2}`); len(b.Warnings) != 0 {
		t.Errorf("where it can be written, got %+v", b)
	}
	if text := readFile(t, folder+"/lb.state"); !strings.Contains(text, backends[0]) {
		t.Errorf("the drain was not kept with the weight: %s", text)
	}
}

func TestBackendsStateIsFaulty(t *testing.T) {
	for text, want := range map[string]string{
		`{"version":1,"backends":5}`: "the section backends",
		`{"version":1,"backends":{"main":{"http://127.0.0.1:1":{"weight":{"now":1001}}}}}`: "backends.main: http://127.0.0.1:1 has the weight 1001: use a whole number from 0 to 1000",
	} {
		section, path := stateIn(t)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		err := run(context.Background(), []string{"--path=" + writeConfig(t, testConfig(t, freeAddresses(t, 1), section))}, &journal{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: the start returned %v", text, err)
		}
		if readFile(t, path) != text {
			t.Errorf("%s was changed", text)
		}
	}
}

// Sticky clients stay at a drained backend until the deadline, while new ones go elsewhere.
func TestDrainOfStickyClients(t *testing.T) {
	section, _ := stateIn(t)
	backends := freeAddresses(t, 2)
	in := startInstance(t, stickyIn(testConfig(t, backends, section, "limiter: {enabled: false}\n")), "--demo")
	backend, cookie := meet(t, in)
	setBackend(t, in.management, "POST", backend, "drain", "")
	mustStay(t, "without a deadline", in, backend, cookie)
	in.reload(t, "interval: 50ms", "interval: 60ms")
	mustStay(t, "after a reload", in, backend, cookie)
	for range 6 {
		if other, _ := meet(t, in); other == backend {
			t.Fatal("a drained backend gets a new client")
		}
	}
	begun := time.Now()
	setBackend(t, in.management, "POST", backend, "drain", `{"timeout":"300ms"}`)
	waitFor(t, "the client to move", func() bool {
		return call(t, "GET", in.proxy, "", "Cookie: "+cookie).header.Get("X-Backend") != backend
	})
	if took := time.Since(begun); took < 300*time.Millisecond {
		t.Errorf("the client moved after %s", took)
	}
	if b := backendsOf(t, in.management)[backend]; b.State != "draining" {
		t.Errorf("after the deadline it is %+v", b)
	}
}

// TestCallerOfAChange: the log tells by which token a change was made and from where, on both
// listeners. The address is the client's where a trusted proxy has passed the call on.
func TestCallerOfAChange(t *testing.T) {
	backends := freeAddresses(t, 1)
	const trusting = "server:\n  listen: 127.0.0.1:0\n  trusted_proxies: [127.0.0.1]\n"
	for _, test := range []struct {
		name, config   string
		fields         []string
		token, address any
	}{
		{"management.token", apiOnBoth + "  token: s3cret\n", []string{"Authorization: Bearer s3cret"}, "token", "127.0.0.1"},
		{"one of the tokens", apiOnBoth + "  tokens: [{name: ci, role: write, token: s3cret}]\n", []string{"Authorization: Bearer s3cret"}, "ci", "127.0.0.1"},
		{"no token", apiOnBoth, nil, nil, "127.0.0.1"},
		{"behind a proxy", trusting + apiOnBoth + "  token: s3cret\n", []string{"Authorization: Bearer s3cret", "X-Forwarded-For: 203.0.113.9, 192.0.2.7"}, "token", "192.0.2.7"},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := startInstance(t, testConfig(t, backends, test.config))
			for weight, base := range in.listeners() {
				body := fmt.Sprintf(`{"weight":%d}`, weight+2)
				if a := call(t, "PUT", base+"/v1/api/backends/main/"+backends[0]+"/weight", body, test.fields...); a.status != 200 {
					t.Fatalf("%s: got %+v", base, a)
				}
				var line map[string]any
				waitFor(t, "the log line", func() bool {
					for text := range strings.Lines(in.log.String()) {
						if strings.Contains(text, "set by hand") && strings.Contains(text, body[1:len(body)-1]) {
							return json.Unmarshal([]byte(text), &line) == nil
						}
					}
					return false
				})
				if line["token"] != test.token || line["address"] != test.address {
					t.Errorf("%s: logged %v", base, line)
				}
			}
		})
	}
}
