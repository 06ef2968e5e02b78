package clients

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"loadbalancer/clients/rest"
	"loadbalancer/limiter"
)

// TestKeyOfALostWrite has a write reach the store but lose its response, so that the limiter still
// assigns the key to another client when the store has given it to the next one.
func TestKeyOfALostWrite(t *testing.T) {
	const key, newKey = "the key of both", "the new key"
	for name, lose := range map[string]func(m *fake, a client){
		"delete":   func(m *fake, a client) { delete(m.clients, a.ID) },
		"rotation": func(m *fake, a client) { m.clients[a.ID] = withKey(a, newKey) },
	} {
		t.Run(name, func(t *testing.T) {
			store := newFake()
			u := &usecase{store: store, limiter: testLimiter(), locks: newStripedLocks()}
			a, b := namedClient("a", key), namedClient("b", key)
			a.Terms.Capacity, b.Terms.Capacity = 5, 6
			expect := func(after, key string, want int64) {
				t.Helper()
				if got := admit(u.limiter, "192.0.2.1", key).Capacity; got != want {
					t.Errorf("after %s the key %s has capacity %d, want %d", after, key, got, want)
				}
			}
			must := func(_ client, err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			must(u.create(t.Context(), a.Registration))
			lose(store, a)
			must(u.create(t.Context(), b.Registration))
			expect("the key changed hands", key, 6)
			b.Terms.Capacity = 7
			must(u.change(t.Context(), b.Registration))
			expect("a change", key, 7)
			if name == "rotation" {
				must(u.change(t.Context(), withKey(a, newKey).Registration))
				expect("the rotation was repeated", newKey, 5)
			} else if err := u.remove(t.Context(), a.ID); err == nil {
				t.Error("a client that is gone was removed")
			}
			expect("the repetition", key, 7)
			must(client{}, u.remove(t.Context(), b.ID))
			expect("the removal", key, limiter.DefaultConfig().Default.Capacity)
		})
	}
}

func withKey(c client, key string) client {
	c.Keys[0] = limiter.DigestKey([]byte(key))
	return c
}

// TestKeysChangeHands has clients take keys that others have just given up. The store orders these
// writes. The limiter sees them in any order, and must end up as the store is.
func TestKeysChangeHands(t *testing.T) {
	store := newFake()
	u := &usecase{store: store, limiter: testLimiter(), locks: newStripedLocks()}
	var wg sync.WaitGroup
	for caller := range 4 {
		wg.Go(func() {
			for i := range 500 {
				c := namedClient(fmt.Sprintf("client-%d", caller), fmt.Sprintf("the key %d", rand.IntN(5)))
				c.Terms.Capacity = int64(1 + caller*500 + i)
				var err error
				switch rand.IntN(4) {
				case 0:
					err = u.remove(t.Context(), c.ID)
				case 1:
					_, err = u.create(t.Context(), c.Registration)
				default:
					_, err = u.change(t.Context(), c.Registration)
				}
				if f, ok := errors.AsType[*rest.Fault](err); ok && f.Code == rest.Unavailable {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	want := map[limiter.KeyDigest]int64{}
	for _, c := range store.clients {
		want[c.Keys[0]] = c.Terms.Capacity
	}
	for i := range 5 {
		key := fmt.Sprintf("the key %d", i)
		capacity, found := want[limiter.DigestKey([]byte(key))]
		if !found {
			capacity = limiter.DefaultConfig().Default.Capacity
		}
		if got := admit(u.limiter, "192.0.2.1", key).Capacity; got != capacity {
			t.Errorf("%s has capacity %d, want %d", key, got, capacity)
		}
	}
	if u.limiter.Registered() != len(store.clients) {
		t.Errorf("the limiter has %d clients, the store %d", u.limiter.Registered(), len(store.clients))
	}
}
