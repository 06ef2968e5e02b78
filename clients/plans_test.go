package clients

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"loadbalancer/clients/store"
	"loadbalancer/limiter"
)

const gold = plansPath + "/gold"

// TestPlanLifeCycle makes, changes and deletes a plan that clients have.
func TestPlanLifeCycle(t *testing.T) {
	eachStore(t, func(t *testing.T, cfg Config) {
		a, stop := startAPI(t, cfg)
		made := a.call(http.StatusCreated, "PUT", gold, `{"capacity":50,"rate_per_second":0.001,"max_in_flight":9}`)
		if made.header.Get("Location") != gold || made.header.Get("ETag") == "" {
			t.Errorf("the header is %v", made.header)
		}
		var p planJSON
		a.decode(made, &p)
		if p.Name != "gold" || p.Capacity != 50 || p.RatePerSecond != 0.001 || p.MaxInFlight != 9 || !p.CreatedAt.Equal(p.UpdatedAt) {
			t.Errorf("made %+v", p)
		}
		if shown := a.call(http.StatusOK, "GET", gold+"/", ""); shown.body != made.body || shown.header.Get("ETag") != made.header.Get("ETag") {
			t.Errorf("GET is %v %s, PUT was %v %s", shown.header, shown.body, made.header, made.body)
		}
		a.call(http.StatusCreated, "POST", "/", `{"ip_address":"10.0.0.1","plan":"gold"}`)
		a.call(http.StatusCreated, "POST", "/", `{"ip_address":"10.0.0.2","plan":"gold","capacity":70}`)
		a.call(http.StatusCreated, "POST", "/", `{"name":"acme","api_key":"the key of acme","plan":"gold","shadow":true,"max_in_flight":3}`)
		a.create("10.0.0.3", 7)
		for range 30 { // they stay spent
			admit(a.limiter, "10.0.0.1", "")
		}
		changed := a.call(http.StatusOK, "PUT", gold, `{"name":"gold","capacity":40,"rate_per_second":0.002}`, "If-Match: "+made.header.Get("ETag"))
		var q planJSON
		if a.decode(changed, &q); q.Capacity != 40 || q.MaxInFlight != 0 || !q.CreatedAt.Equal(p.CreatedAt) || !q.UpdatedAt.After(p.UpdatedAt) {
			t.Errorf("changed to %+v", q)
		}
		if d := admit(a.limiter, "10.0.0.1", ""); d.Capacity != 40 || d.Remaining != 9 {
			t.Errorf("the bucket is %+v, want 9 of 40 left", d)
		}
		a.limited("10.0.0.2", 70)
		a.limitedByKey("the key of acme", 40)
		a.limited("10.0.0.3", 7)
		a.refuse(http.StatusPreconditionFailed, "", "changed meanwhile", "PUT", gold, `{"capacity":1,"rate_per_second":1}`, "If-Match: "+made.header.Get("ETag"))
		a.refuse(http.StatusPreconditionFailed, "", "changed meanwhile", "DELETE", gold, "", "If-Match: "+made.header.Get("ETag"))
		a.refuse(http.StatusPreconditionFailed, "", "there is no plan silver", "PUT", plansPath+"/silver", `{"capacity":1,"rate_per_second":1}`, "If-Match: *")
		if got := a.call(http.StatusConflict, "DELETE", gold, ""); !strings.Contains(got.body, `"clients":3`) {
			t.Errorf("got %s", got.body)
		}
		if cfg.Store != memoryStore {
			stop()
			a, _ = startAPI(t, cfg)
			a.limited("10.0.0.1", 40)
			a.limited("10.0.0.2", 70)
			a.limitedByKey("the key of acme", 40)
		}
		a.call(http.StatusNoContent, "DELETE", "/acme", "")
		a.call(http.StatusOK, "PATCH", "/10.0.0.2", `{"plan":null,"rate_per_second":1}`)
		a.call(http.StatusOK, "PUT", "/10.0.0.1", `{"capacity":5,"rate_per_second":1}`)
		a.call(http.StatusNoContent, "DELETE", gold, "", "If-Match: *")
		a.limited("10.0.0.1", 5)
		a.refuse(http.StatusNotFound, "", "there is no plan gold", "GET", gold, "")
		a.refuse(http.StatusNotFound, "", "there is no plan gold", "DELETE", gold, "")
		a.refuse(http.StatusUnprocessableEntity, "plan", "exists", "POST", "/", `{"ip_address":"10.0.0.9","plan":"gold"}`)
	})
}

