package clients

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"loadbalancer/clients/store"
	"loadbalancer/limiter"
)

func TestNamedClientLifeCycle(t *testing.T) {
	eachLastingStore(t, func(t *testing.T, cfg Config) {
		a, stop := startAPI(t, cfg)
		standard := limiter.DefaultConfig().Default.Capacity
		const first, second = "Bearer first-of-acme", "Bearer second-of-acme"

		got := a.call(http.StatusCreated, "POST", "/", `{"name":"acme","api_key":"`+first+`","capacity":7,"rate_per_second":0.5}`)
		if location := got.header.Get("Location"); location != "/v1/api/clients/acme" {
			t.Errorf("Location is %q", location)
		}
		var created clientJSON
		a.decode(got, &created)
		want := clientJSON{Name: "acme", Keys: created.Keys, Capacity: 7, RatePerSecond: 0.5, CreatedAt: created.CreatedAt, UpdatedAt: created.CreatedAt}
		if !reflect.DeepEqual(created, want) {
			t.Errorf("created %+v, want %+v", created, want)
		}
		for _, path := range []string{"/acme", "/acme/", "/%61cme"} {
			if found := a.get(path); !reflect.DeepEqual(found, created) {
				t.Errorf("GET %s is %+v, want %+v", path, found, created)
			}
		}
		a.limitedByKey(first, 7)
		a.refuse(http.StatusConflict, "name", "acme exists already", "POST", "/",
			`{"name":"acme","api_key":"`+second+`","capacity":8,"rate_per_second":1}`)
		a.limitedByKey(first, 7)
		a.limitedByKey(second, standard)

		// Without a key the client keeps the one it has, with one that is a new one it has that.
		a.call(http.StatusOK, "PUT", "/acme", `{"capacity":8,"rate_per_second":1}`)
		a.limitedByKey(first, 8)
		var changed clientJSON
		a.decode(a.call(http.StatusOK, "PUT", "/acme/", `{"name":"acme","api_key":"`+second+`","capacity":9,"rate_per_second":1}`), &changed)
		if changed.Name != "acme" || changed.Capacity != 9 || changed.CreatedAt != created.CreatedAt || !changed.UpdatedAt.After(created.UpdatedAt) {
			t.Errorf("changed %+v to %+v", created, changed)
		}
		a.limitedByKey(first, standard)
		a.limitedByKey(second, 9)

		stop() // what follows comes from the store
		a, _ = startAPI(t, cfg)
		if found := a.get("/acme"); !reflect.DeepEqual(found, changed) {
			t.Errorf("after a restart got %+v, want %+v", found, changed)
		}
		a.limitedByKey(first, standard)
		a.limitedByKey(second, 9)

		if got := a.call(http.StatusNoContent, "DELETE", "/acme", ""); got.body != "" {
			t.Errorf("DELETE has the body %q", got.body)
		}
		a.limitedByKey(second, standard)
		a.refuse(http.StatusNotFound, "", "there is no client acme", "GET", "/acme", "")
		a.refuse(http.StatusNotFound, "", "there is no client acme", "DELETE", "/acme", "")
		a.refuse(http.StatusNotFound, "", "there is no client acme", "PUT", "/acme", `{"capacity":1,"rate_per_second":1}`)
		a.createNamed("other", second, 5) // a key given up is free
		a.limitedByKey(second, 5)
	})
}

func TestKeysAreUnique(t *testing.T) {
	eachStore(t, func(t *testing.T, cfg Config) {
		a, _ := startAPI(t, cfg)
		a.createNamed("acme", "the key of acme", 5)
		other := a.createNamed("other", "the key of other", 6)
		for _, call := range []struct{ method, path, body string }{
			{"POST", "/", `{"name":"third","api_key":"the key of acme","capacity":1,"rate_per_second":1}`},
			{"PUT", "/other", `{"api_key":"the key of acme","capacity":1,"rate_per_second":1}`},
		} {
			a.refuse(http.StatusConflict, "api_key", "another client has", call.method, call.path, call.body)
			if got := a.call(http.StatusConflict, call.method, call.path, call.body); strings.Contains(got.body, "acme") {
				t.Errorf("%s %s tells whose key it is: %s", call.method, call.path, got.body)
			}
		}
		a.refuse(http.StatusNotFound, "", "third", "GET", "/third", "")
		if found := a.get("/other"); !reflect.DeepEqual(found, other) {
			t.Errorf("a refused change left %+v of %+v", found, other)
		}
		// A repeated call is told that the client exists, and not that the key is taken.
		a.refuse(http.StatusConflict, "name", "exists already", "POST", "/",
			`{"name":"acme","api_key":"the key of acme","capacity":1,"rate_per_second":1}`)
		a.limitedByKey("the key of acme", 5)
		a.limitedByKey("the key of other", 6)
	})
}

func TestConcurrentCreatesWithOneKey(t *testing.T) {
	eachStore(t, func(t *testing.T, cfg Config) {
		a, _ := startAPI(t, cfg)
		const callers = 16
		statuses := make([]int, callers)
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				body := fmt.Sprintf(`{"name":"client-%d","api_key":"one key for all","capacity":%d,"rate_per_second":1}`, i, i+1)
				statuses[i] = send(t, "POST", a.base+collection, body).status
			})
		}
		wg.Wait()
		winner := slices.Index(statuses, http.StatusCreated)
		for i, status := range statuses {
			if i != winner && status != http.StatusConflict {
				t.Fatalf("the statuses are %v, want one 201 and else 409", statuses)
			}
		}
		if got, _ := a.listAll(1000); !slices.Equal(got, []string{fmt.Sprintf("client-%d", winner)}) {
			t.Errorf("stored are %v, but caller %d was told 201", got, winner)
		}
		a.limitedByKey("one key for all", int64(winner+1))
	})
}

