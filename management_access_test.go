package main

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// apiOnBoth is a management section with the API on both listeners.
const apiOnBoth = "management:\n  listen: 127.0.0.1:0\n  api_on_proxy: true\n"

// listeners are the URLs of both.
func (in *instance) listeners() []string { return []string{in.proxy, in.management} }

// dialHTTP opens a connection to a URL of an instance, or to a unix socket.
func dialHTTP(t *testing.T, url string) net.Conn {
	t.Helper()
	network, address := "tcp", strings.TrimPrefix(url, "http://")
	if strings.HasPrefix(address, "/") {
		network = "unix"
	}
	conn, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(deadline))
	return conn
}

// raw sends a request as it is, which has to end its connection, and returns the response as it is.
func raw(t *testing.T, url, request string) string {
	t.Helper()
	conn := dialHTTP(t, url)
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	response, err := io.ReadAll(conn)
	if err != nil {
		t.Errorf("%q: %v", request, err)
	}
	return string(response)
}

// requireAccess makes a call of the API on each listener, and /healthz, which needs no access.
func requireAccess(t *testing.T, in *instance, status int, fields ...string) {
	t.Helper()
	for _, base := range in.listeners() {
		a := call(t, "GET", base+"/v1/api/clients/", "", fields...)
		if status != 200 {
			requireProblem(t, base, a, status)
		} else if a.status != 200 {
			t.Errorf("%s: got %+v", base, a)
		}
		if asks := a.header.Get("WWW-Authenticate") != ""; asks != (status == 401) {
			t.Errorf("%s: WWW-Authenticate is %q", base, a.header.Get("WWW-Authenticate"))
		}
	}
	if a := call(t, "GET", in.management+"/healthz", "", fields...); a.status != 200 {
		t.Errorf("/healthz is open to all, but got %+v", a)
	}
}

// Without a token, a caller on this machine may use the API, if it speaks for itself.
func TestAccessWithoutAToken(t *testing.T) {
	in := startInstance(t, testConfig(t, freeAddresses(t, 1)), "--demo")
	for _, fields := range [][]string{
		nil,
		{"Host: localhost"}, {"Host: localhost:8080"}, {"Host: LOCALHOST"}, {"Host: localhost:"}, {"Host: 127.0.0.1"}, {"Host: 127.9.9.9:80"},
		{"Host: [::1]"}, {"Host: [::1]:8080"}, {"Host: [::ffff:127.0.0.1]:80"},
		{"Authorization: Bearer any"}, {"X-Forward: a"}, {"X-Real: a"}, {"Referer: http://evil.example/"},
	} {
		t.Run(fmt.Sprint(fields), func(t *testing.T) { requireAccess(t, in, 200, fields...) })
	}
	for _, fields := range [][]string{
		{"Host: evil.example"}, {"Host: evil.example:8080"}, {"Host: 127.0.0.1.evil.example"}, {"Host: localhost.evil.example"},
		{"Host: 192.0.2.1"}, {"Host: 10.0.0.1:8080"}, {"Host: 0.0.0.0"}, {"Host: [::]"}, {"Host: [2001:db8::1]:80"}, {"Host: 127.1"}, {"Host: 2130706433"},
		{"X-Forwarded-For: 127.0.0.1"}, {"X-Forwarded-For: "}, {"X-Forwarded-For: ", "X-Forwarded-For: 192.0.2.1"},
		{"X-Forwarded-Host: localhost"}, {"X-Forwarded-Proto: https"}, {"X-Forwarded-Port: 443"}, {"X-Forwarded-Server: a"}, {"X-Forwarded-Prefix: /"},
		{"X-Forwarded-Ssl: on"}, {"X-Forwarded-Anything: "}, {"X-Real-IP: 127.0.0.1"}, {"X-Real-IP: "},
		{"Forwarded: for=127.0.0.1"}, {"Forwarded: "}, {"Via: 1.1 proxy"}, {"Via: "},
		{"Origin: http://evil.example"}, {"Origin: null"}, {"Origin: "}, {"Origin: http://localhost"},
		{"Via: 1.1 proxy", "Authorization: Bearer s3cret"}, {"Via: 1.1 proxy", "Authorization: Bearer "},
	} {
		t.Run(fmt.Sprint(fields), func(t *testing.T) { requireAccess(t, in, 403, fields...) })
	}
}