// TestPlanAndOwnNumbers has a change of a plan that a client's own numbers do not allow.
func TestPlanAndOwnNumbers(t *testing.T) {
	eachStore(t, func(t *testing.T, cfg Config) {
		a, _ := startAPI(t, cfg)
		a.call(http.StatusCreated, "PUT", gold, `{"capacity":50,"rate_per_second":5}`)
		a.call(http.StatusCreated, "POST", "/", `{"ip_address":"10.0.0.1","plan":"gold","capacity":10000000}`)
		a.call(http.StatusCreated, "POST", "/", `{"ip_address":"10.0.0.2","plan":"gold"}`)
		// Filling a bucket takes 30 days at most.
		a.refuse(http.StatusUnprocessableEntity, "rate_per_second", "the client 10.0.0.1", "PUT", gold, `{"capacity":50,"rate_per_second":0.5}`)
		a.limited("10.0.0.2", 50)
		a.refuse(http.StatusUnprocessableEntity, "rate_per_second", "30 days", "PATCH", "/10.0.0.2", `{"capacity":1000000000000}`)
		a.call(http.StatusNoContent, "DELETE", "/10.0.0.1", "")
		a.call(http.StatusOK, "PUT", gold, `{"capacity":51,"rate_per_second":0.5}`)
		a.limited("10.0.0.2", 51)
	})
}

func TestPlansRefused(t *testing.T) {
	a, _ := startAPI(t, fileConfig(t))
	for body, field := range map[string]string{
		`{"capacity":0,"rate_per_second":1}`:                   "capacity",
		`{"rate_per_second":1}`:                                "capacity",
		`{"capacity":1}`:                                       "rate_per_second",
		`{"capacity":null,"rate_per_second":1}`:                "capacity",
		`{"capacity":1,"rate_per_second":1,"max_in_flight":0}`: "max_in_flight",
		`{"capacity":1,"rate_per_second":1,"shadow":true}`:     "shadow",
		`{"capacity":1,"rate_per_second":1,"name":"silver"}`:   "name",
		`{"capacity":1,"rate_per_second":1,"name":7}`:          "name",
		`{"capacity":1,"rate_per_second":1,"capacity":2}`:      "capacity",
		`{"capacity":1000000,"rate_per_second":0.00000001}`:    "rate_per_second",
		`"gold"`: "",
	} {
		a.refuse(http.StatusUnprocessableEntity, field, "", "PUT", gold, body)
	}
	for _, name := range []string{"..", "10.0.0.1", "a%20b", "a%2Fb", strings.Repeat("x", 129), "a;--", "%C3%A4"} {
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			a.refuse(http.StatusUnprocessableEntity, "plan", "letters, digits", method, plansPath+"/"+name, `{"capacity":1,"rate_per_second":1}`)
		}
	}
	if got := a.call(http.StatusOK, "GET", plansPath, ""); strings.TrimSpace(got.body) != "[]" {
		t.Errorf("refused calls left %s", got.body)
	}
}

func TestListPlans(t *testing.T) {
	eachStore(t, func(t *testing.T, cfg Config) {
		a, _ := startAPI(t, cfg)
		want := []string{"10", "Zeta", "a", "gold", "gold-2", "silver@example.com"}
		for i := range want {
			a.call(http.StatusCreated, "PUT", plansPath+"/"+want[len(want)-1-i], `{"capacity":1,"rate_per_second":1}`)
		}
		for _, size := range []int{1, 4, 6, 100} {
			var got []string
			pages := 0
			for next := fmt.Sprintf("%s/?limit=%d", plansPath, size); next != ""; pages++ {
				page := a.call(http.StatusOK, "GET", next, "")
				var plans []planJSON
				a.decode(page, &plans)
				for _, p := range plans {
					got = append(got, p.Name)
				}
				next = strings.TrimSuffix(strings.TrimPrefix(page.header.Get("Link"), "<"), `>; rel="next"`)
			}
			if strings.Join(got, " ") != strings.Join(want, " ") || pages != (len(want)+size-1)/size {
				t.Errorf("in pages of %d: got %d pages, %v", size, pages, got)
			}
		}
		a.refuse(http.StatusUnprocessableEntity, "limit", "1 to 1000", "GET", plansPath+"?limit=1001", "")
		a.refuse(http.StatusUnprocessableEntity, "after", "letters", "GET", plansPath+"?after=", "")
	})
}

func TestTooManyPlans(t *testing.T) {
	u := testUsecase(store.OpenMemory(store.Bounds{}), testLimiter())
	terms := limiter.Terms{Limit: limiter.Limit{Capacity: 1, RatePerSecond: 1}}
	err := u.keeper().write(t.Context(), func(tx store.Tx) error {
		for i := range maxPlans {
			if err := tx.PutPlan(store.Plan{Name: fmt.Sprint(i), Terms: terms}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	base, stop := serve(t, (&controller{usecase: u, readsKeys: keysAreRead}).register, true)
	defer stop()
	a := &api{t: t, base: base}
	a.refuse(http.StatusConflict, "", "10000 plans", "PUT", gold, `{"capacity":1,"rate_per_second":1}`)
	a.call(http.StatusOK, "PUT", plansPath+"/7", `{"capacity":2,"rate_per_second":1}`)
}
