package clients

import (
	"encoding/json"
	"net/http"
	"testing"
)

// TestMergePatch covers the examples of RFC 7396, appendix A.
func TestMergePatch(t *testing.T) {
	for _, c := range []struct{ target, patch, want string }{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`["a","b"]`, `["c","d"]`, `["c","d"]`},
		{`{"a":"b"}`, `["c"]`, `["c"]`},
		{`{"a":"foo"}`, `null`, `null`},
		{`{"a":"foo"}`, `"bar"`, `"bar"`},
		{`{"e":null}`, `{"a":1}`, `{"a":1,"e":null}`},
		{`[1,2]`, `{"a":"b","c":null}`, `{"a":"b"}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
	} {
		got := mergePatch(json.RawMessage(c.target), json.RawMessage(c.patch))
		if string(got) != c.want {
			t.Errorf("%s with %s is %s, want %s", c.target, c.patch, got, c.want)
		}
	}
}

// TestPatch patches one client in each way, which it has as it was before.
func TestPatch(t *testing.T) {
	eachStore(t, func(t *testing.T, cfg Config) {
		a, _ := startAPI(t, cfg)
		a.call(http.StatusCreated, "PUT", plansPath+"/gold", `{"capacity":50,"rate_per_second":5}`)
		const whole = `{"name":"acme","api_key":"the key of acme","capacity":7,"rate_per_second":2,"max_in_flight":3,"shadow":true,` +
			`"trial":{"capacity":5,"rate_per_second":1},"labels":{"region":"eu","tier":"1"},"expires_at":"2090-01-01T00:00:00Z"}`
		for _, c := range []struct {
			name, patch string
			change      func(*clientJSON)
		}{
			{"nothing", `{}`, func(*clientJSON) {}},
			{"a key", `{"api_key":"another key of acme"}`, func(*clientJSON) {}},
			{"a number", `{"capacity":9}`, func(c *clientJSON) { c.Capacity = 9 }},
			{"a part of trial", `{"trial":{"capacity":6}}`, func(c *clientJSON) { c.Trial.Capacity = 6 }},
			{"no trial", `{"trial":null}`, func(c *clientJSON) { c.Trial = limitJSON{} }},
			{"labels", `{"labels":{"tier":null,"team":"a"}}`, func(c *clientJSON) { c.Labels = map[string]string{"region": "eu", "team": "a"} }},
			{"no labels", `{"labels":null}`, func(c *clientJSON) { c.Labels = nil }},
			{"the last labels", `{"labels":{"tier":null,"region":null}}`, func(c *clientJSON) { c.Labels = nil }},
			{"no bound", `{"max_in_flight":null,"shadow":false}`, func(c *clientJSON) { c.MaxInFlight, c.Shadow = 0, false }},
			{"a plan beside numbers", `{"plan":"gold"}`, func(c *clientJSON) { c.Plan = "gold" }},
			{"a plan in place of numbers", `{"plan":"gold","capacity":null,"rate_per_second":null}`,
				func(c *clientJSON) { c.Plan, c.Capacity, c.RatePerSecond = "gold", 0, 0 }},
			{"no expiry", `{"expires_at":null}`, func(c *clientJSON) { c.ExpiresAt = nil }},
			{"blocked", `{"blocked":true}`, func(c *clientJSON) { c.Blocked = true }},
			{"its own name and times", `{"name":"acme","created_at":1,"updated_at":null}`, func(*clientJSON) {}},
		} {
			a.call(http.StatusCreated, "POST", "/", whole)
			want := a.get("/acme")
			c.change(&want)
			var got clientJSON
			a.decode(a.call(http.StatusOK, "PATCH", "/acme", c.patch), &got)
			if shown := a.get("/acme"); string(mustJSON(shown)) != string(mustJSON(got)) {
				t.Errorf("%s: GET shows %+v, PATCH %+v", c.name, shown, got)
			}
			want.UpdatedAt = got.UpdatedAt
			if c.name == "a key" {
				want.Keys = got.Keys
				a.limitedByKey("another key of acme", 7)
			}
			if string(mustJSON(got)) != string(mustJSON(want)) {
				t.Errorf("%s: got %s, want %s", c.name, mustJSON(got), mustJSON(want))
			}
			a.call(http.StatusNoContent, "DELETE", "/acme", "")
		}
	})
}

// TestPatchKeepsThePlan changes one number of a client whose other numbers are those of its plan.
func TestPatchKeepsThePlan(t *testing.T) {
	a, _ := startAPI(t, fileConfig(t))
	a.call(http.StatusCreated, "PUT", plansPath+"/gold", `{"capacity":50,"rate_per_second":5}`)
	a.call(http.StatusCreated, "POST", "/", `{"ip_address":"10.0.0.1","plan":"gold"}`)
	a.limited("10.0.0.1", 50)
	a.call(http.StatusOK, "PATCH", "/10.0.0.1", `{"capacity":60}`)
	if c := a.get("/10.0.0.1"); c.Plan != "gold" || c.Capacity != 60 || c.RatePerSecond != 0 {
		t.Errorf("got %+v", c)
	}
	a.limited("10.0.0.1", 60)
	a.call(http.StatusOK, "PATCH", "/10.0.0.1", `{"capacity":null}`)
	a.limited("10.0.0.1", 50)
}

func TestPatchesRefused(t *testing.T) {
	a, _ := startAPI(t, fileConfig(t))
	a.create("10.0.0.1", 7)
	a.create("10.0.0.0/8", 7)
	a.createNamed("acme", "the key of acme", 7)
	for _, c := range []struct{ path, patch, field, text string }{
		{"/10.0.0.1", `{"capacity":null}`, "capacity", "missing"},
		{"/10.0.0.1", `{"capacity":0}`, "capacity", "0"},
		{"/10.0.0.1", `{"ip_address":"10.0.0.2"}`, "ip_address", "the client of the path"},
		{"/10.0.0.1", `{"ip_address":null,"name":"acme"}`, "name", "the client of the path"},
		{"/10.0.0.1", `{"name":"acme"}`, "name", "one of the two"},
		{"/10.0.0.1", `{"api_key":"the key of 10.0.0.1"}`, "api_key", "without name"},
		{"/10.0.0.1", `{"each":true}`, "each", "range"},
		{"/10.0.0.0/8", `{"each":true,"trial":{"capacity":5,"rate_per_second":1}}`, "trial", "together with each"},
		{"/10.0.0.1", `{"trial":{"capacity":5}}`, "trial.rate_per_second", "missing"},
		{"/10.0.0.1", `{"trial":{"burst":5}}`, "trial.burst", "unknown"},
		{"/10.0.0.1", `{"labels":{"a":1}}`, "labels.a", "a string"},
		{"/10.0.0.1", `{"plan":"gold"}`, "plan", "exists"},
		{"/10.0.0.1", `{"burst":1}`, "burst", "unknown"},
		{"/10.0.0.1", `[]`, "", "object"},
		{"/10.0.0.1", `null`, "", "object"},
		{"/acme", `{"api_keys":[]}`, "api_keys", "a list of 1 to 4"},
		{"/acme", `{"api_keys":[{"id":"nothing"}]}`, "api_keys", "id of a key"},
		{"/acme", `{"api_key":"short"}`, "api_key", "8 to 256"},
	} {
		before := a.call(http.StatusOK, "GET", c.path, "").body
		a.refuse(http.StatusUnprocessableEntity, c.field, c.text, "PATCH", c.path, c.patch)
		if after := a.call(http.StatusOK, "GET", c.path, "").body; after != before {
			t.Errorf("%s: got %s, was %s", c.patch, after, before)
		}
	}
	a.refuse(http.StatusNotFound, "", "there is no client", "PATCH", "/10.0.0.2", `{"capacity":1}`)
	a.createNamed("other", "the key of other", 7)
	a.refuse(http.StatusConflict, "api_key", "another client", "PATCH", "/acme", `{"api_key":"the key of other"}`)
}
