package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
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
			Backends []struct{ Backend, State string }
		}
	}
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != 200 {
		t.Fatalf("got %+v", a)
	}
	if got.Client.Name != "192.0.2.7" || got.Limit.Capacity != 3 || got.Limit.Tokens != 3 || got.Pool.Pick != "http://"+up || got.Pool.Backends[1].State != "down" {
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

func TestExplainOfAFile(t *testing.T) {
	path := writeConfig(t, smallest)
	for _, test := range []struct {
		name, want, failure string
		args                []string
	}{
		{"flags first", `"address": "192.0.2.1"`, "", []string{"--path=" + path, "--from=192.0.2.1", "-H", "Host: a", "GET", "/"}},
		{"flags behind", `"pick": "http://127.0.0.1:8100"`, "", []string{"GET", "http://example.com/", "--path=" + path, "-H", "A: 1", "-H", "B: 2"}},
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
