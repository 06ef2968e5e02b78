package main

import (
	"fmt"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// pageTokens configures a token of each role.
const pageTokens = "management:\n  listen: 127.0.0.1:0\n  tokens:\n" +
	"    - {name: reader, role: read, token: reads-and-nothing-else}\n    - {name: writer, role: write, token: writes-whatever-it-likes}\n"

func (b *browser) logIn(token string) {
	b.t.Helper()
	b.await(`document.getElementById("login").checkVisibility()`)
	b.eval(fmt.Sprintf(`document.getElementById("token").value = %q`, token))
	b.click("Log in")
}

// TestPageLogIn has a wrong token, one that may only read, and one that may write, whose session ends
// with the log-out, and with the token.
func TestPageLogIn(t *testing.T) {
	_, addresses := pageBackends(t)
	in := startInstance(t, testConfig(t, addresses, pageTokens))
	b := openPage(t, in.management)
	b.allow("the server responded with a status of 40") // the browser logs calls that are refused
	b.logIn("none-of-those")
	b.shows("The log-in failed: the token is none of those configured")
	b.logIn("reads-and-nothing-else")
	b.shows("reader, role read")
	b.shows("You can look, and change nothing.")
	b.await(rowOf(addresses[0]))
	if n := b.eval(`[...document.querySelectorAll("main button")].filter(b => b.textContent === "Drain" && b.checkVisibility()).length`); n != "0" {
		t.Errorf("%s buttons drain", n)
	}
	forged := fmt.Sprintf(`fetch("/v1/api/backends/main/%s/drain", {method: "POST", headers: {"Lb-Page-Token": localStorage["lb-page-token"]}}).then(r => r.status)`, addresses[0])
	if got := b.eval(forged); got != "403" {
		t.Errorf("role read drains: got %s", got)
	}
	if got := b.eval("document.cookie"); got != "" {
		t.Errorf("scripts see the cookie: %s", got)
	}
	b.click("Log out")
	b.logIn("writes-whatever-it-likes")
	b.click("Drain " + addresses[0])
	b.shows(addresses[0] + " in main is drained")
	if got := b.eval(strings.Replace(forged, "localStorage", "{}", 1)); got != "401" {
		t.Errorf("without the page's token: got %s", got)
	}
	if text := b.eval("document.documentElement.outerHTML + JSON.stringify(localStorage)"); strings.Contains(text, "writes-whatever") {
		t.Error("the page has the token")
	}
	in.edit(t, "writes-whatever-it-likes", "another-token-of-24-char")
	if a := call(t, "POST", in.management+"/v1/api/reload", "", "Authorization: Bearer writes-whatever-it-likes"); a.status != 200 {
		t.Fatalf("the reload got %d %s", a.status, a.body)
	}
	b.await(`document.getElementById("login").checkVisibility()`)
	b.requireNoFaults()
}

// TestPageWithoutItsCookie has a browser that has lost the cookie of a session, and not the page's
// token: the page asks for a log-in.
func TestPageWithoutItsCookie(t *testing.T) {
	_, addresses := pageBackends(t)
	in := startInstance(t, testConfig(t, addresses, pageTokens))
	b := openPage(t, in.management)
	b.allow("the server responded with a status of 40")
	b.logIn("writes-whatever-it-likes")
	b.await(rowOf(addresses[0]))
	enable(b, network.ClearBrowserCookies, cdp.Empty{})
	b.do(chromedp.Navigate(in.management + "/"))
	b.logIn("writes-whatever-it-likes")
	b.click("Drain " + addresses[0])
	b.shows(addresses[0] + " in main is drained")
	b.requireNoFaults()
}

// TestPagesOfOneHost has a browser log in to two load balancers under one name, in the clear: the one
// log-in does not end the other. A browser trusts no such name as it trusts localhost.
func TestPagesOfOneHost(t *testing.T) {
	_, addresses := pageBackends(t)
	var pages []string
	for range 2 {
		in := startInstance(t, testConfig(t, addresses, pageTokens+"  hosts: [lb.internal]\n"))
		pages = append(pages, strings.Replace(in.management, "127.0.0.1", "lb.internal", 1))
	}
	b := openPage(t, pages[0])
	b.allow("the server responded with a status of 401", "request: "+pages[1]+"/")
	b.logIn("writes-whatever-it-likes")
	b.await(rowOf(addresses[0]))
	b.do(chromedp.Navigate(pages[1] + "/"))
	b.logIn("writes-whatever-it-likes")
	b.await(rowOf(addresses[0]))
	b.do(chromedp.Navigate(pages[0] + "/"))
	b.click("Drain " + addresses[0])
	b.shows(addresses[0] + " in main is drained")
	b.requireNoFaults()
}

// TestPageBehindTLS has a forwarder that ends TLS pass on the Host, and another replace it, which the page
// says.
func TestPageBehindTLS(t *testing.T) {
	_, addresses := pageBackends(t)
	in := startInstance(t, testConfig(t, addresses, pageTokens))
	target, err := url.Parse(in.management)
	if err != nil {
		t.Fatal(err)
	}
	for passesOn, want := range map[bool]string{true: "writer, role write", false: "a forwarder between has to pass on the Host"} {
		between := httptest.NewTLSServer(&httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
			if r.SetURL(target); passesOn {
				r.Out.Host = r.In.Host
			}
		}})
		t.Cleanup(func() { between.CloseClientConnections(); between.Close() })
		b := openPage(t, between.URL)
		b.allow("the server responded with a status of 40")
		b.logIn("writes-whatever-it-likes")
		if b.shows(want); passesOn {
			b.click("Drain " + addresses[0])
			b.shows(addresses[0] + " in main is drained")
		}
		b.requireNoFaults()
	}
}

