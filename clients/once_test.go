package clients

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"loadbalancer/clients/rest"
	"loadbalancer/clients/store"
)

func TestIdempotencyKey(t *testing.T) {
	eachStore(t, func(t *testing.T, cfg Config) {
		a, _ := startAPI(t, cfg)
		const key = "Idempotency-Key: 8e03978e-40d5-43dd-bc93-6894a57f9324"
		const body = `{"name":"acme","api_key":"the key of acme","capacity":7,"rate_per_second":1,"labels":{"a":"<&>"}}`
		a.refuse(http.StatusUnprocessableEntity, "capacity", "0", "POST", "/", `{"ip_address":"10.0.0.9","capacity":0,"rate_per_second":1}`, key)
		first := a.call(http.StatusCreated, "POST", "/", body, key) // what was refused did not use the key
		again := a.call(http.StatusCreated, "POST", "/", body, key)
		if again.body != first.body || again.header.Get("Location") != collection+"/acme" || first.header.Get("Location") != collection+"/acme" {
			t.Errorf("got %v %s, the first time %v %s", again.header, again.body, first.header, first.body)
		}
		a.call(http.StatusNoContent, "DELETE", "/acme", "")
		if again = a.call(http.StatusCreated, "POST", "/", body, key); again.body != first.body {
			t.Errorf("after a deletion got %s, the first time %s", again.body, first.body)
		}
		a.refuse(http.StatusNotFound, "", "no client", "GET", "/acme", "")
		a.refuse(http.StatusUnprocessableEntity, "Idempotency-Key", "another body", "POST", "/", body+" ", key)
		a.call(http.StatusCreated, "POST", "/", body, strings.Replace(key, "8e", "9e", 1))
		a.refuse(http.StatusConflict, "name", "exists", "POST", "/", body)
		a.refuse(http.StatusBadRequest, "Idempotency-Key", "1 to 255", "POST", "/", body, "Idempotency-Key: a b")

		added := a.call(http.StatusCreated, "POST", "/acme/keys", `{"api_key":"another key of acme"}`, strings.Replace(key, "8e", "ae", 1))
		again = a.call(http.StatusCreated, "POST", "/acme/keys", `{"api_key":"another key of acme"}`, strings.Replace(key, "8e", "ae", 1))
		if again.body != added.body || again.header.Get("Location") != added.header.Get("Location") || len(a.get("/acme").Keys) != 2 {
			t.Errorf("got %v %s, the first time %v %s", again.header, again.body, added.header, added.body)
		}
		a.createNamed("other", "the key of other", 7)
		a.refuse(http.StatusUnprocessableEntity, "Idempotency-Key", "another body", "POST", "/other/keys", `{"api_key":"another key of acme"}`,
			strings.Replace(key, "8e", "ae", 1))
	})
}

// TestIdempotencyKeyOfTwins has equal calls at once.
func TestIdempotencyKeyOfTwins(t *testing.T) {
	eachStore(t, func(t *testing.T, cfg Config) {
		a, _ := startAPI(t, cfg)
		const body = `{"ip_address":"10.0.0.1","capacity":7,"rate_per_second":1}`
		answers := make([]answer, 8)
		var wg sync.WaitGroup
		for i := range answers {
			wg.Go(func() { answers[i] = send(t, "POST", a.base+collection, body, "Idempotency-Key: twins") })
		}
		wg.Wait()
		for _, got := range answers {
			if got.status != http.StatusCreated || got.body != answers[0].body {
				t.Errorf("got %d %s and %s", got.status, got.body, answers[0].body)
			}
		}
	})
}

// TestIdempotencyKeyEnds has an answer that is older than a day.
func TestIdempotencyKeyEnds(t *testing.T) {
	u := testUsecase(store.OpenMemory(store.Bounds{}), testLimiter())
	d := testDraft("10.0.0.1/32", 7)
	for _, c := range []struct {
		age time.Duration
		old bool
	}{{store.ReplyAge - time.Minute, false}, {store.ReplyAge + time.Second, true}} {
		k := call{once: newOnce(rest.Caller{}, "key", []byte("body"))}
		err := u.keeper().write(t.Context(), func(tx store.Tx) error {
			return tx.Remember(store.Reply{Key: k.once.key, Digest: k.once.digest, Status: 201, Body: []byte("{}"), At: store.Now().Add(-c.age)})
		})
		if err != nil {
			t.Fatal(err)
		}
		_, err = u.create(t.Context(), k, d)
		if _, replayed := errors.AsType[*replay](err); replayed == c.old || c.old && err != nil {
			t.Errorf("an answer that is %s old: %v", c.age, err)
		}
	}
}

// TestIdempotencyKeysOfCallers has two callers with the same key.
func TestIdempotencyKeysOfCallers(t *testing.T) {
	u := testUsecase(store.OpenMemory(store.Bounds{}), testLimiter())
	for i, by := range []rest.Caller{{}, {Token: "a"}, {Token: "b"}} {
		d := testDraft([]string{"10.0.0.1/32", "10.0.0.2/32", "10.0.0.3/32"}[i], 7)
		if _, err := u.create(t.Context(), call{by: by, once: newOnce(by, "key", []byte(by.Token))}, d); err != nil {
			t.Errorf("%s: %v", by.Name(), err)
		}
	}
}
