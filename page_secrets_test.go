package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

// TestSecretsAreNotAnswered asks a load balancer for all that it tells, after failures of what it has
// secrets for, reloads of them, and requests that have some. No answer and no line of the log has one.
func TestSecretsAreNotAnswered(t *testing.T) {
	failing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) }))
	t.Cleanup(failing.Close)
	away := freeAddresses(t, 2)
	config := fmt.Sprintf(`server: {listen: "127.0.0.1:0"}
management:
  listen: 127.0.0.1:0
  api_on_proxy: true
  tokens: [{name: writer, role: write, token: secret-of-the-writer}, {name: reader, role: read, token: secret-of-the-reader}]
clients: {store: "postgres://user:secret-1@%s/db", snapshot: "", connect_timeout: 1s}
limiter: {share: "redis://user:secret-2@%s", api_key_header: X-API-Key}
log: {access: all, level: debug}
routes:
  - {path: /, pool: main, request_headers: {set: {Authorization: secret-3}}}
pools:
  main:
    sticky: {cookie: lb, secret: secret-4-of-32-characters-or-more}
    health: {path: "/healthz?key=secret-5", interval: 50ms, fall: 1}
    backends: [{url: "%s"}]
`, away[0], away[1], failing.URL)
	in := startInstance(t, config)
	token := "Authorization: Bearer secret-of-the-writer"
	const withSecrets = "/path?key=secret-6"
	ask := func() (all string) {
		for _, url := range []string{in.management, in.proxy} {
			for _, path := range []string{"/v1/api/status", "/v1/api/backends", "/v1/api/limited", "/v1/api/audit", "/v1/api/clients/", "/metrics", "/readyz", "/page/session", "/"} {
				all += "\n" + path + " " + call(t, "GET", url+path, "", token).body
			}
		}
		return all
	}
	var all string
	waitFor(t, "the check to fail", func() bool {
		call(t, "GET", in.proxy+withSecrets, "", "X-API-Key: secret-7", "Authorization: Bearer secret-8", "Cookie: lb=secret-9")
		all = ask()
		return strings.Contains(all, "/healthz?… was answered with status 500")
	})
	own := "Origin: " + in.management
	all += call(t, "POST", in.management+"/page/session", `{"token":"secret-10"}`, own).body
	all += call(t, "POST", in.management+"/page/session", `{"token":"secret-of-the-reader"}`, own).body
	all += call(t, "GET", in.management+"/v1/api/status", "", "Authorization: Bearer secret-11", "Lb-Page-Token: secret-12").body
	for _, pair := range [][2]string{
		{"secret-of-the-reader", "secret-of-another"}, {"secret-5", "secret-13"}, {"secret-3", "secret-14"}, {"secret-4-", "secret-15-"},
		{"secret-2", "secret-16"}, {"secret-1@", "secret-17@"}, {"redis://user:", "redas://user:"}, {"/healthz?", "healthz?"},
		{"url: \"http://", "url: \"http://user:secret-18@"},
		{"role: read, token: ", "role: read, token: secret 19 "}, {"role: write, token", "role: write, secret"},
	} {
		before, err := os.ReadFile(in.path)
		if err != nil {
			t.Fatal(err)
		}
		in.edit(t, pair[0], pair[1])
		all += call(t, "POST", in.management+"/v1/api/reload", "", token).body + ask()
		if err := os.WriteFile(in.path, before, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for line := range strings.Lines(all + in.log.String()) {
		if at := strings.Index(line, "secret-"); at >= 0 {
			t.Errorf("…%.300s", line[max(0, at-100):])
		}
	}
}
