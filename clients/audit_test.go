package clients

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/router"
	"github.com/valyala/fasthttp"

	"loadbalancer/clients/rest"
	"loadbalancer/clients/store"
)

// auditAll follows the pages of the audit.
func (a *api) auditAll(size int) (all []entryJSON, pages int) {
	a.t.Helper()
	for next := fmt.Sprintf("%s?limit=%d", auditPath, size); next != ""; pages++ {
		got := a.call(http.StatusOK, "GET", next, "")
		var page []entryJSON
		a.decode(got, &page)
		all = append(all, page...)
		next = strings.TrimSuffix(strings.TrimPrefix(got.header.Get("Link"), "<"), `>; rel="next"`)
	}
	return all, pages
}

func TestAudit(t *testing.T) {
	eachStore(t, func(t *testing.T, cfg Config) {
		cfg.Audit = DefaultConfig().Audit
		a, _ := startAPI(t, cfg)
		began := time.Now().Add(-time.Microsecond)
		a.createNamed("acme", "the key of acme", 7)
		a.call(http.StatusOK, "PATCH", "/acme", `{"capacity":8}`)
		key := a.addKey("/acme", `{"api_key":"another key of acme"}`)
		a.call(http.StatusNoContent, "DELETE", "/acme/keys/"+key.ID, "")
		a.call(http.StatusNoContent, "POST", "/acme/reset", "")
		a.call(http.StatusCreated, "PUT", gold, `{"capacity":1,"rate_per_second":1}`)
		a.call(http.StatusOK, "PUT", gold, `{"capacity":2,"rate_per_second":1}`)
		a.call(http.StatusNoContent, "DELETE", gold, "")
		a.call(http.StatusOK, "POST", importPath, `{"ip_address":"10.0.0.1","capacity":1,"rate_per_second":1}`+"\n"+
			`{"ip_address":"10.0.0.2","capacity":1,"rate_per_second":1}`, ndjson)
		a.call(http.StatusNoContent, "DELETE", "/10.0.0.1", "")
		a.refuse(http.StatusNotFound, "", "no client", "DELETE", "/10.0.0.1", "")
		a.call(http.StatusUnprocessableEntity, "PATCH", "/acme", `{"capacity":0}`)

		want := []string{
			"delete 10.0.0.1 capacity:1 null", "import 2 clients null created:2", "delete plan gold capacity:2 null",
			"change plan gold capacity:1 capacity:2", "create plan gold null capacity:1", "reset acme null null",
			"change acme capacity:8 capacity:8", "change acme capacity:8 capacity:8", "change acme capacity:7 capacity:8",
			"create acme null capacity:7",
		}
		for _, size := range []int{1, 3, len(want), 1000} {
			all, pages := a.auditAll(size)
			if len(all) != len(want) || pages != (len(want)+size-1)/size {
				t.Fatalf("in pages of %d: got %d pages with %d entries, want %d", size, pages, len(all), len(want))
			}
			last := time.Now()
			for i, e := range all {
				if got := fmt.Sprintf("%s %s %s %s", e.Action, e.Target, gist(e.Before), gist(e.After)); got != want[i] {
					t.Errorf("entry %d is %s, want %s", i, got, want[i])
				}
				if e.Who != "local" || e.At.After(last) || e.At.Before(began) || i > 0 && e.ID >= all[i-1].ID {
					t.Errorf("entry %d is %+v", i, e)
				}
				last = e.At
				untold(t, string(mustJSON(e)))
				if strings.Contains(string(mustJSON(e)), "the key") || strings.Contains(string(mustJSON(e)), fieldSHA256) {
					t.Errorf("entry %d tells a key: %s", i, mustJSON(e))
				}
			}
		}
		for _, before := range []string{"0", "-1", "x", ""} {
			a.refuse(http.StatusUnprocessableEntity, "before", "the id of an entry", "GET", auditPath+"?before="+before, "")
		}
		if got := a.call(http.StatusOK, "GET", auditPath+"?before=1", ""); strings.TrimSpace(got.body) != "[]" {
			t.Errorf("before the first are %s", got.body)
		}
	})
}

// gist returns what tells one client or plan of the test from another.
func gist(shown json.RawMessage) string {
	var fields map[string]any
	if json.Unmarshal(shown, &fields) != nil || fields == nil {
		return "null"
	}
	for _, name := range []string{"capacity", "created"} {
		if value, found := fields[name]; found {
			return fmt.Sprintf("%s:%v", name, value)
		}
	}
	return string(shown)
}

// TestAuditTellsWho has a caller with a token.
func TestAuditTellsWho(t *testing.T) {
	u := testUsecase(store.OpenMemory(store.Bounds{MaxAge: time.Hour, MaxCount: 3}), testLimiter())
	c := &controller{usecase: u, readsKeys: keysAreRead}
	base, stop := serve(t, func(r *router.Router) {
		made := router.New()
		c.register(made)
		r.ANY("/{path:*}", func(ctx *fasthttp.RequestCtx) {
			rest.SetCaller(ctx, rest.Caller{Token: "ci", Address: addressID("192.0.2.7/32").Prefix.Addr()})
			made.Handler(ctx)
		})
	}, true)
	defer stop()
	a := &api{t: t, base: base}
	for i := range 5 {
		a.call(http.StatusCreated, "PUT", fmt.Sprintf("/10.0.0.%d?create=true", i), `{"capacity":1,"rate_per_second":1}`)
	}
	all, _ := a.auditAll(100)
	if len(all) != 3 {
		t.Errorf("%d entries are kept, want 3", len(all))
	}
	for i, e := range all {
		if e.Who != "ci" || e.From != "192.0.2.7" || e.Target != fmt.Sprintf("10.0.0.%d", 4-i) {
			t.Errorf("entry %d is %+v", i, e)
		}
	}
}
