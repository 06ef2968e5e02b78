package clients

import (
	"encoding/json"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
)

// kinds are clients of every kind, as they are created, without their limit.
var kinds = map[string]string{
	"10.0.0.1":      `"ip_address":"10.0.0.1"`,
	"2001:db8::1":   `"ip_address":"2001:db8::1"`,
	"10.0.0.0/8":    `"ip_address":"10.0.0.0/8"`,
	"2001:db8::/32": `"ip_address":"2001:db8::/32"`,
	"acme":          `"name":"acme","api_key":"the key of acme"`,
}

// TestShownCanBeSentBack checks that PUT accepts a client as GET shows it, and so does POST after a
// DELETE, and that nothing but its times changes.
func TestShownCanBeSentBack(t *testing.T) {
	eachStore(t, func(t *testing.T, cfg Config) {
		a, _ := startAPI(t, cfg)
		for _, terms := range []string{
			`"capacity":1,"rate_per_second":1e-06`,
			`"capacity":5,"rate_per_second":0.016666666666666666,"max_in_flight":3`,
			`"capacity":5,"rate_per_second":1,"shadow":true`,
			`"capacity":5,"rate_per_second":1,"trial":{"capacity":2,"rate_per_second":0.1}`,
			`"capacity":999999999999999,"rate_per_second":1e9,"max_in_flight":1,"shadow":true,"trial":{"capacity":1,"rate_per_second":1}`,
		} {
			for id, who := range kinds {
				path := "/" + url.PathEscape(id)
				a.call(http.StatusCreated, "POST", "/", "{"+who+","+terms+"}")
				shown := a.call(http.StatusOK, "GET", path, "").body
				a.sameButForTimes(shown, a.call(http.StatusOK, "PUT", path, shown).body)
				a.sameButForTimes(shown, a.call(http.StatusOK, "GET", path, "").body)
				if id == "acme" { // the key has stayed, and a new client needs one
					a.limitedByKey("the key of acme", a.get(path).Capacity)
					a.call(http.StatusNoContent, "DELETE", path, "")
					a.refuse(http.StatusUnprocessableEntity, "api_keys", "or a new key in api_key", "POST", "/", shown)
					continue
				}
				a.call(http.StatusNoContent, "DELETE", path, "")
				a.sameButForTimes(shown, a.call(http.StatusCreated, "POST", "/", shown).body)
				a.call(http.StatusNoContent, "DELETE", path, "")
			}
		}
	})
}

// sameButForTimes compares two clients in JSON.
func (a *api) sameButForTimes(want, got string) {
	a.t.Helper()
	var both [2]map[string]any
	for i, text := range []string{want, got} {
		if err := json.Unmarshal([]byte(text), &both[i]); err != nil {
			a.t.Fatalf("decode %q: %v", text, err)
		}
		if both[i]["created_at"] == nil || both[i]["updated_at"] == nil {
			a.t.Errorf("%s has no times", text)
		}
		delete(both[i], "created_at")
		delete(both[i], "updated_at")
		if keys, _ := both[i]["api_keys"].([]any); len(keys) == 1 {
			delete(keys[0].(map[string]any), "created_at")
			delete(keys[0].(map[string]any), "id")
		}
	}
	if !reflect.DeepEqual(both[0], both[1]) {
		a.t.Errorf("got %v, want %v", both[1], both[0])
	}
}

// TestReadOnlyFieldsAreIgnored sets them to JSON of every kind.
func TestReadOnlyFieldsAreIgnored(t *testing.T) {
	a, _ := startAPI(t, fileConfig(t))
	for _, value := range []string{`null`, `"2001-01-01T00:00:00Z"`, `"yesterday"`, `-1e3`, `true`, `[1,{"a":null}]`, `{"created_at":{}}`} {
		times := `,"created_at":` + value + `,"updated_at":` + value + `}`
		var created, changed clientJSON
		a.decode(a.call(http.StatusCreated, "POST", "/", `{"ip_address":"10.0.0.1","capacity":5,"rate_per_second":1`+times), &created)
		a.decode(a.call(http.StatusOK, "PUT", "/10.0.0.1", `{"capacity":6,"rate_per_second":1`+times), &changed)
		if created.CreatedAt.Year() < 2025 || changed.CreatedAt != created.CreatedAt || !changed.UpdatedAt.After(created.UpdatedAt) || changed.Capacity != 6 {
			t.Errorf("with %s: created %+v, changed to %+v", value, created, changed)
		}
		a.call(http.StatusNoContent, "DELETE", "/10.0.0.1", "")
	}
}

// TestNullIsLeftOut checks that null means the same as leaving a field out.
func TestNullIsLeftOut(t *testing.T) {
	a, _ := startAPI(t, fileConfig(t))
	all := []string{"ip_address", "name", "api_key", "max_in_flight", "shadow", "trial", "created_at", "updated_at"}
	nulls := func(who string) string {
		fields := []string{`"capacity":5,"rate_per_second":1`}
		if who != "" {
			fields = append(fields, who)
		}
		for _, field := range all {
			if !strings.Contains(who, `"`+field+`"`) {
				fields = append(fields, `"`+field+`":null`)
			}
		}
		return "{" + strings.Join(fields, ",") + "}"
	}
	for id, who := range kinds {
		path := "/" + url.PathEscape(id)
		a.call(http.StatusCreated, "POST", "/", "{"+who+`,"capacity":5,"rate_per_second":1}`)
		want := a.call(http.StatusOK, "GET", path, "").body
		a.call(http.StatusOK, "PUT", path, `{"capacity":5,"rate_per_second":1,"max_in_flight":1,"shadow":true,"trial":{"capacity":1,"rate_per_second":1}}`)
		a.sameButForTimes(want, a.call(http.StatusOK, "PUT", path, nulls("")).body)
		if id == "acme" {
			a.limitedByKey("the key of acme", 5)
		}
		a.call(http.StatusNoContent, "DELETE", path, "")
		a.sameButForTimes(want, a.call(http.StatusCreated, "POST", "/", nulls(who)).body)
	}
}
