package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestExplainOfTheRunningProcess asks by the API, also with a token that may only read, and finds
// the registered client and the backend that is down.
func TestExplainOfTheRunningProcess(t *testing.T) {
	up, down := freeAddresses(t, 1)[0], freeAddresses(t, 1)[0]
	serveBackend(t, up)
	in := startInstance(t, testConfig(t, []string{up, down}, "management:\n  listen: 127.0.0.1:0\n  tokens: [{name: w, role: write, token: write-write-write-write}, {name: r, role: read, token: read-read-read-read}]\n"))
	writes, reads := "Authorization: Bearer write-write-write-write", "Authorization: Bearer read-read-read-read"
	waitFor(t, "the dead backend to be out", func() bool { return in.log.find("backend is out") != nil })
	if a := call(t, "POST", in.management+"/v1/api/clients/", `{"ip_address":"192.0.2.7","capacity":3,"rate_per_second":1}`, writes); a.status != 201 {
		t.Fatalf("POST: %+v", a)
	}
	url := in.management + "/v1/api/explain"
	a := call(t, "POST", url, `{"method":"POST","url":"http://example.com/a","from":"192.0.2.7","headers":{"X-A":"1"}}`, reads)
	var got struct {
		Client struct{ Name, By string }
		Limit  struct{ Capacity, Tokens float64 }
		Pool   struct {
			Pick     string
			Backends []struct{ Backend, State, Cause string }
		}
	}
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != 200 {
		t.Fatalf("got %+v", a)
	}
	if got.Client.Name != "192.0.2.7" || got.Limit.Capacity != 3 || got.Limit.Tokens != 3 || got.Pool.Pick != "http://"+up || got.Pool.Backends[1].State != "down" || got.Pool.Backends[1].Cause != "refused" {
		t.Errorf("got %s", a.body)
	}
	for body, status := range map[string]int{
		`{"url":"/"}`: 200, `{}`: 422, `{"url":"/","from":"x"}`: 422, `{"url":"/","headers":["A: 1"]}`: 422, `{"url":"/","headers":{"A":"1\r\nB: 2"}}`: 422, `{"url":"/","other":1}`: 422, `[]`: 422,
	} {
		if a := call(t, "POST", url, body, reads); a.status != status {
			t.Errorf("%s: got %d, want %d: %s", body, a.status, status, a.body)
		}
	}
	requireProblem(t, "a reload with the role read", call(t, "POST", in.management+"/v1/api/reload", "", reads), 403)
	requireProblem(t, "without a token", call(t, "POST", url, `{"url":"/"}`), 401)
}