// TestSessions calls the API as a browser with a session does, and as other sites have it do.
func TestSessions(t *testing.T) {
	in := startInstance(t, testConfig(t, freeAddresses(t, 1), pageTokens), "--demo")
	logIn := func(token string, fields ...string) answer {
		return call(t, "POST", in.management+"/page/session", fmt.Sprintf(`{"token":%q}`, token), fields...)
	}
	own := "Origin: " + in.management
	requireProblem(t, "no Origin", logIn("writes-whatever-it-likes"), 403)
	requireProblem(t, "another Origin", logIn("writes-whatever-it-likes", "Origin: http://evil.example"), 403)
	requireProblem(t, "wrong token", logIn("wrong", own), 401)
	a := logIn("writes-whatever-it-likes", own)
	cookie, attributes, _ := strings.Cut(a.header.Get("Set-Cookie"), "; ")
	for _, want := range []string{"max-age=43200", "path=/v1/api", "HttpOnly", "SameSite=Strict"} {
		if !strings.Contains(attributes, want) {
			t.Errorf("the cookie lacks %s: %s", want, attributes)
		}
	}
	if strings.Contains(attributes, "secure") {
		t.Errorf("without TLS: %s", attributes)
	}
	host := strings.TrimPrefix(in.management, "http://")
	if a := logIn("writes-whatever-it-likes", "Origin: https://"+host); !strings.Contains(a.header.Get("Set-Cookie"), "secure") {
		t.Errorf("under TLS: %s", a.header.Get("Set-Cookie"))
	}
	if _, port, _ := strings.Cut(host, ":"); !strings.HasPrefix(cookie, "lb_session_"+port+"=") {
		t.Errorf("the cookie could be one of another port: %s", cookie)
	}
	cookie, page := "Cookie: "+cookie, "Lb-Page-Token: "+pageTokenOf(a)
	for _, tt := range []struct {
		name, method string
		fields       []string
		status       int
	}{
		{"reads", "GET", []string{cookie, page}, 200},
		{"reads without the page's token", "GET", []string{cookie}, 401},
		{"reads without the cookie", "GET", []string{page}, 401},
		{"reads with another cookie", "GET", []string{cookie + "x", page}, 401},
		{"reads with a cookie of another port", "GET", []string{"Cookie: lb_session_1=x; " + strings.TrimPrefix(cookie, "Cookie: "), page}, 200},
		{"acts", "POST", []string{cookie, page, own}, 404},
		{"acts without Origin", "POST", []string{cookie, page}, 403},
		{"acts from elsewhere", "POST", []string{cookie, page, "Origin: http://evil.example"}, 403},
		{"acts from another port", "POST", []string{cookie, page, "Origin: " + in.proxy}, 403},
		{"acts from null", "POST", []string{cookie, page, "Origin: null"}, 403},
		{"acts under a foreign name", "POST", []string{cookie, page, "Host: evil.example", "Origin: http://evil.example"}, 403},
	} {
		path := "/v1/api/backends"
		if tt.method == "POST" {
			path += "/main/nowhere/drain"
		}
		if a := call(t, tt.method, in.management+path, "", tt.fields...); a.status != tt.status {
			t.Errorf("%s: got %d %s, want %d", tt.name, a.status, a.body, tt.status)
		}
	}
	if a := call(t, "DELETE", in.management+"/page/session", "", page, own); a.status != 204 {
		t.Errorf("log-out: got %d %s", a.status, a.body)
	}
	requireProblem(t, "after the log-out", call(t, "GET", in.management+"/v1/api/backends", "", cookie, page), 401)
}

