package routes

import "testing"

// TestWhoGetsWhat says which pool a request gets by one config with every kind of route. Their order
// in the config is that of the least specific first: it does not count.
func TestWhoGetsWhat(t *testing.T) {
	table := tableOf(t,
		Config{Pool: "any"},
		Config{Path: "/admin", Pool: "admin"},
		Config{Path: "/v2/", Pool: "below"},
		Config{Path: "/v2/long/er", Pool: "long"},
		Config{Path: "/%40team", Pool: "team"},
		Config{Path: "/caf%C3%A9", Pool: "cafe"},
		Config{Path: "/a%2Fb", Pool: "slash"},
		Config{Path: "/m", Pool: "m"},
		Config{Path: "/m", Methods: []string{"POST", "PUT"}, Pool: "m_post"},
		Config{Path: "/m", Headers: Values{"X-Beta": "1"}, Pool: "m_beta"},
		Config{Path: "/m", Headers: Values{"X-Beta": "1", "X-Team": "a"}, Pool: "m_beta_team"},
		Config{Path: "/m", Methods: []string{"POST"}, Headers: Values{"x-beta": "1"}, Pool: "m_post_beta"},
		Config{Path: "/m/deep", Methods: []string{"GET"}, Pool: "m_deep"},
		Config{Host: "*.example.com", Pool: "wild"},
		Config{Host: "*.example.com", Path: "/v2/", Pool: "wild_path"},
		Config{Host: "*.eu.example.com", Pool: "eu"},
		Config{Host: "API.example.com", Pool: "host"},
		Config{Host: "api.example.com", Path: "/v2", Pool: "host_path"},
		Config{Host: "Dot.example.", Pool: "dot"},
		Config{Host: "post.example", Methods: []string{"POST"}, Pool: "post"},
	)
	const any = "other.example"
	for _, row := range []struct {
		method, host, target, want string
		fields                     []string
	}{
		// Hosts.
		{"GET", any, "/", "any", nil},
		{"GET", "", "/", "any", nil},
		{"GET", "api.example.com", "/", "host", nil},
		{"GET", "Api.Example.COM:8080", "/v1/", "host", nil},
		{"GET", "api.example.com:", "/", "host", nil},
		{"GET", "api.example.com.", "/", "host", nil},
		{"GET", "API.example.com.:8080", "/v2/", "host_path", nil},
		{"GET", "api.example.com.:", "/", "host", nil},
		{"GET", "api.example.com..", "/", "any", nil},
		{"GET", "dot.example.", "/", "dot", nil},
		{"GET", "DOT.example", "/", "dot", nil},
		{"GET", "dot.example:80", "/", "dot", nil},
		{"GET", ".", "/", "any", nil},
		{"GET", "dot.example.x", "/", "any", nil},
		{"GET", "api.example.com.evil.example", "/", "any", nil},
		{"GET", "api.example.comx", "/", "any", nil},
		{"GET", "xapi.example.com", "/", "wild", nil},
		{"GET", "api.example.co", "/", "any", nil},
		{"GET", "example.com", "/", "any", nil},
		{"GET", "www.example.com", "/", "wild", nil},
		{"GET", "WWW.EXAMPLE.COM.:80", "/", "wild", nil},
		{"GET", "a.b.example.com", "/", "wild", nil},
		{"GET", ".example.com", "/", "any", nil},
		{"GET", "a..example.com", "/", "any", nil},
		{"GET", "*.example.com", "/", "wild", nil},
		{"GET", "wwwexample.com", "/", "any", nil},
		{"GET", "www.example.com.evil.example", "/", "any", nil},
		{"GET", "eu.example.com", "/", "wild", nil},
		{"GET", "a.eu.example.com", "/", "eu", nil},
		{"GET", "a.b.eu.example.com", "/v2/", "eu", nil}, // a longer host counts more than a path
		{"GET", "api.eu.example.com", "/", "eu", nil},
		{"GET", "www.example.com", "/v2/x", "wild_path", nil},
		{"GET", "[::1]:80", "/", "any", nil},
		{"GET", "[2001:db8::1]", "/admin", "admin", nil},
		{"GET", "192.0.2.1:80", "/", "any", nil},
		{"GET", "api%2eexample.com", "/", "any", nil}, // a host has no escapes
		{"POST", "post.example", "/", "post", nil},
		{"GET", "post.example", "/", "any", nil}, // the next route
		{"GET", "post.example", "/admin", "admin", nil},
		// Paths: by whole segments.
		{"GET", any, "/admin", "admin", nil},
		{"GET", any, "/admin/", "admin", nil},
		{"GET", any, "/admin/users", "admin", nil},
		{"GET", any, "/admin?x=/y", "admin", nil},
		{"GET", any, "/administrator", "any", nil},
		{"GET", any, "/admin.php", "any", nil},
		{"GET", any, "/admi", "any", nil},
		{"GET", any, "/Admin", "any", nil},
		{"GET", any, "/x/admin", "any", nil},
		{"GET", any, "/v2", "any", nil},
		{"GET", any, "/v2/", "below", nil},
		{"GET", any, "/v2?x", "any", nil},
		{"GET", any, "/v2/?x", "below", nil},
		{"GET", any, "/v2/a?b", "below", nil},
		{"GET", any, "/v2/a/b/c", "below", nil},
		{"GET", any, "/v2/long", "below", nil},
		{"GET", any, "/v2/long/er", "long", nil},
		{"GET", any, "/v2/long/er/x", "long", nil},
		{"GET", any, "/v2/long/err", "below", nil},
		{"GET", "api.example.com", "/v2", "host_path", nil},
		{"GET", "api.example.com", "/v2/long/er", "host_path", nil}, // a host counts more than a longer path
		{"GET", "api.example.com", "/v22", "host", nil},
		{"GET", any, "/?/admin", "any", nil},
		{"GET", any, "/x?/../admin", "any", nil}, // a query is none of the routes' business
		{"GET", any, "/x?..%2fadmin", "any", nil},
		{"OPTIONS", any, "*", "any", nil},
		{"OPTIONS", "api.example.com", "*", "host", nil},
		// Paths: one form, however spelled.
		{"GET", any, "//admin", "admin", nil},
		{"GET", any, "///admin///x", "admin", nil},
		{"GET", any, "/./admin", "admin", nil},
		{"GET", any, "/x/../admin", "admin", nil},
		{"GET", any, "/x/y/../../admin", "admin", nil},
		{"GET", any, "/../admin", "admin", nil},
		{"GET", any, "/../../admin/..", "any", nil},
		{"GET", any, "/admin/..", "any", nil},
		{"GET", any, "/admin/../x", "any", nil},
		{"GET", any, "/admin/.", "admin", nil},
		{"GET", any, "/admin/./../admin", "admin", nil},
		{"GET", any, "/x//../admin", "400", nil}, // /x/admin, or /admin
		{"GET", any, "/admin//../x", "400", nil},
		{"GET", any, "//../admin", "admin", nil},
		{"GET", any, "/x//y/../../admin", "400", nil},
		{"GET", any, "/%61dmin", "admin", nil},
		{"GET", any, "/%61%64%6D%69%6e", "admin", nil},
		{"GET", any, "/x/%2e%2e/admin", "admin", nil},
		{"GET", any, "/x/.%2E/admin", "admin", nil},
		{"GET", any, "/%2e/admin", "admin", nil},
		{"GET", any, "/%2E%2E//admin", "admin", nil},
		{"GET", any, "/.../admin", "any", nil},
		{"GET", any, "/..a/admin", "any", nil},
		{"GET", any, "/v2/.", "below", nil},
		{"GET", any, "/v2/..", "any", nil},
		{"GET", any, "/v2/x/..", "below", nil},
		{"GET", any, "/%76%32/", "below", nil},
		{"GET", any, "/.well-known/x", "any", nil},
		{"GET", any, "/%252e%252e/admin", "any", nil}, // decoded once, as a backend does
		{"GET", any, "/%2561dmin", "any", nil},
		{"GET", any, "/%c0%ae%c0%ae/admin", "any", nil}, // overlong UTF-8 is no dot
		{"GET", any, "/%c1%a1dmin", "any", nil},
		{"GET", any, "/%EF%BC%8E%EF%BC%8E/admin", "any", nil}, // a full-width dot
		{"GET", any, "/@team", "team", nil},
		{"GET", any, "/%40team/x", "team", nil},
		{"GET", any, "/%40te%61m", "team", nil},
		{"GET", any, "/%40teams", "any", nil},
		{"GET", any, "/caf%c3%a9", "cafe", nil},
		{"GET", any, "/caf%C3%A9/x", "cafe", nil},
		{"GET", any, "/caf%C3%A8", "any", nil},
		{"GET", any, "/a%2fb", "slash", nil},
		{"GET", any, "/a%2Fb/c", "slash", nil},
		{"GET", any, "/a/b", "any", nil},
		{"GET", any, "/admin%2fx", "any", nil}, // %2f is no /
		{"GET", any, "/v2%2fx", "any", nil},
		{"GET", any, "/x;y/admin", "any", nil},
		{"GET", any, `/x\admin`, "any", nil},
		{"GET", any, "/compare/a%2Fb...c", "any", nil}, // of a host of repositories
		{"GET", any, "/compare/v1..v2;x=y", "any", nil},
		// Paths that servers read in different ways.
		{"GET", any, "/x/..%2fadmin", "400", nil},
		{"GET", any, "/x/..%2Fadmin", "400", nil},
		{"GET", any, "/x/%2e%2e%2fadmin", "400", nil},
		{"GET", any, "/x/.%2e%2fadmin", "400", nil},
		{"GET", any, "/x%2f../admin", "400", nil},
		{"GET", any, "/x%2f..", "400", nil},
		{"GET", any, "/x%2f..%2fadmin", "400", nil},
		{"GET", any, "/x/..%5cadmin", "400", nil},
		{"GET", any, `/x/..\admin`, "400", nil},
		{"GET", any, `/x\..\admin`, "400", nil},
		{"GET", any, `/x\%2e%2e`, "400", nil},
		{"GET", any, "/x/..;/admin", "400", nil},
		{"GET", any, "/x/..;a=b/admin", "400", nil},
		{"GET", any, "/x/;../admin", "400", nil},
		{"GET", any, "/x/..%3b/admin", "400", nil},
		{"GET", any, "/x/;a/../admin", "400", nil}, // without its parameters it is /x//../admin
		{"GET", any, "/x/%2f/../admin", "400", nil},
		{"GET", any, "/admin/b%2fc/../../x", "400", nil}, // /admin/x, where %2f is a /
		{"GET", any, "/a..%2fb", "400", nil},
		{"GET", "api.example.com", "/..%2f", "400", nil},
		{"GET", any, "/admin%00", "400", nil},
		{"GET", any, "/%00/../admin", "400", nil},
		{"GET", any, "/%", "400", nil},
		{"GET", any, "/%6", "400", nil},
		{"GET", any, "/%zz", "400", nil},
		{"GET", any, "/%%61", "400", nil},
		{"GET", any, "/%2%65%2%65/admin", "400", nil},
		{"GET", any, "/x?%00%zz", "any", nil},
		// Methods and headers.
		{"GET", any, "/m", "m", nil},
		{"HEAD", any, "/m", "m", nil},
		{"POST", any, "/m", "m_post", nil},
		{"PUT", any, "/m/x", "m_post", nil},
		{"post", any, "/m", "m", nil},
		{"GET", any, "/m", "m_beta", []string{"X-Beta: 1"}},
		{"GET", any, "/m", "m_beta", []string{"x-BETA:1 "}},
		{"GET", any, "/m", "m_beta", []string{"X-Beta: 2", "X-Beta: 1"}},
		{"GET", any, "/m", "m", []string{"X-Beta: 2"}},
		{"GET", any, "/m", "m", []string{"X-Beta: 1, 2"}},
		{"GET", any, "/m", "m", []string{"X-Beta:"}},
		{"GET", any, "/m", "m", []string{"X-Betas: 1"}},
		{"GET", any, "/m", "m", []string{"X_Beta: 1"}},
		{"GET", any, "/m", "m", []string{"X-Team: a"}},
		{"GET", any, "/m", "m_beta_team", []string{"X-Team: a", "X-Beta: 1"}},
		{"GET", any, "/m", "m_beta", []string{"X-Team: A", "X-Beta: 1"}},
		{"POST", any, "/m", "m_post_beta", []string{"X-Beta: 1"}},
		{"POST", any, "/m", "m_post_beta", []string{"X-Beta: 1", "X-Team: a"}}, // a method counts more than headers
		{"PUT", any, "/m", "m_post", []string{"X-Beta: 1"}},
		{"GET", any, "/m/deep", "m_deep", []string{"X-Beta: 1"}}, // a longer path counts more than headers
		{"POST", any, "/m/deep", "m_post", nil},
	} {
		r := requestOf(row.method, row.host, row.target, row.fields...)
		if got := found(table, r); got != row.want {
			t.Errorf("%s %s%s %q: got %s, want %s", row.method, row.host, row.target, row.fields, got, row.want)
		}
		if string(r.Target) != row.target {
			t.Errorf("%s: the target became %s", row.target, r.Target)
		}
	}
}

