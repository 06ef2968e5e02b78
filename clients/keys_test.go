package clients

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"loadbalancer/limiter"
)

func (a *api) addKey(client, body string) keyJSON {
	a.t.Helper()
	var added keyJSON
	a.decode(a.call(http.StatusCreated, "POST", client+"/keys", body), &added)
	return added
}

// TestKeyRotation replaces a key without a request that is not the client's.
func TestKeyRotation(t *testing.T) {
	eachStore(t, func(t *testing.T, cfg Config) {
		a, stop := startAPI(t, cfg)
		const first, second = "Bearer first-of-acme", "Bearer second-of-acme"
		standard := limiter.DefaultConfig().Default.Capacity
		created := a.createNamed("acme", first, 7)
		if len(created.Keys) != 1 || created.Keys[0].ID == "" || !created.Keys[0].CreatedAt.Equal(created.CreatedAt) {
			t.Fatalf("the keys are %+v", created.Keys)
		}
		before := a.call(http.StatusOK, "GET", "/acme", "").header.Get("ETag")

		got := a.call(http.StatusCreated, "POST", "/acme/keys", `{"api_key":"`+second+`"}`)
		var added keyJSON
		a.decode(got, &added)
		if want := collection + "/acme/keys/" + added.ID; got.header.Get("Location") != want || got.header.Get("ETag") == before {
			t.Errorf("the header is %v, want Location %s and another ETag than %s", got.header, want, before)
		}
		a.limitedByKey(first, 7)
		a.limitedByKey(second, 7)
		for range 5 { // one bucket
			admit(a.limiter, "192.0.2.1", second)
		}
		if u := a.usageOf("/acme"); u.Allowed != 7 {
			t.Errorf("the usage is %+v", u)
		}

		gone := a.call(http.StatusNoContent, "DELETE", "/acme/keys/"+created.Keys[0].ID, "", "If-Match: "+got.header.Get("ETag"))
		if tag := a.call(http.StatusOK, "GET", "/acme", "").header.Get("ETag"); gone.header.Get("ETag") != tag {
			t.Errorf("ETag is %s, and then %s", gone.header.Get("ETag"), tag)
		}
		a.limitedByKey(first, standard)
		if d := admit(a.limiter, "192.0.2.1", second); d.Capacity != 7 || d.Remaining > 1 {
			t.Errorf("after the rotation the bucket is %+v: it was filled", d)
		}
		if c := a.get("/acme"); len(c.Keys) != 1 || c.Keys[0] != added && !c.Keys[0].CreatedAt.Equal(added.CreatedAt) {
			t.Errorf("the keys are %+v, want %+v", c.Keys, added)
		}
		a.refuse(http.StatusConflict, "", "last key", "DELETE", "/acme/keys/"+added.ID, "")
		if cfg.Store == memoryStore {
			return
		}
		stop()
		a, _ = startAPI(t, cfg)
		a.limitedByKey(first, standard)
		a.limitedByKey(second, 7)
	})
}