// TestSessionsAreDescribed gets each answer of /page/session that docs/operations.md shows, and no other.
func TestSessionsAreDescribed(t *testing.T) {
	_, section, _ := strings.Cut(readFile(t, "docs/operations.md"), "\n### A session instead of a token\n")
	section, _, _ = strings.Cut(section, "\n## ")
	shown := regexp.MustCompile("{\"login\"[^`]*}").FindAllString(section, -1)
	in := startInstance(t, testConfig(t, freeAddresses(t, 1), pageTokens), "--demo")
	open := startInstance(t, testConfig(t, freeAddresses(t, 1)), "--demo")
	own, right := "Origin: "+in.management, `{"token":"writes-whatever-it-likes"}`
	page := ""
	var got []string
	for _, tt := range []struct {
		name         string
		in           *instance
		method, body string
		status       int
		fields       []string
	}{
		{"a wrong token", in, "POST", `{"token":"wrong"}`, 401, []string{own}},
		{"no Origin", in, "POST", right, 403, nil},
		{"log-in", in, "POST", right, 200, []string{own}},
		{"in the session", in, "GET", "", 200, []string{"the page's token"}},
		{"without a session", in, "GET", "", 200, nil},
		{"log-out", in, "DELETE", "", 204, []string{"the page's token", own}},
		{"without tokens", open, "GET", "", 200, nil},
		{"from elsewhere", open, "GET", "", 403, []string{"Via: 1.1 a"}},
	} {
		if i := slices.Index(tt.fields, "the page's token"); i >= 0 {
			tt.fields[i] = page
		}
		a := call(t, tt.method, tt.in.management+"/page/session", tt.body, tt.fields...)
		if a.status != tt.status || !strings.Contains(section, fmt.Sprint(a.status)) {
			t.Errorf("%s: got %d %s, want %d, which is to be in the section", tt.name, a.status, a.body, tt.status)
		}
		cookie, _, set := strings.Cut(a.header.Get("Set-Cookie"), "=")
		if cookie = strings.Replace(cookie, in.management[strings.LastIndex(in.management, ":")+1:], "8081", 1); set && !strings.Contains(section, "`"+cookie+"`") {
			t.Errorf("%s: the cookie %s is not in the section", tt.name, cookie)
		}
		if token := pageTokenOf(a); token != "" {
			page = "Lb-Page-Token: " + token
			a.body = strings.Replace(a.body, token, "…", 1)
		}
		if a.status == 200 {
			got = append(got, strings.TrimSpace(a.body))
		}
	}
	if !slices.Equal(got, shown) {
		t.Errorf("got %q, shown are %q", got, shown)
	}
}