// testExplain sends requests, and wants the answer that lb explain and the API say they would get.
func testExplain(t *testing.T, built programs) {
	backend := freeAddresses(t, 1)
	serveBackend(t, backend[0])
	config := testConfig(t, backend, "server:\n  listen: 127.0.0.1:0\n  max_header_size: 1KiB\n  max_body_size: 10\n",
		"routes: [{host: a.test, path: /a, pool: main}]\nlimiter: {enabled: false}\n")
	p, url := startLB(t, built, config)
	proxy, api := strings.TrimPrefix(url, "http://"), "http://"+p.stdout.find("management")["listen"].(string)+"/v1/api/explain"
	path := writeConfig(t, config)
	for _, test := range []struct {
		method, target, field string
		status                int
	}{
		{"GET", "/a", "A: 1", 200},
		{"GET", "/b", "A: 1", 404},
		{"GET", "/a", "A: " + strings.Repeat("a", 2<<10), 431},
		{"GET", "/a", "A: " + strings.Repeat("a", 900), 200},
		{"G(T", "/a", "A: 1", 400},
		{"GET", "/a b", "A: 1", 400},
		{"GET", "*", "A: 1", 400},
		{"GET", "/a", "A : 1", 400},
		{"GET", "/a", "Transfer-Encoding: gzip", 400},
		{"POST", "/a", "Content-Length: 11", 413},
		{"POST", "/a", "Expect: x", 417},
		{"CONNECT", "/a", "A: 1", 405},
		{"GET", "/v1/api/clients/", "A: 1", 403}, // by the API, for its Host
	} {
		conn, err := net.Dial("tcp", proxy)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(deadline))
		fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: a.test\r\n%s\r\nConnection: close\r\n\r\n", test.method, test.target, test.field)
		var status int
		if _, err := fmt.Fscanf(conn, "HTTP/1.1 %d", &status); err != nil || status != test.status {
			t.Errorf("%.80v: got %d, %v", test, status, err)
		}
		conn.Close()
		name, value, _ := strings.Cut(test.field, ": ")
		question, err := json.Marshal(map[string]any{"method": test.method, "url": test.target, "headers": map[string]string{"Host": "a.test", name: value}})
		if err != nil {
			t.Fatal(err)
		}
		said, err := exec.Command(built.lb, "explain", "--path="+path, "-H", "Host: a.test", "-H", test.field, test.method, test.target).Output()
		if err != nil {
			t.Errorf("%.80v: lb explain: %v", test, err)
		}
		for by, text := range map[string]string{"lb explain": string(said), "the API": call(t, "POST", api, string(question)).body} {
			var e struct {
				Refused struct{ Status int }
				API     string
				Pool    any
			}
			if err := json.Unmarshal([]byte(text), &e); err != nil {
				t.Fatalf("%s: %v: %s", by, err, text)
			}
			want, isAPI := status, strings.HasPrefix(test.target, "/v1/api/")
			if status == 200 || isAPI {
				want = 0
			}
			if e.Refused.Status != want || (e.API != "") != isAPI || (e.Pool != nil) != (status == 200) {
				t.Errorf("%.80v: got %d, and %s says %s", test, status, by, text)
			}
		}
	}
}

func TestExplainOfAFile(t *testing.T) {
	path := writeConfig(t, smallest)
	for _, test := range []struct {
		name, want, failure string
		args                []string
	}{
		{"flags first", `"address": "192.0.2.1"`, "", []string{"--path=" + path, "--from=192.0.2.1", "-H", "Host: a", "GET", "/"}},
		{"flags behind", `"pick": "http://127.0.0.1:8100"`, "", []string{"GET", "http://example.com/", "--path=" + path, "-H", "A: 1", "-H", "B: 2"}},
		{"a shared limit", `"shared": true`, "", []string{"GET", "/", "--path=" + writeConfig(t, smallest+"limiter: {share: redis://lb:hidden@valkey}\n")}},
		{"no URL", "", "METHOD URL", []string{"--path=" + path, "GET"}},
		{"too much", "", "METHOD URL", []string{"GET", "/", "--path=" + path, "/more"}},
		{"no address", "", "--from=x is invalid", []string{"GET", "/", "--path=" + path, "--from=x"}},
		{"no field", "", `"A" is invalid`, []string{"GET", "/", "--path=" + path, "-H", "A"}},
	} {
		var stdout bytes.Buffer
		err := run(t.Context(), append([]string{"explain"}, test.args...), &stdout)
		var usage usageError
		if !strings.Contains(stdout.String(), test.want) || (err != nil) != (test.failure != "") || err != nil && (!errors.As(err, &usage) || !strings.Contains(err.Error(), test.failure)) {
			t.Errorf("%s: %v, %s", test.name, err, stdout.String())
		}
	}
}

// The command names the route by its place in the file.
func TestExplainRouteOfAFile(t *testing.T) {
	path := writeConfig(t, smallest+"routes:\n  - {pool: main}\n  - {path: /v2, headers: {X-A: 1}, pool: main, strip_prefix: /v2}\n")
	var stdout bytes.Buffer
	if err := run(t.Context(), []string{"explain", "GET", "http://a.example/x/../v2/b?c", "--path=" + path, "-H", "X-A: 1"}, &stdout); err != nil {
		t.Fatal(err)
	}
	var got struct{ Route, Target string }
	if err := json.Unmarshal(stdout.Bytes(), &got); err != nil || got.Route != "routes[1]: path /v2, headers {X-A: 1}" || got.Target != "/b?c" {
		t.Errorf("got %+v, %v", got, err)
	}
}
