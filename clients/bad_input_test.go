package clients

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

const (
	named  = `{"name":"acme","api_key":"the key of acme",`
	ranged = `{"ip_address":"10.0.0.0/8",`
	terms  = `"capacity":7,"rate_per_second":1`
)

// labelsOf returns n labels with names and values of these lengths.
func labelsOf(n, name, value int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(`"%0*d":"%s"`, name, i, strings.Repeat("v", value)))
	}
	return `"labels":{` + strings.Join(all, ",") + `},`
}

// TestFieldsAtTheirLimits has each field with the last value that is allowed, which GET shows as it
// was sent, and with the next one.
func TestFieldsAtTheirLimits(t *testing.T) {
	x := strings.Repeat
	eachStore(t, func(t *testing.T, cfg Config) {
		a, _ := startAPI(t, cfg)
		a.call(http.StatusCreated, "PUT", plansPath+"/"+x("p", 128), `{"capacity":1,"rate_per_second":1}`)
		for _, c := range []struct{ good, bad, field string }{
			{`{"name":"` + x("n", 128) + `","api_key":"the key of acme",` + terms + `}`, `{"name":"` + x("n", 129) + `","api_key":"the key of acme",` + terms + `}`, "name"},
			{`{"name":"1","api_key":"` + x("k", 8) + `",` + terms + `}`, `{"name":"1","api_key":"` + x("k", 7) + `",` + terms + `}`, "api_key"},
			{`{"name":"a@b","api_key":"` + x("k", 256) + `",` + terms + `}`, `{"name":"a@b","api_key":"` + x("k", 257) + `",` + terms + `}`, "api_key"},
			{`{"ip_address":"0.0.0.0/0",` + terms + `}`, `{"ip_address":"0.0.0.0/-1",` + terms + `}`, "ip_address"},
			{`{"ip_address":"::/0",` + terms + `}`, `{"ip_address":"::/129",` + terms + `}`, "ip_address"},
			{ranged + `"capacity":1,"rate_per_second":1}`, ranged + `"capacity":0,"rate_per_second":1}`, "capacity"},
			{ranged + `"capacity":999999999999999,"rate_per_second":1000000000}`, ranged + `"capacity":1000000000000000,"rate_per_second":1000000000}`, "capacity"},
			{ranged + `"capacity":7,"rate_per_second":1000000000}`, ranged + `"capacity":7,"rate_per_second":1000000000.1}`, "rate_per_second"},
			{ranged + `"capacity":1,"rate_per_second":0.000000386}`, ranged + `"capacity":1,"rate_per_second":0.000000385}`, "rate_per_second"},
			{ranged + `"max_in_flight":1,` + terms + `}`, ranged + `"max_in_flight":0,` + terms + `}`, "max_in_flight"},
			{ranged + `"max_in_flight":1000000000,` + terms + `}`, ranged + `"max_in_flight":1000000001,` + terms + `}`, "max_in_flight"},
			{named + labelsOf(16, 63, 63) + terms + `}`, named + labelsOf(17, 2, 1) + terms + `}`, "labels"},
			{named + labelsOf(1, 1, 0) + terms + `}`, named + `"labels":{"":"v"},` + terms + `}`, "labels"},
			{named + `"labels":{"a":"` + x("é", 31) + `"},` + terms + `}`, named + `"labels":{"a":"` + x("é", 32) + `"},` + terms + `}`, "labels.a"},
			{named + labelsOf(2, 63, 1) + terms + `}`, named + labelsOf(2, 64, 1) + terms + `}`, "labels"},
			{named + `"expires_at":"1970-01-01T00:00:00Z",` + terms + `}`, named + `"expires_at":"1970-01-01T00:00:00+00:01",` + terms + `}`, "expires_at"},
			{named + `"expires_at":"9999-12-31T23:59:59.999999Z",` + terms + `}`, named + `"expires_at":"9999-12-31T23:59:59-00:01",` + terms + `}`, "expires_at"},
			{named + `"plan":"` + x("p", 128) + `"}`, named + `"plan":"` + x("p", 129) + `"}`, "plan"},
			{ranged + `"trial":{"capacity":1,"rate_per_second":1},` + terms + `}`, ranged + `"trial":{"capacity":0,"rate_per_second":1},` + terms + `}`, "trial.capacity"},
			{`{"name":"acme","api_keys":[{"id":"` + x("i", 32) + `","api_key":"the key of acme"}],` + terms + `}`,
				`{"name":"acme","api_keys":[{"id":"` + x("i", 33) + `","api_key":"the key of acme"}],` + terms + `}`, "api_keys[0].id"},
			{`{"name":"acme","api_keys":[{"api_key":"a key, 1"},{"api_key":"a key, 2"},{"api_key":"a key, 3"},{"api_key":"a key, 4"}],` + terms + `}`,
				`{"name":"acme","api_keys":[{"api_key":"a key, 1"},{"api_key":"a key, 2"},{"api_key":"a key, 3"},{"api_key":"a key, 4"},{"api_key":"a key, 5"}],` + terms + `}`, "api_keys"},
		} {
			a.refuse(http.StatusUnprocessableEntity, c.field, "", "POST", "/", c.bad)
			path := a.call(http.StatusCreated, "POST", "/", c.good).header.Get("Location")
			shown := a.call(http.StatusOK, "GET", path, "").body
			a.sameButForTimes(shown, a.call(http.StatusOK, "PUT", path, shown).body)
			a.call(http.StatusNoContent, "DELETE", path, "")
		}
	})
}