// pageTokenOf returns the page's token in an answer, or "".
func pageTokenOf(a answer) string {
	_, token, _ := strings.Cut(a.body, `"page_token":"`)
	token, _, _ = strings.Cut(token, `"`)
	return token
}

// TestPageTokenWithoutTokens: while no token is configured, a browser on this machine acts for the page
// alone.
func TestPageTokenWithoutTokens(t *testing.T) {
	in := startInstance(t, testConfig(t, freeAddresses(t, 1)), "--demo")
	own, path := "Origin: "+in.management, in.management+"/v1/api/backends/main/nowhere/drain"
	a := call(t, "GET", in.management+"/page/session", "")
	page := "Lb-Page-Token: " + pageTokenOf(a)
	for name, tt := range map[string]struct {
		status int
		fields []string
	}{
		"the page":                  {404, []string{own, page}},
		"no page token":             {403, []string{own}},
		"another page token":        {403, []string{own, page + "x"}},
		"another Origin":            {403, []string{"Origin: http://evil.example", page}},
		"another port":              {403, []string{"Origin: " + in.proxy, page}},
		"forwarded":                 {403, []string{own, page, "X-Forwarded-For: 192.0.2.1"}},
		"a name that leads here":    {403, []string{"Host: evil.example", "Origin: http://evil.example", page}},
		"two Origins, one the page": {403, []string{own, "Origin: http://evil.example", page}},
	} {
		if a := call(t, "POST", path, "", tt.fields...); a.status != tt.status {
			t.Errorf("%s: got %d %s, want %d", name, a.status, a.body, tt.status)
		}
	}
	requireProblem(t, "forwarded", call(t, "GET", in.management+"/page/session", "", "X-Forwarded-For: 192.0.2.1"), 403)
}

// TestPageHeaders: the page may be framed by none, and uses nothing from elsewhere.
func TestPageHeaders(t *testing.T) {
	in := startInstance(t, testConfig(t, freeAddresses(t, 1), pageTokens), "--demo")
	for path, kind := range map[string]string{"/": "text/html", "/page/main.js": "text/javascript", "/page/style.css": "text/css", "/page/icon.svg": "image/svg+xml"} {
		a := call(t, "GET", in.management+path, "")
		if a.status != 200 || !strings.HasPrefix(a.header.Get("Content-Type"), kind) {
			t.Errorf("%s: got %d, %s", path, a.status, a.header.Get("Content-Type"))
		}
		policy := a.header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} {
			if !strings.Contains(policy, want) || strings.Contains(policy, "unsafe") {
				t.Errorf("%s: the policy is %s", path, policy)
			}
		}
		if a := call(t, "GET", in.management+path, "", "If-None-Match: "+a.header.Get("ETag")); a.status != 304 || a.body != "" {
			t.Errorf("%s again: got %d, %.50q", path, a.status, a.body)
		}
	}
	requireProblem(t, "another site's name", call(t, "GET", in.management+"/", "", "Host: evil.example"), 421)
}