func TestKeysRefused(t *testing.T) {
	eachStore(t, func(t *testing.T, cfg Config) {
		a, _ := startAPI(t, cfg)
		a.call(http.StatusCreated, "POST", "/", `{"name":"acme","api_keys":[{"id":"first","api_key":"the 1st key of acme"}],"capacity":7,"rate_per_second":1}`)
		a.createNamed("rival", "the key of rival", 7)
		a.create("10.0.0.0/8", 7)
		sum := limiter.DigestKey([]byte("the key of rival"))
		for _, c := range []struct {
			status      int
			path, body  string
			field, text string
		}{
			{409, "/acme/keys", `{"api_key":"the 1st key of acme"}`, "api_key", "has this key already"},
			{409, "/acme/keys", `{"api_key":"the key of rival"}`, "api_key", "another client has this api_key"},
			{409, "/acme/keys", `{"sha256":"` + hex.EncodeToString(sum[:]) + `"}`, "api_key", "another client has this api_key"},
			{404, "/absent/keys", `{"api_key":"the key of absent"}`, "", "no client absent"},
			{422, "/10.0.0.0/8/keys", `{"api_key":"the key of a range"}`, "api_key", "without name"},
			{422, "/acme/keys", `{}`, "api_key", "missing"},
			{422, "/acme/keys", `{"api_key":null,"sha256":null}`, "api_key", "missing"},
			{422, "/acme/keys", `{"api_key":"short"}`, "api_key", "8 to 256"},
			{422, "/acme/keys", `{"api_key":7}`, "api_key", "no string"},
			{422, "/acme/keys", `{"sha256":"abc"}`, "sha256", "64 hexadecimal"},
			{422, "/acme/keys", `{"sha256":"` + strings.Repeat("0", 64) + `"}`, "sha256", "64 hexadecimal"},
			{422, "/acme/keys", `{"api_key":"the 2nd key of acme","sha256":"` + hex.EncodeToString(sum[:]) + `"}`, "sha256", "one of the two"},
			{422, "/acme/keys", `{"api_key":"the 2nd key of acme","id":"a b"}`, "id", "1 to 32"},
			{409, "/acme/keys", `{"api_key":"the 2nd key of acme","id":"first"}`, "id", "a key with this id"},
			{422, "/acme/keys", `{"id":"first"}`, "api_key", "missing"},
			{422, "/acme/keys", `{"api_key":"the 2nd key of acme","name":"acme"}`, "name", "unknown"},
			{422, "/acme/keys", `{"api_key":"the 2nd key of acme","expires_at":"tomorrow"}`, "expires_at", "RFC 3339"},
			{422, "/acme/keys", `[]`, "", "object"},
			{400, "/acme/keys", `{`, "", "not JSON"},
		} {
			a.refuse(c.status, c.field, c.text, "POST", c.path, c.body)
			if strings.Contains(a.call(c.status, "POST", c.path, c.body).body, "rival") {
				t.Errorf("%s tells whose key it is", c.body)
			}
		}
		for path, status := range map[string]int{"/acme/keys/none": 404, "/absent/keys/none": 404, "/10.0.0.0/8/keys/none": 422, "/acme/keys/%25": 404} {
			if got := send(t, "DELETE", a.base+collection+path, ""); got.status != status {
				t.Errorf("DELETE %s: got %d %s, want %d", path, got.status, got.body, status)
			}
		}
		if c := a.get("/acme"); len(c.Keys) != 1 {
			t.Errorf("refused calls left %+v", c.Keys)
		}
	})
}

func TestFourKeys(t *testing.T) {
	a, _ := startAPI(t, fileConfig(t))
	a.createNamed("acme", "the 1st key of acme", 7)
	soon := time.Now().Add(300 * time.Millisecond).UTC().Format(time.RFC3339Nano)
	a.addKey("/acme", `{"api_key":"the 2nd key of acme"}`)
	third := a.addKey("/acme", `{"api_key":"the 3rd key of acme","expires_at":"`+soon+`"}`)
	if third.ExpiresAt == nil || !third.ExpiresAt.After(third.CreatedAt) {
		t.Errorf("the key is %+v", third)
	}
	sum := limiter.DigestKey([]byte("the 4th key of acme"))
	a.addKey("/acme", `{"sha256":"`+strings.ToUpper(hex.EncodeToString(sum[:]))+`"}`)
	for i, name := range []string{"1st", "2nd", "3rd", "4th"} {
		if i != 2 {
			a.limitedByKey("the "+name+" key of acme", 7)
		}
	}
	tag := a.call(http.StatusOK, "GET", "/acme", "").header.Get("ETag")
	if time.Now().Before(*third.ExpiresAt) {
		a.refuse(http.StatusConflict, "api_key", "4 keys", "POST", "/acme/keys", `{"api_key":"the 5th key of acme"}`)
	}
	a.refuse(http.StatusPreconditionFailed, "", "changed meanwhile", "POST", "/acme/keys", `{"api_key":"the 5th key of acme"}`, `If-Match: "1"`)
	a.refuse(http.StatusPreconditionFailed, "", "changed meanwhile", "DELETE", "/acme/keys/"+third.ID, "", `If-Match: "1"`)
	time.Sleep(time.Until(*third.ExpiresAt))
	a.call(http.StatusCreated, "POST", "/acme/keys", `{"api_key":"the 5th key of acme"}`, "If-Match: "+tag)
	if c := a.get("/acme"); len(c.Keys) != 4 || strings.Contains(string(mustJSON(c)), third.ID) {
		t.Errorf("the keys are %+v: the one that has expired should have made room", c.Keys)
	}
	a.limitedByKey("the 5th key of acme", 7)
}