// TestHostileBodies has what a caller may try. It leaves nothing, and the next call works.
func TestHostileBodies(t *testing.T) {
	x := strings.Repeat
	eachStore(t, func(t *testing.T, cfg Config) {
		a, _ := startAPI(t, cfg)
		for _, c := range []struct {
			body        string
			status      int
			field, text string
		}{
			{`{"name":"'; DROP TABLE clients; --","api_key":"the key of acme",` + terms + `}`, 422, "name", "letters, digits"},
			{`{"name":"a' OR '1'='1","api_key":"the key of acme",` + terms + `}`, 422, "name", "letters, digits"},
			{`{"name":"a\u0000b","api_key":"the key of acme",` + terms + `}`, 422, "name", "letters, digits"},
			{`{"name":"acme\n","api_key":"the key of acme",` + terms + `}`, 422, "name", "letters, digits"},
			{`{"name":"..","api_key":"the key of acme",` + terms + `}`, 422, "name", "letters, digits"},
			{`{"name":"010.1.1.1","api_key":"the key of acme",` + terms + `}`, 422, "name", "like an address"},
			{`{"name":"ａｃｍｅ","api_key":"the key of acme",` + terms + `}`, 422, "name", "letters, digits"},
			{`{"ip_address":"10.1.2.3/8",` + terms + `}`, 422, "ip_address", "10.0.0.0/8"},
			{`{"ip_address":"::ffff:10.1.2.3/104",` + terms + `}`, 422, "ip_address", "10.0.0.0/8"},
			{`{"ip_address":"2001:db8::1/32",` + terms + `}`, 422, "ip_address", "2001:db8::/32"},
			{`{"ip_address":"fe80::1%eth0",` + terms + `}`, 422, "ip_address", "without zone"},
			{`{"ip_address":"010.0.0.1",` + terms + `}`, 422, "ip_address", "leading zeros"},
			{ranged + terms + `,"capacity":8}`, 422, "capacity", "twice"},
			{ranged + terms + `,"\u0063apacity":8}`, 422, "capacity", "twice"},
			{ranged + terms + `,"labels":{"a":"1","a":"2"}}`, 422, "labels.a", "twice"},
			{ranged + terms + `,"trial":{"capacity":1,"rate_per_second":1,"capacity":2}}`, 422, "trial.capacity", "twice"},
			{ranged + terms + `,"labels":{"a":{"b":"c"}}}`, 422, "labels.a", "a string"},
			{ranged + terms + `,"labels":{"a":"line\nbreak"}}`, 422, "labels.a", "control"},
			{ranged + terms + `,"labels":{"a b":"c"}}`, 422, "labels", "letters, digits"},
			{ranged + terms + `,"labels":{"a":"` + "\xff" + `"}}`, 400, "", "UTF-8"},
			{ranged + terms + `,"labels":{"a":"\ud800"}}`, 400, "", "surrogate"},
			{ranged + terms + `,"expires_at":"2026-12-31"}`, 422, "expires_at", "RFC 3339"},
			{ranged + terms + `,"expires_at":1798761599}`, 422, "expires_at", "RFC 3339"},
			{ranged + `"capacity":1e2,"rate_per_second":1}`, 422, "capacity", "without fraction or exponent"},
			{ranged + `"capacity":9223372036854775808,"rate_per_second":1}`, 422, "capacity", ""},
			{ranged + `"capacity":7,"rate_per_second":1e999}`, 422, "rate_per_second", ""},
			{ranged + `"capacity":7,"rate_per_second":"1"}`, 422, "rate_per_second", ""},
			{ranged + `"capacity":7,"rate_per_second":-0}`, 422, "rate_per_second", ""},
			{ranged + `"capacity":7,"rate_per_second":NaN}`, 400, "", "not JSON"},
			{ranged + terms + `,"each":1}`, 422, "each", "true or false"},
			{ranged + terms + `,"blocked":"true"}`, 422, "blocked", "true or false"},
			{ranged + terms + `,"__proto__":{}}`, 422, "__proto__", "unknown"},
			{x("[", 1<<20), 400, "", "not JSON"},
			{x("[", 1<<19) + x("]", 1<<19), 400, "", ""},
			{`{"labels":` + x(`{"a":`, 5000) + `1` + x("}", 5000) + `}`, 422, "", "nested"},
			{`{"labels":{` + x(`"a":1,`, 100_000) + `"b":2}}`, 422, "labels.a", "twice"},
			{x(" ", 1<<20+1), 413, "", "1048576"},
		} {
			began := time.Now()
			got := a.call(c.status, "POST", "/", c.body)
			var p struct{ Detail, Field string }
			if a.decode(got, &p); p.Field != c.field || !strings.Contains(p.Detail, c.text) || len(got.body) > 2000 {
				t.Errorf("%.80s: got %s, want field %q and %q", c.body, got.body, c.field, c.text)
			}
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("%.80s took %s", c.body, took)
			}
		}
		if got := a.call(http.StatusOK, "GET", "/", ""); strings.TrimSpace(got.body) != "[]" {
			t.Errorf("refused calls left %s", got.body)
		}
		a.create("10.0.0.1", 7)
		a.limited("10.0.0.1", 7)
	})
}
