package clients

import (
	"fmt"
	"net/http"
	"testing"
)

// TestIfMatch makes each change with each condition, where the client is there and where it is not.
func TestIfMatch(t *testing.T) {
	eachStore(t, func(t *testing.T, cfg Config) {
		a, _ := startAPI(t, cfg)
		const client, terms = "/10.0.0.1", `{"capacity":8,"rate_per_second":1}`
		const create = client + "?create=true"
		for _, c := range []struct {
			method, path, match string
			there, missing      int // the status
		}{
			{"PUT", client, "", 200, 404},
			{"PUT", client, "*", 200, 404},
			{"PUT", client, "present", 200, 404},
			{"PUT", client, `"other", present`, 200, 404},
			{"PUT", client, "old", 412, 404},
			{"PUT", client, "W/present", 412, 404},
			{"PUT", create, "", 200, 201},
			{"PUT", create, "*", 200, 412},
			{"PUT", create, "present", 200, 412},
			{"PUT", create, "old", 412, 412},
			{"PUT", client + "?create=false", "", 200, 404},
			{"PATCH", client, "", 200, 404},
			{"PATCH", client, "*", 200, 404},
			{"PATCH", client, "present", 200, 404},
			{"PATCH", client, "old", 412, 404},
			{"DELETE", client, "", 204, 404},
			{"DELETE", client, "*", 204, 404},
			{"DELETE", client, "present", 204, 404},
			{"DELETE", client, "old", 412, 404},
			{"PUT", client, "8", 400, 400},
			{"PATCH", client, "8", 400, 400},
			{"DELETE", client, "8", 400, 400},
		} {
			name := fmt.Sprintf("%s %s If-Match %s", c.method, c.path, c.match)
			body := terms
			if c.method == "DELETE" {
				body = ""
			}
			a.create("10.0.0.1", 6)
			old := a.call(http.StatusOK, "GET", client, "").header.Get("ETag")
			a.call(http.StatusOK, "PUT", client, `{"capacity":7,"rate_per_second":1}`)
			present := a.call(http.StatusOK, "GET", client, "").header.Get("ETag")
			if present == old {
				t.Fatalf("the ETag %s stays over a change", old)
			}
			fields := []string{}
			switch c.match {
			case "":
			case "present", "W/present", `"other", present`:
				fields = append(fields, "If-Match: "+c.match[:len(c.match)-len("present")]+present)
			case "old":
				fields = append(fields, "If-Match: "+old)
			default:
				fields = append(fields, "If-Match: "+c.match)
			}
			got := a.call(c.there, c.method, c.path, body, fields...)
			switch {
			case c.there == 200:
				tag := got.header.Get("ETag")
				if shown := a.call(http.StatusOK, "GET", client, ""); tag == present || shown.header.Get("ETag") != tag {
					t.Errorf("%s: ETag is %s after %s, and that of GET %s", name, tag, present, shown.header.Get("ETag"))
				}
				a.limited("10.0.0.1", 8)
			case c.there > 299:
				a.limited("10.0.0.1", 7)
			}
			if c.there != 204 {
				a.call(http.StatusNoContent, "DELETE", client, "")
			}
			got = a.call(c.missing, c.method, c.path, body, fields...)
			if c.missing == 201 {
				if got.header.Get("Location") != collection+client || got.header.Get("ETag") == "" {
					t.Errorf("%s: the header is %v", name, got.header)
				}
				a.call(http.StatusNoContent, "DELETE", client, "")
			}
		}
	})
}

// TestCreateByPut covers the clients that need more than terms, and the parameter.
func TestCreateByPut(t *testing.T) {
	a, _ := startAPI(t, fileConfig(t))
	a.call(http.StatusCreated, "PUT", "/acme?create=true", `{"name":"acme","api_key":"the key of acme","capacity":7,"rate_per_second":1}`)
	a.limitedByKey("the key of acme", 7)
	a.call(http.StatusCreated, "PUT", "/10.0.0.0/8?create=true", `{"capacity":5,"rate_per_second":1}`)
	a.limited("10.1.1.1", 5)
	a.refuse(http.StatusUnprocessableEntity, "api_key", "missing", "PUT", "/other?create=true", `{"capacity":7,"rate_per_second":1}`)
	a.refuse(http.StatusConflict, "api_key", "another client", "PUT", "/other?create=true", `{"api_key":"the key of acme","capacity":7,"rate_per_second":1}`)
	a.refuse(http.StatusUnprocessableEntity, "create", "true or false", "PUT", "/other?create=yes", `{"capacity":7,"rate_per_second":1}`)
	a.refuse(http.StatusUnprocessableEntity, "create", "true or false", "PUT", "/other?create", `{"capacity":7,"rate_per_second":1}`)
	a.refuse(http.StatusUnprocessableEntity, "name", "the client of the path", "PUT", "/other?create=true", `{"name":"acme","capacity":7,"rate_per_second":1}`)
}
