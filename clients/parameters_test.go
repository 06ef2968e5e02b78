package clients

import (
	"net/http"
	"strings"
	"testing"

	"github.com/fasthttp/router"
	"github.com/rs/zerolog"
)

// callsOf visits every call of the API but for its slashes, with a body that it accepts.
func callsOf(visit func(method, path, body string)) {
	for method, paths := range testRouter((&controller{}).register).List() {
		if method == router.MethodWild { // the trailing slashes
			continue
		}
		for _, path := range paths {
			path = strings.Replace(path, "{client}/{bits:[0-9]+}", "10.0.0.0/8", 1)
			path = strings.NewReplacer("{client}", "10.0.0.1", "{plan}", "gold", "{id}", "none").Replace(path)
			body := `{"ip_address":"10.0.0.2","capacity":1,"rate_per_second":1}`
			switch {
			case strings.HasSuffix(path, "/reset"):
				body = ""
			case strings.HasSuffix(path, "/keys"):
				body = `{"api_key":"the key of a test"}`
			case strings.Contains(path, "/plans"):
				body = `{"capacity":1,"rate_per_second":1}`
			case method == "PUT" || method == "PATCH":
				body = `{"capacity":1,"rate_per_second":1}`
			case method == "GET" || method == "DELETE":
				body = ""
			}
			visit(method, path, body)
		}
	}
}

// TestParametersRefused makes every call of the API with parameters that it does not know.
func TestParametersRefused(t *testing.T) {
	a, _ := startAPI(t, fileConfig(t))
	a.create("10.0.0.1", 7)
	a.create("10.0.0.0/8", 7)
	made := 0
	callsOf(func(method, path, body string) {
		made++
		for _, slash := range []string{"", "/"} {
			for query, field := range map[string]string{
				"?x=1": "x", "?x": "x", "?X=&y=": "X", "?pretty=true": "pretty", "?%78=1": "x", "?Limit=5": "Limit",
				"?" + strings.Repeat("x", 200): strings.Repeat("x", 100) + "…",
			} {
				a.refuse(http.StatusUnprocessableEntity, field, "unknown; ", method, path+slash+query, body)
			}
		}
	})
	if made != 27 {
		t.Errorf("%d calls were made, want 27", made)
	}
	if ids, _ := a.listAll(10); len(ids) != 2 || a.get("/10.0.0.1").Capacity != 7 {
		t.Errorf("refused calls left %v", ids)
	}
}

// TestNotLoaded makes every call before the clients have come from their store.
func TestNotLoaded(t *testing.T) {
	s := New(fileConfig(t), testLimiter(), keysAreRead, zerolog.Nop())
	base, stop := serve(t, s.Register, true)
	defer stop()
	a := &api{t: t, base: base}
	callsOf(func(method, path, body string) {
		want := http.StatusServiceUnavailable
		switch {
		case path == limitedPath:
			want = http.StatusOK // it is about this instance
		}
		if got := a.call(want, method, path, body, ndjson); want == http.StatusServiceUnavailable && got.header.Get("Retry-After") == "" {
			t.Errorf("%s %s: got %v %s", method, path, got.header, got.body)
		}
	})
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestParametersOfTheLists(t *testing.T) {
	a, _ := startAPI(t, fileConfig(t))
	for _, query := range []string{"", "?", "?&", "?limit=5", "?limit=5&", "?&&after=10.0.0.1&limit=5", "?%6cimit=5"} {
		a.call(http.StatusOK, "GET", "/"+query, "")
	}
	a.call(http.StatusOK, "GET", limitedPath+"?limit=5", "")
	for query, field := range map[string]string{
		"?limit=5&limit=5": "limit", "?limit=5&after=::&%6cimit=6": "limit", "?after=::&after=::": "after",
	} {
		a.refuse(http.StatusUnprocessableEntity, field, "twice", "GET", "/"+query, "")
	}
	a.refuse(http.StatusUnprocessableEntity, "limit", "twice", "GET", limitedPath+"?limit=5&limit=0", "")
	a.refuse(http.StatusUnprocessableEntity, "after", `allowed are ["limit"]`, "GET", limitedPath+"?after=::", "")
	a.refuse(http.StatusUnprocessableEntity, "offset", `allowed are ["limit" "after" "label" "search"]`, "GET", "/?limit=5&offset=5", "")
	a.refuse(http.StatusUnprocessableEntity, "", "unknown", "GET", "/?=5", "")
}