// Without a route of every request, the last answer is that there is none.
func TestNoRoute(t *testing.T) {
	table := tableOf(t, Config{Host: "a", Path: "/b", Methods: []string{"GET"}, Pool: "main"})
	for _, row := range []struct{ method, host, target, want string }{
		{"GET", "a", "/b", "main"},
		{"POST", "a", "/b", "404"},
		{"GET", "a", "/", "404"},
		{"GET", "b", "/b", "404"},
		{"GET", "", "/b", "404"},
		{"OPTIONS", "a", "*", "404"},
	} {
		if got := found(table, requestOf(row.method, row.host, row.target)); got != row.want {
			t.Errorf("%s %s%s: got %s, want %s", row.method, row.host, row.target, got, row.want)
		}
	}
}

// Where no route has a path, none is read: what other servers do with it is their business.
func TestWithoutPaths(t *testing.T) {
	for name, table := range map[string]*Table{
		"no routes": New(nil, poolsOf("main")),
		"hosts":     tableOf(t, Config{Host: "a", Pool: "main"}),
	} {
		for _, target := range []string{"/", "*", "/x/..%2fadmin", "/%", "/%00", `/..\`} {
			if got := found(table, requestOf("GET", "a", target)); got != "main" {
				t.Errorf("%s, %s: got %s", name, target, got)
			}
		}
	}
}

// The first of the file counts where nothing else decides.
func TestOrderOfTheFile(t *testing.T) {
	a := Config{Headers: Values{"X-A": "1"}, Pool: "a"}
	b := Config{Headers: Values{"X-B": "1"}, Pool: "b"}
	both := requestOf("GET", "h", "/", "X-B: 1", "X-A: 1")
	if got := found(tableOf(t, a, b), both); got != "a" {
		t.Errorf("a and b: got %s", got)
	}
	if got := found(tableOf(t, b, a), both); got != "b" {
		t.Errorf("b and a: got %s", got)
	}
}

// A path is no longer for being written with escapes.
func TestEscapesDoNotCountForTheOrder(t *testing.T) {
	table := tableOf(t, Config{Path: "/x/%40", Pool: "at"}, Config{Path: "/x/@/", Pool: "below"})
	for target, want := range map[string]string{"/x/@": "at", "/x/%40": "at", "/x/@/y": "below", "/x/%40/y": "below"} {
		if got := found(table, requestOf("GET", "h", target)); got != want {
			t.Errorf("%s: got %s, want %s", target, got, want)
		}
	}
}

// What goes on is the form of the path, less the prefix.
func TestPathThatGoesOn(t *testing.T) {
	table := tableOf(t,
		Config{Path: "/v2", StripPrefix: "/v2", Pool: "a"},
		Config{Path: "/v3/", StripPrefix: "/v3/", Pool: "a"},
		Config{Path: "/a/b/c", StripPrefix: "/a/b", Pool: "a"},
		Config{Path: "/@x", StripPrefix: "/@x", Pool: "a"},
		Config{Path: "/keep", Pool: "a"},
	)
	for target, want := range map[string]string{
		"/v2":                 "/",
		"/v2/":                "/",
		"/v2?q":               "/",
		"/v2/a":               "/a",
		"/v2//a/./b":          "/a/b",
		"//v2//a":             "/a",
		"/x/../v2/a":          "/a",
		"/v2/a%2fb%41%21":     "/a%2fbA%21",
		"/v2/%2fevil.example": "/%2fevil.example",
		"/v2/x/..//evil":      "/evil",
		"/v2/a/":              "/a/",
		"/v2/v2/v2":           "/v2/v2",
		"/v3/":                "/",
		"/v3/a;b?c;d":         "/a;b",
		"/a/b/c":              "/c",
		"/a/b/c/d":            "/c/d",
		"/@x/y":               "/y",
		"/%40x/y%c3":          "/y%c3",
		"/%40x":               "/",
		"/keep//a":            "",
	} {
		var m Match
		if err := table.Find(requestOf("GET", "h", target), &m); err != nil || m.Route == nil {
			t.Errorf("%s: %v, %v", target, m.Route, err)
		} else if got := string(m.Path()); got != want {
			t.Errorf("%s goes on as %s, want %s", target, got, want)
		}
	}
	var none Match
	if got := none.Path(); got != nil {
		t.Errorf("no match has the path %s", got)
	}
}