// The guard of the proxy's listener reads no request on the management listener.
func TestAccessByUnguardedRequests(t *testing.T) {
	in := startInstance(t, testConfig(t, freeAddresses(t, 1)), "--demo")
	for _, head := range []string{
		"GET /v1/api/clients/ HTTP/1.1\r\nHost: localhost\r\nX_Forwarded_For: 192.0.2.1\r\n",
		"GET /v1/api/clients/ HTTP/1.1\r\nHost: localhost\r\nx_forwarded-FOR:\r\n",
		"GET /v1/api/clients/ HTTP/1.1\r\nHost: localhost\r\nX_Real_IP: 127.0.0.1\r\n",
		"GET /v1/api/clients/ HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For:\r\n 192.0.2.1\r\n",
		"GET /v1/api/clients/ HTTP/1.1\nHost: localhost\nVia: a\n",
		"GET /v1/api/clients/ HTTP/1.1\r\nHost: localhost\r\nA: b\r\nvIA:\r\nC: d\r\n",
		"GET /v1/api/clients/ HTTP/1.1\r\nHost: ::1\r\n",
		"GET /v1/api/clients/ HTTP/1.1\r\nHost: [localhost]\r\n",
		"GET /v1/api/clients/ HTTP/1.1\r\nHost: [127.0.0.1]\r\n",
		"GET /v1/api/clients/ HTTP/1.1\r\nHost: localhost:evil\r\n",
		"GET /v1/api/clients/ HTTP/1.1\r\nHost:\r\n",
		"GET /v1/api/clients/ HTTP/1.0\r\n",
		"GET http://evil.example/v1/api/clients/ HTTP/1.1\r\nHost: localhost\r\n",
		"GET http://localhost/v1/api/clients/ HTTP/1.1\r\nHost: evil.example\r\n",
		"GET http://localhost/v1/api/clients/ HTTP/1.0\r\n",
	} {
		if got := raw(t, in.management, head+"Connection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 403 ") && !strings.HasPrefix(got, "HTTP/1.1 400 ") {
			t.Errorf("%q: got %q", head, got)
		}
	}
	for _, base := range in.listeners() { // these name no host, or two
		for _, head := range []string{"GET /v1/api/clients/ HTTP/1.0\r\n", "GET http://evil.example/v1/api/clients/ HTTP/1.0\r\nHost: localhost\r\n"} {
			if got := raw(t, base, head+"\r\n"); strings.Contains(got, "[]\n") {
				t.Errorf("%s: %q got %q", base, head, got)
			}
		}
		const local = "GET http://LocalHost/v1/api/clients/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
		if got := raw(t, base, local); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
			t.Errorf("%s: got %q", base, got)
		}
	}
}

// A trusted proxy speaks for others, also where it is on this machine. A peer on a unix socket
// counts as 127.0.0.1.
func TestAccessOfTrustedProxies(t *testing.T) {
	for trusted, status := range map[string]int{"127.0.0.0/8": 403, "192.0.2.1": 200} {
		t.Run(trusted, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "lb") // t.TempDir can be too long for a socket's path
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			server := "server:\n  trusted_proxies: [" + trusted + "]\n  listen: "
			tcp := startInstance(t, testConfig(t, freeAddresses(t, 1), server+"127.0.0.1:0\n"), "--demo")
			requireAccess(t, tcp, status)
			sockets := fmt.Sprintf("%sunix:%s/a\nmanagement:\n  api_on_proxy: true\n  listen: unix:%[2]s/b\n", server, dir)
			startInstance(t, testConfig(t, freeAddresses(t, 1), sockets), "--demo")
			for _, socket := range []string{"/a", "/b"} {
				got := raw(t, dir+socket, "GET /v1/api/clients/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
				if !strings.HasPrefix(got, fmt.Sprintf("HTTP/1.1 %d ", status)) {
					t.Errorf("%s: got %q, want %d", socket, got, status)
				}
			}
		})
	}
}

