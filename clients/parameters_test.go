package clients

import (
	"net/http"
	"strings"
	"testing"
)

// TestParametersRefused makes every call of the API with parameters that it does not know.
func TestParametersRefused(t *testing.T) {
	a, _ := startAPI(t, fileConfig(t))
	a.create("10.0.0.1", 7)
	a.create("10.0.0.0/8", 7)
	const client = `{"ip_address":"10.0.0.2","capacity":1,"rate_per_second":1}`
	made := 0
	for method, paths := range testRouter((&controller{}).register).List() {
		for _, path := range paths {
			if method == "*" { // with a trailing slash: the call is tried with one below
				continue
			}
			made++
			path = strings.Replace(path, "{client}/{bits:[0-9]+}", "10.0.0.0/8", 1)
			path = strings.Replace(path, "{client}", "10.0.0.1", 1)
			for _, slash := range []string{"", "/"} {
				for query, field := range map[string]string{
					"?x=1": "x", "?x": "x", "?X=&y=": "X", "?pretty=true": "pretty", "?%78=1": "x", "?Limit=5": "Limit",
					"?" + strings.Repeat("x", 200): strings.Repeat("x", 100) + "…",
				} {
					a.refuse(http.StatusUnprocessableEntity, field, "unknown; ", method, path+slash+query, client)
				}
				if path != collection && path != limitedPath || method != "GET" {
					a.refuse(http.StatusUnprocessableEntity, "limit", "this call has none", method, path+slash+"?limit=5", client)
				}
			}
		}
	}
	if made != 13 {
		t.Errorf("%d calls were made, want 13", made)
	}
	if ids, _ := a.listAll(10); len(ids) != 2 || a.get("/10.0.0.1").Capacity != 7 {
		t.Errorf("refused calls left %v", ids)
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
	a.refuse(http.StatusUnprocessableEntity, "offset", `allowed are ["limit" "after"]`, "GET", "/?limit=5&offset=5", "")
	a.refuse(http.StatusUnprocessableEntity, "", "unknown", "GET", "/?=5", "")
}
