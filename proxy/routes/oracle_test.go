package routes

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"loadbalancer/proxy/message"
)

// best returns the index of the route that counts, or -1: it asks every route, and compares those
// that match by the order of docs/routing.md, one rule after the other.
func best(configs []Config, r *message.Request, path string) int {
	found := -1
	for i, c := range configs {
		if matchesPlainly(c, r, path) && (found < 0 || isBefore(c, configs[found])) {
			found = i
		}
	}
	return found
}

// isBefore reports whether a comes before b, which is earlier in the file.
func isBefore(a, b Config) bool {
	rank := func(c Config) []int {
		host := 0
		switch {
		case strings.HasPrefix(c.Host, "*."):
			host = len(c.Host)
		case c.Host != "":
			host = 1000
		}
		methods := 0
		if len(c.Methods) > 0 {
			methods = 1
		}
		return []int{host, len(c.Path), methods, len(c.Headers)}
	}
	return slices.Compare(rank(a), rank(b)) > 0
}

// matchesPlainly decides by text alone. The path has no escapes.
func matchesPlainly(c Config, r *message.Request, path string) bool {
	host, _, _ := strings.Cut(strings.ToLower(string(r.Authority)), ":")
	if suffix, isWild := strings.CutPrefix(c.Host, "*"); isWild && (!strings.HasSuffix(host, suffix) || len(host) == len(suffix)) {
		return false
	} else if !isWild && c.Host != "" && c.Host != host {
		return false
	}
	if c.Path != "" && path != c.Path && !strings.HasPrefix(path, strings.TrimSuffix(c.Path, "/")+"/") {
		return false
	}
	if len(c.Methods) > 0 && !slices.Contains(c.Methods, string(r.Method)) {
		return false
	}
	for name, value := range c.Headers {
		if !strings.Contains("\r\n"+string(r.Header), "\r\n"+name+": "+value+"\r\n") {
			return false
		}
	}
	return true
}

// The table finds what asking every route finds.
func TestFindAgainstTheOracle(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	one := func(of ...string) string { return of[random.IntN(len(of))] }
	for range 2_000 {
		var configs []Config
		taken := map[string]int{}
		for range 1 + random.IntN(12) {
			c := Config{
				Host: one("", "", "a.b.c", "b.c", "*.c", "*.b.c"),
				Path: one("", "/", "/a", "/a/", "/a/b", "/ab", "/a/b/", "/%C3%A9"),
				Pool: fmt.Sprint(len(configs)),
			}
			if random.IntN(3) == 0 {
				c.Methods = []string{one("GET", "POST")}
			}
			if random.IntN(3) == 0 {
				c.Headers = Values{one("A", "B"): one("1", "2")}
			}
			valid := true
			c.validateOnce(len(configs), taken, func(string, any, string) { valid = false })
			if valid {
				configs = append(configs, c)
			}
		}
		table := tableOf(t, configs...)
		for range 20 {
			path := one("/", "/a", "/a/", "/a/b", "/a/bc", "/ab", "/a/b/", "/a/b/c", "/b")
			r := requestOf(one("GET", "POST", "PUT"), one("a.b.c", "b.c", "c", "x.b.c", "A.B.C:80", "y.x.b.c", "d"), path,
				one("A", "B")+": "+one("1", "2"), one("A", "B")+": "+one("1", "2"))
			want := "404"
			if i := best(configs, r, path); i >= 0 {
				want = configs[i].Pool
			}
			if got := found(table, r); got != want {
				t.Fatalf("%s %s%s %q: got route %s, want %s, of %+v", r.Method, r.Authority, path, r.Header, got, want, configs)
			}
			spelled := "/./x/.." + strings.ReplaceAll(path, "a", "%61") // no path is another for that
			r.Target = []byte(spelled)
			if got := found(table, r); got != want {
				t.Fatalf("%s as %s: got route %s, want %s, of %+v", path, spelled, got, want, configs)
			}
		}
	}
}