// With a token, every call needs it, from this machine too.
func TestAccessWithAToken(t *testing.T) {
	in := startInstance(t, testConfig(t, freeAddresses(t, 1), apiOnBoth+"  token: s3cret\n"), "--demo")
	for _, tt := range []struct {
		name   string
		fields []string
		status int
	}{
		{"no token", nil, 401},
		{"no token, from elsewhere", []string{"Via: 1.1 proxy"}, 401},
		{"the token", []string{"Authorization: Bearer s3cret"}, 200},
		{"from elsewhere", []string{"Via: 1.1 proxy", "X-Forwarded-For: 192.0.2.1", "Authorization: Bearer s3cret"}, 200},
		{"in small letters", []string{"Authorization: bearer s3cret"}, 200},
		{"in capitals", []string{"Authorization: BEARER s3cret"}, 200},
		{"several spaces", []string{"Authorization: Bearer   s3cret"}, 200},
		{"a tab", []string{"Authorization: Bearer\ts3cret"}, 200},
		{"tabs and spaces", []string{"Authorization: Bearer \t \ts3cret"}, 200},
		{"to a foreign host", []string{"Host: lb.example", "Authorization: Bearer s3cret"}, 200},
		{"from a browser's page", []string{"Origin: http://ui.example", "Authorization: Bearer s3cret"}, 200},
		{"a shorter token", []string{"Authorization: Bearer s3cre"}, 401},
		{"a longer token", []string{"Authorization: Bearer s3cret2"}, 401},
		{"in another case", []string{"Authorization: Bearer S3cret"}, 401},
		{"an empty token", []string{"Authorization: Bearer "}, 401},
		{"the scheme alone", []string{"Authorization: Bearer"}, 401},
		{"another scheme", []string{"Authorization: Basic s3cret"}, 401},
		{"no scheme", []string{"Authorization: s3cret"}, 401},
		{"two tokens", []string{"Authorization: Bearer s3cret s3cret"}, 401},
		{"twice", []string{"Authorization: Bearer s3cret", "Authorization: Bearer s3cret"}, 401},
		{"a second field", []string{"Authorization: Bearer s3cret", "Authorization: Basic a"}, 401},
		{"a second, empty field", []string{"Authorization: Bearer s3cret", "Authorization: "}, 401},
	} {
		t.Run(tt.name, func(t *testing.T) { requireAccess(t, in, tt.status, tt.fields...) })
	}
}

func TestRolesOfTokens(t *testing.T) {
	hashed := fmt.Sprintf("%x", sha256.Sum256([]byte("hashed")))
	in := startInstance(t, testConfig(t, freeAddresses(t, 1), apiOnBoth+"  token: all\n  tokens:\n"+
		"    - {name: old, role: write, token: old}\n    - {name: new, role: write, sha256: "+strings.ToUpper(hashed)+"}\n"+
		"    - {name: reads, role: read, token: reads}\n    - {name: both, role: read, token: both}\n    - {name: both too, role: write, token: both}\n"), "--demo")
	calls := []struct {
		method, path, body string
		status             int
		reads              bool
	}{
		{"GET", "clients/", "", 200, true}, {"HEAD", "clients/", "", 200, true}, {"GET", "limited", "", 200, true},
		{"POST", "clients/", `{"ip_address":"192.0.2.1","capacity":1,"rate_per_second":1}`, 201, false},
		{"PUT", "clients/192.0.2.1", `{"capacity":2,"rate_per_second":1}`, 200, false},
		{"POST", "clients/192.0.2.1/reset", "", 204, false}, {"DELETE", "clients/192.0.2.1", "", 204, false},
		{"OPTIONS", "clients/", "", 405, false}, {"HEA", "clients/", "", 405, false}, {"get", "clients/", "", 405, false},
	}
	for _, token := range []string{"all", "old", "hashed", "reads", "both"} {
		for _, base := range in.listeners() {
			for _, c := range calls {
				a := call(t, c.method, base+"/v1/api/"+c.path, c.body, "Authorization: Bearer "+token)
				if token == "reads" && !c.reads {
					requireProblem(t, c.method+" with "+token, a, 403)
				} else if a.status != c.status {
					t.Errorf("%s %s with %s: got %+v, want %d", c.method, c.path, token, a, c.status)
				}
			}
		}
	}
	requireAccess(t, in, 401, "Authorization: Bearer new") // a name
	requireAccess(t, in, 401, "Authorization: Bearer "+hashed)
}

