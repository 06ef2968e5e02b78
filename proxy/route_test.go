package proxy

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"loadbalancer/limiter"
	"loadbalancer/proxy/routes"
	"loadbalancer/proxy/upstream"
)

// namedPools returns options with pools whose one backend answers with the pool's name and the
// target that it got.
func namedPools(t *testing.T, names ...string) Options {
	t.Helper()
	o := testOptions()
	o.Pools = map[string]upstream.PoolConfig{}
	for _, name := range names {
		url := startRawBackend(t, func(conn net.Conn) {
			header, buf := "", make([]byte, 4096)
			for !strings.HasSuffix(header, "\r\n\r\n") {
				n, err := conn.Read(buf)
				if err != nil {
					return
				}
				header += string(buf[:n])
			}
			body := name + " " + strings.Fields(header)[1]
			fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body)
		})
		o.Pools[name] = testOptions(url).Pools["main"]
	}
	return o
}

// TestHostileTargets sends them over the wire: none reaches a backend that the route of what it
// leads to does not name, and what goes on is as it came.
func TestHostileTargets(t *testing.T) {
	o := namedPools(t, "open", "admin", "stripped")
	o.Routes = []routes.Config{{Pool: "open"}, {Path: "/admin", Pool: "admin"}, {Path: "/v2", StripPrefix: "/v2", Pool: "stripped"}}
	_, address := startProxy(t, o)
	for _, test := range []struct{ method, target, want string }{ // a status, or the pool and the target
		{"GET", "/", "open /"},
		{"GET", "/admin", "admin /admin"},
		{"GET", "/administrator", "open /administrator"},
		{"GET", "//admin", "admin //admin"},
		{"GET", "/x/../admin", "admin /x/../admin"},
		{"GET", "/x/%2e%2E/admin?a=..%2f", "admin /x/%2e%2E/admin?a=..%2f"},
		{"GET", "/%61dmin/.", "admin /%61dmin/."},
		{"GET", "/admin/..", "open /admin/.."},
		{"GET", "/%252e%252e/admin", "open /%252e%252e/admin"},
		{"GET", "/%c0%ae%c0%ae/admin", "open /%c0%ae%c0%ae/admin"},
		{"GET", "/x/..%2fadmin", "400"},
		{"GET", "/x/..%5cadmin", "400"},
		{"GET", `/x/..\admin`, "400"},
		{"GET", "/x/..;/admin", "400"},
		{"GET", "/x;/../admin", "400"},
		{"GET", "/admin%00", "400"},
		{"GET", "/admin\x00", "400"},
		{"GET", "/%zz", "400"},
		{"GET", "/admin#x", "400"},
		{"GET", "/\xc3\xa9", "400"},
		{"GET", "admin", "400"},
		{"GET", "http://example.com/admin", "admin /admin"},
		{"GET", "http://example.com//x/../admin", "admin //x/../admin"},
		{"GET", "http://example.com", "open /"},
		{"GET", "http://example.com/x/..%2fadmin", "400"},
		{"GET", "http://example.com?/admin", "open /?/admin"},
		{"GET", "http://other.example/admin", "400"},
		{"OPTIONS", "*", "open *"},
		{"OPTIONS", "http://example.com", "open *"},
		{"GET", "*", "400"},
		{"CONNECT", "example.com:80", "405"},
		{"CONNECT", "/admin", "405"},
		{"GET", "/v2", "stripped /"},
		{"GET", "/v2?a=b", "stripped /?a=b"},
		{"GET", "/v2/a?b=/v2", "stripped /a?b=/v2"},
		{"GET", "/x/..//v2//%61/./b%21c?d?e", "stripped /a/b%21c?d?e"},
		{"GET", "/v2/b%2fc", "stripped /b%2fc"},
		{"GET", "/admin/b%2fc/../../x", "400"}, // /admin/x, where %2f is a /
		{"GET", "/v2/..//admin", "admin /v2/..//admin"},
		{"GET", "/v2//evil.example/", "stripped /evil.example/"},
		{"POST", "http://example.com/v2/a?b", "stripped /a?b"},
	} {
		got := talk(t, address, test.method+" "+test.target+" HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		head, body, _ := strings.Cut(got, "\r\n\r\n")
		if words := strings.Fields(head); len(words) < 2 || words[1] != "200" {
			body = strings.Join(words[min(1, len(words)):min(2, len(words))], "")
		}
		if body != test.want {
			t.Errorf("%s %s: got %q, want %q", test.method, test.target, body, test.want)
		}
	}
}

// A path that is refused has its cause in the log, and its connection ends.
func TestRefusedPathIsLogged(t *testing.T) {
	var log logLines
	o := namedPools(t, "main")
	o.Routes = []routes.Config{{Path: "/", Pool: "main"}}
	o.Access, o.Log = AccessErrors, zerolog.New(&log)
	p, address := startProxy(t, o)
	if got := status(t, address, withHost("GET /x/..%2fa?secret HTTP/1.1")); got != 400 {
		t.Errorf("got %d", got)
	}
	eventually(t, "the line of the log", func() bool { return len(log.parsed(t)) == 1 })
	line := log.parsed(t)[0]
	if cause, _ := line["cause"].(string); !strings.Contains(cause, "%2f") || line["reason"] != "bad_request" || line["path"] != "/x/..%2fa" || line["pool"] != nil {
		t.Errorf("logged %v", line)
	}
	eventually(t, "the error to be counted", func() bool { return errorsWith(p, "bad_request") == "1" })
}

// TestRouteFields changes fields both ways, in header and trailers, and touches none that the
// balancer writes itself.
func TestRouteFields(t *testing.T) {
	const response = "HTTP/1.1 200 OK\r\nServer: secret/1.0\r\nX_Team: b\r\nX-Team: c\r\nSet-Cookie: a=1\r\nTransfer-Encoding: chunked\r\n\r\n" +
		"2\r\nok\r\n0\r\nX-Sum: 1\r\nServer: secret\r\nx-team: d\r\n\r\n"
	requests := make(chan string, 1)
	url := startRawBackend(t, func(conn net.Conn) {
		text, buf := "", make([]byte, 4096)
		for !strings.HasSuffix(text, "\r\n\r\n") || !strings.Contains(text, "0\r\n") {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			text += string(buf[:n])
		}
		requests <- text
		_, _ = io.WriteString(conn, response)
	})
	o := testOptions(url)
	o.Server.Via = "lb"
	o.Routes = []routes.Config{{
		Pool:            "main",
		RequestHeaders:  routes.FieldsConfig{Set: routes.Values{"X-User": "known", "Accept-Encoding": "identity"}, Remove: []string{"X-Debug", "Authorization", "Cookie"}},
		ResponseHeaders: routes.FieldsConfig{Set: routes.Values{"X-Team": "a", "Strict-Transport-Security": "max-age=1"}, Remove: []string{"server"}},
	}}
	_, address := startProxy(t, o)
	w := newWire(t, address)
	w.send(withHost("POST / HTTP/1.1", "X-USER: forged", "x_user: forged", "Accept-Encoding: gzip", "A: 1", "authorization: Basic YTpi", "X_Debug: 1", "X-Debug: 2",
		"Cookie: a=1", "Connection: X-User, A", "Transfer-Encoding: chunked") + "1\r\na\r\n0\r\nX-User: forged\r\nX-Sum: 1\r\n\r\n")
	raw, err := io.ReadAll(io.LimitReader(w.Conn, int64(len("HTTP/1.1 200 OK\r\n"))))
	if err != nil || string(raw) != "HTTP/1.1 200 OK\r\n" {
		t.Fatalf("got %q, %v", raw, err)
	}
	want := withHost("POST / HTTP/1.1", "Transfer-Encoding: chunked", plainForwarded, "Via: 1.1 lb", "Accept-Encoding: identity", "X-User: known") +
		"1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n"
	if got := withoutIDs(t, 1, <-requests); got != want {
		t.Errorf("the backend got\n%q, want\n%q", got, want)
	}
	want = "Set-Cookie: a=1\r\nVia: 1.1 lb\r\nStrict-Transport-Security: max-age=1\r\nX-Team: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n"
	rest := ""
	for buf := make([]byte, 4096); !strings.HasSuffix(rest, "X-Sum: 1\r\n\r\n"); {
		n, err := w.Read(buf)
		if err != nil {
			t.Fatalf("behind %q: %v", rest, err)
		}
		rest += string(buf[:n])
	}
	if got := withoutIDs(t, 1, "\r\n"+rest); got != "\r\n"+want {
		t.Errorf("the client got\n%q, want\n%q", got, want)
	}
}

// What a route changes are fields of backends: the balancer's own answers have none of them.
func TestOwnAnswersHaveNoRouteFields(t *testing.T) {
	o := testOptions("http://" + closedPort(t))
	o.Routes = []routes.Config{{Pool: "main", ResponseHeaders: routes.FieldsConfig{Set: routes.Values{"X-Team": "a"}}}}
	_, address := startProxy(t, o)
	if got := talk(t, address, get("/")); !strings.HasPrefix(got, "HTTP/1.1 502 ") || strings.Contains(got, "X-Team") {
		t.Errorf("got %q", got)
	}
}

// TestPoolHost wants the Host that the pool's config names, and the client's in X-Forwarded-Host.
func TestPoolHost(t *testing.T) {
	url, got := startRecordingBackend(t)
	backend := addressOf(url)
	for _, test := range []struct {
		host          upstream.Host
		request, want string
	}{
		{upstream.HostPreserve, withHost("GET / HTTP/1.1"), "example.com"},
		{upstream.HostBackend, withHost("GET / HTTP/1.1"), backend},
		{"api.internal:8080", withHost("GET / HTTP/1.1"), "api.internal:8080"},
		{"api.internal", withHost("GET http://example.com/ HTTP/1.1"), "api.internal"},
		{"api.internal", lines("GET http://example.com/ HTTP/1.0"), "api.internal"},
		{"api.internal", lines("GET / HTTP/1.0"), "api.internal"},
		{upstream.HostPreserve, lines("GET / HTTP/1.0"), backend},
	} {
		o := testOptions(url)
		pool := o.Pools["main"]
		pool.Host = test.host
		o.Pools["main"] = pool
		_, address := startProxy(t, o)
		if code := status(t, address, test.request); code != 204 {
			t.Fatalf("%s: got %d", test.host, code)
		}
		header := <-got
		if strings.Count(strings.ToLower(header), "\r\nhost:") != 1 || !strings.Contains(header, "\r\nHost: "+test.want+"\r\n") {
			t.Errorf("host %s, %q: got %q, want Host: %s", test.host, test.request, header, test.want)
		}
		if strings.Contains(test.request, "example.com") && !strings.Contains(header, "\r\nX-Forwarded-Host: example.com\r\n") {
			t.Errorf("host %s, %q: got %q", test.host, test.request, header)
		}
	}
}

// TestSplitIsStable has clients stay in their share: by their address, or by the name that their
// API key has, whatever address they come from.
func TestSplitIsStable(t *testing.T) {
	o := namedPools(t, "main", "canary")
	o.Routes = []routes.Config{{Pool: "main", Split: []routes.SplitConfig{{Pool: "canary", Percent: 50}}}}
	o.Limiter, o.KeyField = keyLimits("X-API-Key", limiter.Terms{Limit: ample})
	o.Server.TrustedProxies = prefixes("127.0.0.1")
	_, address := startProxy(t, o)
	ask := func(client string, fields ...string) string {
		got := talk(t, address, withHost(append([]string{"GET / HTTP/1.1", "Connection: close", "X-Forwarded-For: " + client}, fields...)...))
		_, body, _ := strings.Cut(got, "\r\n\r\n")
		pool, _, _ := strings.Cut(body, " ")
		return pool
	}
	var byAddress, byKey []string
	for i := range 16 {
		client := fmt.Sprintf("203.0.113.%d", i)
		pool := ask(client)
		byAddress = append(byAddress, pool)
		byKey = append(byKey, ask(client, "X-API-Key: "+partnerKey))
		e := explained(t, o, "GET", "/") // the same config in another process
		if e.Split == "" {
			t.Error("explain says nothing of the split")
		}
	}
	if slices.Sort(byAddress); byAddress[0] != "canary" || byAddress[15] != "main" {
		t.Errorf("by address: %v", byAddress)
	}
	if byKey = slices.Compact(byKey); len(byKey) != 1 {
		t.Errorf("one client with a key got %v", byKey)
	}
}

// TestRoutesChange has the next request of a connection go by other routes.
func TestRoutesChange(t *testing.T) {
	o := namedPools(t, "a", "b")
	o.Routes = []routes.Config{{Path: "/x", Pool: "a"}, {Pool: "b"}}
	p, address := startProxy(t, o)
	w := newWire(t, address)
	ask := func(want string) {
		t.Helper()
		w.send(withHost("GET /x/y HTTP/1.1"))
		if got := w.receive("GET"); string(got.body) != want {
			t.Errorf("got %q, want %q", got.body, want)
		}
	}
	ask("a /x/y")
	o.Routes = []routes.Config{{Path: "/x", Pool: "b", StripPrefix: "/x"}}
	p.Apply(o)
	ask("b /y")
	o.Routes = []routes.Config{{Path: "/x", Pool: "a", Split: []routes.SplitConfig{{Pool: "b", Percent: 0}}}, {Pool: "b"}}
	p.Apply(o)
	ask("a /x/y")
	o.Routes[0].Split[0].Percent = 100
	o.Routes = slices.Clone(o.Routes)
	p.Apply(o)
	ask("b /x/y")
	o.Routes = []routes.Config{{Host: "*.example", Pool: "a"}}
	p.Apply(o)
	w.send(withHost("GET /x/y HTTP/1.1"))
	if got := w.receive("GET"); got.StatusCode != 404 {
		t.Errorf("got %d", got.StatusCode)
	}
}