// TestLogInBodies: a log-in takes one JSON object of a token's size, since it is read of any caller, and
// its answers never show the token. Wrong tokens are counted as those of calls are, and the right one
// still gets in.
func TestLogInBodies(t *testing.T) {
	in := startInstance(t, testConfig(t, freeAddresses(t, 1), pageTokens), "--demo")
	own, path := "Origin: "+in.management, in.management+"/page/session"
	for name, tt := range map[string]struct {
		body   string
		status int
	}{
		"a form":         {"token=writes-whatever-it-likes", 400},
		"a text":         {`"writes-whatever-it-likes"`, 422},
		"a list":         {`["writes-whatever-it-likes"]`, 422},
		"a list inside":  {`{"token":["writes-whatever-it-likes"]}`, 422},
		"twice":          {`{"token":"x","token":"writes-whatever-it-likes"}`, 422},
		"another name":   {`{"Token":"writes-whatever-it-likes"}`, 422},
		"another field":  {`{"token":"writes-whatever-it-likes","a":1}`, 422},
		"an empty token": {`{"token":""}`, 422},
		"a number":       {`{"token":123}`, 422},
		"nothing":        {"", 400},
		"escaped":        {`{"token":"` + strings.Repeat(`\u0061`, 4096) + `"}`, 401},
		"long":           {`{"token":"` + strings.Repeat("a", 32<<10) + `"}`, 413},
	} {
		a := call(t, "POST", path, tt.body, own)
		if a.status != tt.status || strings.Contains(a.body, "whatever") || a.header.Get("Set-Cookie") != "" {
			t.Errorf("%s: got %d %s", name, a.status, a.body)
		}
	}
	if a := call(t, "POST", path, `{"token":123}`, own); !strings.Contains(a.body, "has to be a text") {
		t.Errorf("got %s", a.body)
	}
	waitFor(t, "wrong tokens to be refused", func() bool {
		return call(t, "POST", path, `{"token":"wrong"}`, own).status == 429
	})
	if a := call(t, "POST", path, `{"token":"writes-whatever-it-likes"}`, own); a.status != 200 {
		t.Errorf("the right token got %d %s", a.status, a.body)
	}
}

// TestAnswersAreGuarded: whatever a listener of the API answers is framed by none, handed to no other
// origin, and kept by none but for the page's files.
func TestAnswersAreGuarded(t *testing.T) {
	in := startInstance(t, testConfig(t, freeAddresses(t, 1), pageTokens+"  api_on_proxy: true\n"), "--demo")
	token := "Authorization: Bearer reads-and-nothing-else"
	for _, tt := range []struct {
		method, url string
		fields      []string
		status      int
	}{
		{"GET", in.management + "/", nil, 200}, {"HEAD", in.management + "/", nil, 200}, {"POST", in.management + "/", nil, 405},
		{"OPTIONS", in.management + "/", []string{"Origin: http://evil.example", "Access-Control-Request-Method: PUT"}, 405},
		{"GET", in.management + "/", []string{"Host: evil.example"}, 421}, {"GET", in.management + "/page/main.js", []string{"Range: bytes=0-1"}, 200},
		{"GET", in.management + "/page/../", nil, 404}, {"GET", in.management + "/page/%2e%2e/", nil, 404}, {"GET", in.management + "//page/main.js", nil, 404},
		{"GET", in.management + "/page/session", nil, 200}, {"POST", in.management + "/page/session", nil, 403},
		{"GET", in.management + "/metrics", nil, 200}, {"GET", in.management + "/healthz", nil, 200},
		{"GET", in.management + "/v1/api/", nil, 200}, {"GET", in.management + "/v1/api/status", nil, 401}, {"GET", in.management + "/v1/api/status", []string{token}, 200},
		{"OPTIONS", in.management + "/v1/api/status", []string{"Origin: http://evil.example", "Access-Control-Request-Method: PUT"}, 401},
		{"GET", in.proxy + "/v1/api/status", nil, 401}, {"GET", in.proxy + "/v1/api/status", []string{token}, 200}, {"GET", in.proxy + "/v1/api/", []string{token}, 200},
	} {
		a := call(t, tt.method, tt.url, "", tt.fields...)
		isFile := a.header.Get("ETag") != "" && a.header.Get("Cache-Control") == "no-cache"
		if policy := a.header.Get("Content-Security-Policy"); a.status != tt.status || !isFile && a.header.Get("Cache-Control") != "no-store" ||
			!strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "frame-ancestors 'none'") ||
			a.header.Get("X-Content-Type-Options") != "nosniff" || a.header.Get("X-Frame-Options") != "DENY" ||
			a.header.Get("Cross-Origin-Resource-Policy") != "same-origin" || a.header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s %s %s: got %d, %v", tt.method, tt.url, tt.fields, a.status, a.header)
		}
		for name := range a.header {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%s %s: got %s", tt.method, tt.url, name)
			}
		}
	}
}