// What is served at a target and what the check covers must be the same: on no listener does a
// spelling of a path lead to the API past it.
func TestAccessByOddPaths(t *testing.T) {
	const clients = `{"ip_address":"192.0.2.77","capacity":1,"rate_per_second":1}`
	in := startInstance(t, testConfig(t, freeAddresses(t, 1), apiOnBoth+"  token: s3cret\n"), "--demo")
	if a := call(t, "POST", in.management+"/v1/api/clients/", clients, "Authorization: Bearer s3cret"); a.status != 201 {
		t.Fatalf("got %+v", a)
	}
	served := 0
	for _, target := range []string{
		"/v1/api/clients/", "/v1/api/clients", "/v1/api/clients?limit=1", "/v1/api/clients/192.0.2.77", "/v1/api/clients/192.0.2.77%2F32",
		"/v1/api/limited", "/v1/api/", "/v1/api", "/v1/api?", "/v1/api/?x", "/v1/api/swagger.yaml", "/v1/api/swagger.yaml/", "/v1/api/swagger.yaml/../clients/",
		"//v1/api/clients/", "///v1/api/clients/", "/v1//api/clients/", "/v1/api//clients/", "/v1/api/./clients/", "/./v1/api/clients/", "/v1/./api/clients/",
		"/x/../v1/api/clients/", "/v1/api/../api/clients/", "/v1/api/../../v1/api/clients/", "/healthz/../v1/api/clients/", "/metrics/../v1/api/clients/",
		"/v1%2fapi/clients/", "/v1%2Fapi%2Fclients%2F", "/v1/%61pi/clients/", "/%76%31/api/clients/", "/v1/api%2fclients/", "%2fv1/api/clients/",
		"/V1/API/clients/", "/v1/api/Clients/", "/v1/api;x/clients/", `/v1\api\clients\`, "/v1/api/clients/#x", "/v1/api/clients/%00", "/v1/api/clients/..%2f..%2fclients",
		"http://localhost/v1/api/clients/", "HTTP://localhost/v1/api/clients/", "http://localhost//v1/api/clients/", "http://localhost/x/../v1/api/clients/",
		"http:///v1/api/clients/", "http://localhost:80/v1/api/clients/", "https://localhost/v1/api/clients/", "//localhost/v1/api/clients/", "v1/api/clients/",
		"x:/v1/api/clients/", "x?//localhost/v1/api/clients/", "/?http://localhost/v1/api/clients/", "*", "?/v1/api/clients/",
	} {
		for _, base := range in.listeners() {
			for _, method := range []string{"GET", "HEAD", "DELETE", "POST", "OPTIONS"} {
				request := method + " " + target + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
				unknown := raw(t, base, request+"\r\n")
				if strings.Contains(unknown, "192.0.2.77") && !strings.HasPrefix(unknown, "HTTP/1.1 401 ") {
					t.Errorf("%s: %s %s without the token: %.200q", base, method, target, unknown)
				}
				if method != "GET" {
					continue // with the token it would be done
				}
				if known := raw(t, base, request+"Authorization: Bearer s3cret\r\n\r\n"); strings.Contains(known, "192.0.2.77") {
					served++
					if !strings.HasPrefix(unknown, "HTTP/1.1 401 ") {
						t.Errorf("%s: %s is the API's, but without the token got %q", base, target, unknown)
					}
				}
			}
		}
	}
	if served < 10 {
		t.Errorf("%d targets were the API's", served)
	}
	if a := call(t, "GET", in.management+"/v1/api/clients/192.0.2.77", "", "Authorization: Bearer s3cret"); a.status != 200 {
		t.Errorf("the client is gone: %+v", a)
	}
}

// The description of the API is there for all on the management listener, and for none on the
// proxy's.
func TestAccessToTheDescription(t *testing.T) {
	in := startInstance(t, testConfig(t, freeAddresses(t, 1), apiOnBoth+"  token: s3cret\n"), "--demo")
	for _, method := range []string{"GET", "HEAD"} {
		for path, status := range map[string]int{"/v1/api/": 200, "/v1/api/swagger.yaml": 200} {
			if a := call(t, method, in.management+path, "", "Via: 1.1 proxy", "Host: lb.example"); a.status != status {
				t.Errorf("%s %s: got %+v", method, path, a)
			}
			if a := call(t, method, in.proxy+path, ""); a.status != 401 {
				t.Errorf("%s %s on the proxy's listener: got %+v", method, path, a)
			}
		}
	}
	for _, call := range []func() answer{
		func() answer { return call(t, "POST", in.management+"/v1/api/swagger.yaml", "") },
		func() answer { return call(t, "DELETE", in.management+"/v1/api/", "") },
	} {
		requireProblem(t, "another method", call(), 401)
	}
}

// A refusal reaches the client although it is still sending the body.
func TestRefusalBeforeTheBodyIsRead(t *testing.T) {
	in := startInstance(t, testConfig(t, freeAddresses(t, 1)), "--demo")
	body := strings.Repeat("x", 8<<20) // more than the sockets' buffers hold
	for range 3 {
		requireProblem(t, "403", call(t, "POST", in.management+"/v1/api/clients/", body, "Via: 1.1 proxy"), 403)
		requireProblem(t, "404", call(t, "POST", in.management+"/nowhere", body), 404)
	}
}

// Each of eight refused calls is answered, however early their bodies come.
func TestRefusalsArrive(t *testing.T) {
	in := startInstance(t, testConfig(t, freeAddresses(t, 1), apiOnBoth+"  token: s3cret\n"), "--demo")
	const head = "POST /v1/api/clients/ HTTP/1.1\r\nHost: localhost\r\n"
	const both = head + "Content-Length: 5\r\n\r\nhello" + head + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
	for _, base := range in.listeners() {
		conn := dialHTTP(t, base)
		if _, err := io.WriteString(conn, strings.Repeat(both, 4)); err != nil {
			t.Fatal(err)
		}
		answers := bufio.NewReader(conn)
		for i := range 8 {
			res, err := http.ReadResponse(answers, &http.Request{Method: "POST"})
			if err != nil {
				t.Fatalf("%s: answer %d: %v", base, i+1, err)
			}
			if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != 401 {
				t.Errorf("%s: answer %d: got %d, %v", base, i+1, res.StatusCode, err)
			}
		}
	}
}

// Calls of the API have metrics of their own, and their lines in the access log.
func TestMetricsOfTheAPI(t *testing.T) {
	in := startInstance(t, testConfig(t, freeAddresses(t, 1), apiOnBoth+"  token: s3cret\n  tokens: [{name: r, role: read, token: reads}]\n",
		"log:\n  access: all\n"), "--demo")
	for _, base := range in.listeners() {
		call(t, "GET", base+"/v1/api/clients/", "", "Authorization: Bearer s3cret")
		call(t, "GET", base+"/v1/api/nowhere", "", "Authorization: Bearer s3cret")
		call(t, "POST", base+"/v1/api/clients/", "{", "Authorization: Bearer s3cret")
		call(t, "POST", base+"/v1/api/clients/", "{}", "Authorization: Bearer reads")
		call(t, "GET", base+"/v1/api/clients/", "")
	}
	call(t, "POST", in.proxy+"/v1/api/clients/", strings.Repeat(" ", 2<<20), "Authorization: Bearer s3cret")
	call(t, "GET", in.proxy+"/", "")
	call(t, "GET", in.management+"/v1/api/swagger.yaml", "")
	var text string
	for _, line := range []string{
		`lb_requests_total{pool="main",code="200"} 1`, `lb_api_requests_total{code="413"} 1`, // counted behind their answers
		`lb_api_requests_total{code="200"} 3`, `lb_api_requests_total{code="404"} 2`, `lb_api_requests_total{code="400"} 2`,
		`lb_api_requests_total{code="403"} 2`, `lb_api_requests_total{code="401"} 2`,
		`lb_api_denied_total 4`, `lb_request_duration_seconds_count{pool=""} 0`,
		"# TYPE lb_api_requests_total counter", "# TYPE lb_api_denied_total counter", "# HELP lb_api_requests_total ", "# HELP lb_api_denied_total ",
	} {
		waitFor(t, "the metrics to have "+line, func() bool {
			text = call(t, "GET", in.management+"/metrics", "").body
			return strings.Contains(text, "\n"+line)
		})
	}
	if strings.Contains(text, `lb_requests_total{pool=""`) {
		t.Error("calls of the API count as requests")
	}
	requireExposition(t, text)
	waitFor(t, "6 lines of the API in the access log", func() bool {
		return strings.Count(in.log.String(), `"path":"/v1/api/`) == 6
	})
}

// A start warns of each token that could be guessed, and shows none.
func TestWarningOfShortTokens(t *testing.T) {
	in := startInstance(t, testConfig(t, freeAddresses(t, 1), apiOnBoth+"  token: s3cret\n  tokens:\n"+
		"    - {name: long, role: read, token: s3cret0123456789}\n    - {name: short, role: read, token: s3cret012345678}\n"))
	for text, want := range map[string]int{
		`"level":"warn","token"`: 2, `"token":"management.token"`: 1, `"token":"short"`: 1, "fewer than 16 characters": 2, "s3cret": 0,
	} {
		if got := strings.Count(in.log.String(), text); got != want {
			t.Errorf("%q stands there %d times, want %d:\n%s", text, got, want, in.log)
		}
	}
}