func TestOptionalTerms(t *testing.T) {
	eachLastingStore(t, func(t *testing.T, cfg Config) {
		a, stop := startAPI(t, cfg)
		for _, who := range []string{`"ip_address":"10.0.0.0/8"`, `"name":"acme","api_key":"the key of acme"`} {
			path := "/10.0.0.0/8"
			if strings.Contains(who, "acme") {
				path = "/acme"
			}
			var plain, full clientJSON
			bare := a.call(http.StatusCreated, "POST", "/", "{"+who+`,"capacity":5,"rate_per_second":1,"max_in_flight":null,"shadow":false,"trial":null}`)
			a.decode(bare, &plain)
			for _, field := range []string{"max_in_flight", "shadow", "trial"} {
				if strings.Contains(bare.body, field) {
					t.Errorf("%s is shown though it is not set: %s", field, bare.body)
				}
			}
			a.decode(a.call(http.StatusOK, "PUT", path, `{"capacity":5,"rate_per_second":1,"max_in_flight":1000000000,`+
				`"shadow":true,"trial":{"capacity":999999999999999,"rate_per_second":1e9}}`), &full)
			want := plain
			want.MaxInFlight, want.Shadow, want.Trial = 1e9, true, limitJSON{Capacity: 999999999999999, RatePerSecond: 1e9}
			want.UpdatedAt = full.UpdatedAt
			if !reflect.DeepEqual(full, want) {
				t.Errorf("changed to %+v, want %+v", full, want)
			}
			stop()
			a, stop = startAPI(t, cfg)
			if found := a.get(path); !reflect.DeepEqual(found, want) {
				t.Errorf("after a restart got %+v, want %+v", found, want)
			}
			var again clientJSON // a PUT replaces what it leaves out
			a.decode(a.call(http.StatusOK, "PUT", path, `{"capacity":5,"rate_per_second":1}`), &again)
			if plain.UpdatedAt = again.UpdatedAt; !reflect.DeepEqual(again, plain) || !reflect.DeepEqual(a.get(path), plain) {
				t.Errorf("changed to %+v, want %+v", again, plain)
			}
			a.call(http.StatusNoContent, "DELETE", path, "")
			a.call(http.StatusCreated, "POST", "/", "{"+who+`,"capacity":5,"rate_per_second":1,"max_in_flight":1,`+
				`"shadow":true,"trial":{"rate_per_second":2,"capacity":3}}`)
			if found := a.get(path); found.MaxInFlight != 1 || !found.Shadow || found.Trial != (limitJSON{Capacity: 3, RatePerSecond: 2}) {
				t.Errorf("created %+v", found)
			}
		}
	})
}

func TestListWithNames(t *testing.T) {
	eachStore(t, func(t *testing.T, cfg Config) {
		a, _ := startAPI(t, cfg)
		want := []string{"0.0.0.0/0", "10.0.0.1", "::/0", "fe80::/10",
			"A", "A-b", "A.b", "A0", "AB", "A_b", "Zeta", "a", "a-", "aa", "zeta"}
		for i, name := range rand.Perm(len(want)) {
			if id := want[name]; store.IsName(id) {
				a.createNamed(id, fmt.Sprintf("the key %d", i), 5)
			} else {
				a.create(id, 5)
			}
		}
		for _, size := range []int{1, 3, 4, 5, len(want) - 1, len(want), 1000} {
			if got, pages := a.listAll(size); !slices.Equal(got, want) || pages != (len(want)+size-1)/size {
				t.Errorf("in pages of %d got %d pages, %v, want %v", size, pages, got, want)
			}
		}
		for after, behind := range map[string]int{"fe80::/10": 4, "ffff::": 4, "::/0": 3, "B": 10, "Zeta": 11, "zeta": 15, "zz": 15} {
			var rest []clientJSON
			a.decode(a.call(http.StatusOK, "GET", "/?after="+after, ""), &rest)
			if got := namesOf(rest); !slices.Equal(got, want[behind:]) {
				t.Errorf("behind %s come %v, want %v", after, got, want[behind:])
			}
		}
	})
}

// namesOf returns what stands for the clients in a path.
func namesOf(clients []clientJSON) (names []string) {
	for _, c := range clients {
		names = append(names, c.IPAddress+c.Name)
	}
	return names
}

func TestChangesOfIdentityRefused(t *testing.T) {
	a, _ := startAPI(t, fileConfig(t))
	a.create("10.0.0.1", 7)
	acme := a.createNamed("acme", "the key of acme", 7)
	for _, c := range []struct{ path, fields, field, text string }{
		{"/10.0.0.1", `"name":"acme"`, "name", "the client of the path, 10.0.0.1"},
		{"/10.0.0.1", `"api_key":"another key"`, "api_key", "without name"},
		{"/10.0.0.1", `"ip_address":"10.0.0.1","api_key":"another key"`, "api_key", "without name"},
		{"/acme", `"name":"Acme"`, "name", "the client of the path, acme"},
		{"/acme", `"ip_address":"10.0.0.1"`, "ip_address", "the client of the path, acme"},
		{"/acme", `"ip_address":"10.0.0.1","name":"acme"`, "name", "one of the two"},
		{"/acme", `"api_key":""`, "api_key", "8 to 256"},
	} {
		a.refuse(http.StatusUnprocessableEntity, c.field, c.text, "PUT", c.path, "{"+c.fields+`,"capacity":8,"rate_per_second":1}`)
	}
	a.limited("10.0.0.1", 7)
	a.limitedByKey("another key", limiter.DefaultConfig().Default.Capacity)
	if found := a.get("/acme"); !reflect.DeepEqual(found, acme) {
		t.Errorf("refused changes left %+v of %+v", found, acme)
	}
}