// TestKeysByID changes keys by PUT and PATCH of the client.
func TestKeysByID(t *testing.T) {
	eachStore(t, func(t *testing.T, cfg Config) {
		a, _ := startAPI(t, cfg)
		standard := limiter.DefaultConfig().Default.Capacity
		a.call(http.StatusCreated, "POST", "/", `{"name":"acme","api_keys":[{"id":"first","api_key":"the 1st key of acme"},`+
			`{"id":"second","api_key":"the 2nd key of acme","expires_at":"2090-01-01T00:00:00Z"}],"capacity":7,"rate_per_second":1}`)
		made := a.get("/acme")
		if len(made.Keys) != 2 || made.Keys[1].ID != "second" || made.Keys[1].ExpiresAt.Year() != 2090 {
			t.Fatalf("the keys are %+v", made.Keys)
		}
		first := made.Keys[0].ID
		for _, c := range []struct {
			keys string // api_keys of a PATCH
			want string // ids, and years of expiry
			work []bool // the 1st, 2nd and 3rd key
		}{
			{`[{"id":"` + first + `"},{"id":"second"}]`, "1 2(2090)", []bool{true, true, false}},
			{`[{"id":"second","expires_at":null},{"id":"` + first + `"}]`, "1 2", []bool{true, true, false}},
			{`[{"id":"` + first + `","expires_at":"2091-01-01T00:00:00Z"},{"api_key":"the 2nd key of acme"}]`, "1(2091) 2", []bool{true, true, false}},
			{`[{"id":"` + first + `"},{"id":"third","api_key":"the 3rd key of acme"}]`, "1(2091) 3", []bool{true, false, true}},
			{`[{"id":"third"}]`, "3", []bool{false, false, true}},
		} {
			a.call(http.StatusOK, "PATCH", "/acme", `{"api_keys":`+c.keys+`}`)
			var got []string
			for _, k := range a.get("/acme").Keys {
				id := map[string]string{first: "1", "second": "2", "third": "3"}[k.ID]
				if k.ExpiresAt != nil {
					id += fmt.Sprintf("(%d)", k.ExpiresAt.Year())
				}
				got = append(got, id)
			}
			if text := strings.Join(got, " "); text != c.want {
				t.Errorf("%s: the keys are %s, want %s", c.keys, text, c.want)
			}
			for i, works := range c.work {
				capacity := map[bool]int64{true: 7, false: standard}[works]
				a.limitedByKey(fmt.Sprintf("the %s key of acme", []string{"1st", "2nd", "3rd"}[i]), capacity)
			}
		}
		for keys, text := range map[string]string{
			`[{"id":"third"},{"id":"third"}]`:                                               "twice",
			`[{"id":"third"},{"api_key":"the 3rd key of acme"}]`:                            "twice",
			`[{"api_key":"the 4th key of acme"},{"api_key":"the 4th key of acme"}]`:         "twice",
			`[{"id":"a","api_key":"the 4th key of acme"},{"id":"a","api_key":"a 5th key"}]`: "twice",
			`[{"id":"second"}]`: "id of a key that the client has",
			`[{}]`:              "missing", `[7]`: "an object", `{}`: "a list",
			`[{"id":"` + strings.Repeat("x", 33) + `","api_key":"the 4th key of acme"}]`: "1 to 32",
			`[{"id":"third"},{"id":"a"},{"id":"b"},{"id":"c"},{"id":"d"}]`:               "1 to 4",
		} {
			got := a.call(http.StatusUnprocessableEntity, "PATCH", "/acme", `{"api_keys":`+keys+`}`)
			var p struct{ Detail string }
			if _ = json.Unmarshal([]byte(got.body), &p); !strings.Contains(p.Detail, text) {
				t.Errorf("%s: got %s, want %q in it", keys, got.body, text)
			}
		}
	})
}
