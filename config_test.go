package main

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"loadbalancer/clients"
	"loadbalancer/limiter"
	"loadbalancer/management"
	"loadbalancer/proxy"
	"loadbalancer/proxy/listen"
	"loadbalancer/proxy/routes"
	"loadbalancer/proxy/upstream"
)

// smallest is the smallest valid config file.
const smallest = "pools: {main: {backends: [{url: http://127.0.0.1:8100}]}}\n"

// environment is a lookup of variables in a map.
func environment(variables map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := variables[name]
		return value, ok
	}
}

func TestShippedConfigIsTheDefaults(t *testing.T) {
	text, err := os.ReadFile("config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseConfig("config.yaml", text, environment(nil))
	if err != nil {
		t.Fatal(err)
	}
	main := upstream.DefaultPoolConfig()
	main.Health.Path = "/healthz" // the fake backends have it
	for port := 8100; port <= 8109; port++ {
		url, err := upstream.ParseURL("http://127.0.0.1:" + strconv.Itoa(port))
		if err != nil {
			t.Fatal(err)
		}
		main.Backends = append(main.Backends, upstream.BackendConfig{URL: url, Protocol: upstream.ProtocolHTTP1, Weight: 1})
	}
	main.Retry.Statuses = []int{} // it is [] in the file
	want := defaultConfig()
	want.Pools = map[string]upstream.PoolConfig{"main": main}
	want.Management.APIOnProxy = true       // for the README's curl lines
	want.Limiter.APIKeyHeader = "X-API-Key" // for the README's client with a key
	// These are [] in the file.
	want.Limiter.Exempt = proxy.ExemptConfig{Methods: []string{}, Paths: []string{}}
	want.Routes, want.Server.TrustedProxies = []routes.Config{}, []proxy.Prefix{}
	want.Server.TLS.Certificates = []listen.CertificateConfig{}
	want.Server.TLS.ACME.Domains = []string{}
	want.Management.Tokens, want.Management.Hosts = management.TokenConfigs{}, []management.Host{"localhost"} // LB_HOST is not set
	if !reflect.DeepEqual(got, want) {
		t.Errorf("config.yaml is\n%+v\nwith the pool %+v, want\n%+v\nwith the pool %+v", got, got.Pools["main"], want, main)
	}
}

func TestShippedConfigHoldsEveryKey(t *testing.T) {
	text, err := os.ReadFile("config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file yaml.Node
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	requireKeys(t, lines, file.Content[0], reflect.TypeFor[config](), "")
	for _, shown := range []reflect.Type{reflect.TypeFor[routes.Config](), reflect.TypeFor[management.TokenConfig]()} { // only in a comment
		for key := range fieldsOf(shown) {
			if !strings.Contains(string(text), key+": ") {
				t.Errorf("config.yaml shows no %s of a %s", key, shown)
			}
		}
	}
}

// requireKeys checks that a section has every key of its struct, each value with a comment beside
// it.
func requireKeys(t *testing.T, lines []string, n *yaml.Node, of reflect.Type, path string) {
	for of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	switch {
	case of.Kind() == reflect.Struct && n.Kind == yaml.MappingNode:
		has := map[string]bool{}
		for i := 0; i < len(n.Content); i += 2 {
			key := n.Content[i].Value
			has[key] = true
			requireKeys(t, lines, n.Content[i+1], fieldsOf(of)[key], below(path, key))
		}
		for key := range fieldsOf(of) {
			if !has[key] {
				t.Errorf("config.yaml lacks %s", below(path, key))
			}
		}
	case of.Kind() == reflect.Map:
		requireKeys(t, lines, n.Content[1], of.Elem(), below(path, n.Content[0].Value))
	case of.Kind() == reflect.Slice && len(n.Content) > 0:
		requireKeys(t, lines, n.Content[0], of.Elem(), path+"[0]")
	default:
		if line := lines[n.Line-1]; strings.Count(line, " # ") != 1 {
			t.Errorf("config.yaml:%d: %s has not one comment: %s", n.Line, path, line)
		}
	}
}

// update has TestBadConfig write the errors into the bad files, and TestSchema the schema. Read
// what has changed before you commit.
var update = flag.Bool("update", false, "write the errors of testdata/config/bad into its files, and docs/config.schema.json")

// Each bad file begins with the error that it gets, as comments.
func TestBadConfig(t *testing.T) {
	files, err := filepath.Glob("testdata/config/bad/*.yaml")
	if err != nil || len(files) < 100 {
		t.Fatalf("%d bad configs: %v", len(files), err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(strings.TrimSuffix(name, ".yaml"), func(t *testing.T) {
			text := readFile(t, file)
			var want []string
			rest := text
			for strings.HasPrefix(rest, "# "+name) {
				var fault string
				fault, rest, _ = strings.Cut(rest, "\n")
				want = append(want, strings.TrimPrefix(fault, "# "))
			}
			if *update {
				text, want = withFaults(t, name, rest)
				if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			got := faultsOf(t, name, text)
			if !slices.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			said := strings.NewReplacer("sticky.secret", "", "secret, ttl", "", "ttl and secret", "", "secret:…", "", "cookie, secret", "").Replace(strings.Join(got, "\n")) // the key
			if strings.Contains(said, "secret") || strings.Contains(said, "hunter2") {
				t.Error("the error shows the password")
			}
		})
	}
}

// faultsOf returns the lines of the error that a config file gets.
func faultsOf(t *testing.T, name, text string) []string {
	t.Helper()
	_, err := parseConfig(name, []byte(text), environment(map[string]string{"LB_WORD": "many", "LB_OCTAL": "0100", "LB_LINE": "secret\n"}))
	if err == nil {
		t.Fatal("it was accepted")
	}
	return strings.Split(err.Error(), "\n")
}

// withFaults puts the errors of a file above its text. They count the lines that they take
// themselves.
func withFaults(t *testing.T, name, text string) (string, []string) {
	t.Helper()
	faults := faultsOf(t, name, text)
	above := strings.Repeat("#\n", len(faults))
	faults = faultsOf(t, name, above+text)
	return "# " + strings.Join(faults, "\n# ") + "\n" + text, faults
}

func TestConfigWithoutAFile(t *testing.T) {
	for _, text := range []string{"", "\n", "\ufeff"} {
		if _, err := parseConfig("lb.yaml", []byte(text), environment(nil)); err == nil || !strings.Contains(err.Error(), "lb.yaml: the file is empty") {
			t.Errorf("%q: got %v", text, err)
		}
	}
	_, _, err := loadConfig(filepath.Join(t.TempDir(), "missing.yaml"))
	if err == nil || !strings.Contains(err.Error(), "missing.yaml") || !strings.Contains(err.Error(), "--path=FILE") {
		t.Errorf("a missing file: %v", err)
	}
}

// A file of an editor that puts a byte order mark and CRLF is as good as another.
func TestConfigWithByteOrderMark(t *testing.T) {
	text := "\ufeffpools:\r\n  main:\r\n    backends:\r\n      - url: http://127.0.0.1:8100\r\n"
	c, err := parseConfig("lb.yaml", []byte(text), environment(nil))
	if err != nil || c.Pools["main"].Backends[0].URL.String() != "http://127.0.0.1:8100" {
		t.Errorf("got %+v, %v", c.Pools["main"], err)
	}
}

// A section or value that is there but empty keeps its defaults.
func TestEmptySectionsKeepTheDefaults(t *testing.T) {
	text := "server:\nmanagement:\nroutes:\nlimiter:\n  default:\nclients:\n  store:\nlog:\n" +
		"pools:\n  main:\n    timeouts:\n    retry:\n    health:\n    backends: [{url: http://127.0.0.1:8100, weight: }]\n"
	got, err := parseConfig("lb.yaml", []byte(text), environment(nil))
	if err != nil {
		t.Fatal(err)
	}
	want, err := parseConfig("lb.yaml", []byte(smallest), environment(nil))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}

func TestConfigReadsAnchors(t *testing.T) {
	text := "pools:\n  a: &a\n    balance: random\n    backends: &b [{url: http://127.0.0.1:8100, weight: &w 7}]\n" +
		"  b: {backends: *b, retry: {attempts: *w}}\n  c: *a\nroutes: [{pool: a}]\n"
	c, err := parseConfig("lb.yaml", []byte(text), environment(nil))
	if err != nil {
		t.Fatal(err)
	}
	a, b := c.Pools["a"], c.Pools["b"]
	if !reflect.DeepEqual(a, c.Pools["c"]) || !reflect.DeepEqual(a.Backends, b.Backends) || b.Retry.Attempts != 7 {
		t.Errorf("got %+v, %+v and %+v", a, b, c.Pools["c"])
	}
}

func TestListenersThatDoNotCollide(t *testing.T) {
	for _, pair := range [][2]string{
		{"127.0.0.1:8080", "127.0.0.2:8080"},
		{":8080", ":8081"},
		{"127.0.0.1:0", "127.0.0.1:0"}, // each gets a port of its own
		{"unix:/run/a.sock", "unix:/run/b.sock"},
		{"unix:/run/a.sock", ":8080"},
		{":8080", ""},
	} {
		text := smallest + "server: {listen: '" + pair[0] + "'}\nmanagement: {listen: '" + pair[1] + "'}\n"
		if _, err := parseConfig("lb.yaml", []byte(text), environment(nil)); err != nil {
			t.Error(err)
		}
	}
}

func TestEnvironment(t *testing.T) {
	tests := []struct {
		name, value string // of clients.store, which is a text of any kind until it is validated
		env         string // value of LB_X; "-" leaves it unset
		want        string
	}{
		{"set", "${LB_X}", "abc", "abc"},
		{"in a text", "a${LB_X}c${LB_X}", "b", "abcb"},
		{"default", "${LB_X:-abc}", "-", "abc"},
		{"default not needed", "${LB_X:-abc}", "x", "x"},
		{"default of an empty variable", "${LB_X:-abc}", "", "abc"},
		{"empty default", "${LB_X:-}", "-", ""},
		{"default with a colon", "${LB_X:-a:b:-c}", "-", "a:b:-c"},
		{"in double quotes", `"${LB_X}"`, `a"b\n`, `a"b\n`},
		{"in single quotes", `'${LB_X}'`, `it's`, `it's`},
		{"colon and comment", "${LB_X}", "a: b # c", "a: b # c"},
		{"line breaks", "${LB_X}", "a\nlisten: :1\n", "a\nlisten: :1\n"},
		{"a section", "${LB_X}", "{a: b}", "{a: b}"},
		{"an alias", "${LB_X}", "*a", "*a"},
		{"a merge", "${LB_X}", "<<", "<<"},
		{"a tag", "${LB_X}", "!!binary x", "!!binary x"},
		{"a variable", "${LB_X}", "${LB_Y}", "${LB_Y}"},
		{"null", "${LB_X}", "null", "null"},
		{"tilde", "${LB_X}", "~", "~"},
		{"a number", "${LB_X}", "0123", "0123"},
		{"a bool", "${LB_X}", "yes", "yes"},
		{"a date", "${LB_X}", "2024-01-01", "2024-01-01"},
		{"a dollar", "a$b$", "x", "a$b$"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			variables := map[string]string{}
			if tt.env != "-" {
				variables["LB_X"] = tt.env
			}
			doc, err := readDocument("lb.yaml", []byte(smallest+"clients:\n  store: "+tt.value+"\n"), environment(variables))
			if err != nil {
				t.Fatal(err)
			}
			c := config{}
			if err := doc.decode(&c); err != nil {
				t.Fatal(err)
			}
			if want := (clients.Config{Store: tt.want}); c.Clients != want {
				t.Errorf("got %+v, want %+v", c.Clients, want)
			}
		})
	}
}

// A value from the environment has the type of what it says.
func TestEnvironmentTypes(t *testing.T) {
	text := smallest + "server:\n  max_connections: ${N}\n  idle_timeout: ${T}\n  max_body_size: ${S}\n  trusted_proxies: ['${P}']\n" +
		"limiter:\n  enabled: ${B}\n  default:\n    capacity: ${N}\n    rate_per_second: ${F}\n"
	c, err := parseConfig("lb.yaml", []byte(text), environment(map[string]string{
		"N": "12", "T": "5s", "S": "1MiB", "P": "10.0.0.0/8", "B": "false", "F": "0.5",
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := limiter.DefaultConfig()
	want.Enabled, want.Default.Limit = false, limiter.Limit{Capacity: 12, RatePerSecond: 0.5}
	s := c.Server
	if s.MaxConnections != 12 || s.IdleTimeout.Seconds() != 5 || s.MaxBodySize != 1<<20 ||
		!reflect.DeepEqual(s.TrustedProxies, []proxy.Prefix{{Prefix: netip.MustParsePrefix("10.0.0.0/8")}}) || c.Limiter.Config != want {
		t.Errorf("got %+v and %+v", s, c.Limiter)
	}
}

func TestLimiterHeaders(t *testing.T) {
	for _, value := range []string{"standard", "legacy", "both", "off", "'off'"} {
		c, err := parseConfig("lb.yaml", []byte(smallest+"limiter: {headers: "+value+"}\n"), environment(nil))
		if want := strings.Trim(value, "'"); err != nil || c.Limiter.Headers != want {
			t.Errorf("%s: got %q, %v", value, c.Limiter.Headers, err)
		}
	}
}

func TestLimiterDefault(t *testing.T) {
	limit := limiter.DefaultConfig().Default.Limit
	for text, want := range map[string]limiter.Default{
		"{}":                                  {Limit: limit},
		"{shadow: true}":                      {Limit: limit, Shadow: true},
		"{capacity: 7, shadow: true}":         {Limit: limiter.Limit{Capacity: 7, RatePerSecond: limit.RatePerSecond}, Shadow: true},
		"{capacity: 7, rate_per_second: 0.5}": {Limit: limiter.Limit{Capacity: 7, RatePerSecond: 0.5}},
		"{max_in_flight: 3}":                  {Limit: limit, MaxInFlight: 3},
		"{shadow: true, rate_per_second: 20}": {Limit: limiter.Limit{Capacity: limit.Capacity, RatePerSecond: 20}, Shadow: true},
	} {
		c, err := parseConfig("lb.yaml", []byte(smallest+"limiter: {default: "+text+"}\n"), environment(nil))
		if err != nil || c.Limiter.Default != want {
			t.Errorf("%s: got %+v, %v, want %+v", text, c.Limiter.Default, err, want)
		}
	}
}

func TestAPIKeyHeader(t *testing.T) {
	c, err := parseConfig("lb.yaml", []byte(smallest+"limiter: {api_key_header: X-API-Key}\n"), environment(nil))
	if err != nil || c.Limiter.APIKeyHeader != "X-API-Key" {
		t.Errorf("got %q, %v", c.Limiter.APIKeyHeader, err)
	}
}

// FuzzConfig: whatever the file holds, there is an error or a config that the balancer can be made
// of.
func FuzzConfig(f *testing.F) {
	files, err := filepath.Glob("testdata/config/bad/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range append(files, "config.yaml") {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	variables := environment(map[string]string{"LB_WORD": "many", "LB_LINE": "secret\n"})
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parseConfig("lb.yaml", text, variables)
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without words")
			}
			return
		}
		c.validate(func(path string, value any, allowed string) {
			t.Errorf("accepted, but %s is %v and allowed is %s", path, value, allowed)
		})
		for _, p := range c.Pools {
			for _, b := range p.Backends {
				if b.URL.IsZero() {
					t.Error("accepted a backend without a URL")
				}
			}
		}
	})
}
