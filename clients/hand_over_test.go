package clients

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"loadbalancer/clients/rest"
	"loadbalancer/clients/store"
	"loadbalancer/limiter"
)

// TestKeysChangeHands has clients take keys that others have just given up. The limiter must end up
// as the store is.
func TestKeysChangeHands(t *testing.T) {
	s, lim := store.OpenMemory(store.Bounds{}), testLimiter()
	u := testUsecase(s, lim)
	var wg sync.WaitGroup
	for caller := range 4 {
		wg.Go(func() {
			for i := range 500 {
				keys := []draftKey{}
				for _, n := range rand.Perm(9)[:1+rand.IntN(limiter.MaxKeys)] {
					keys = append(keys, draftKey{digest: limiter.DigestKey(fmt.Appendf(nil, "the key %d", n))})
				}
				d := draft{id: limiter.ID{Name: fmt.Sprintf("client-%d", caller)}, keys: &keys,
					own: limiter.Terms{Limit: limiter.Limit{Capacity: int64(1 + caller*500 + i), RatePerSecond: 1}}}
				var err error
				switch rand.IntN(4) {
				case 0:
					err = u.remove(t.Context(), call{}, d.id)
				case 1:
					_, err = u.create(t.Context(), call{}, d)
				default:
					_, _, err = u.change(t.Context(), call{}, d.id, true, func(*store.Client) (draft, error) { return d, nil })
				}
				if f, ok := errors.AsType[*rest.Fault](err); ok && f.Code == rest.Unavailable {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	stored, err := s.Clients(limiter.ID{}, 100)
	if err != nil {
		t.Fatal(err)
	}
	want := map[limiter.KeyDigest]int64{}
	for _, c := range stored {
		for _, k := range c.Keys {
			want[k.Digest] = c.Own.Capacity
		}
	}
	for i := range 9 {
		key := fmt.Sprintf("the key %d", i)
		capacity, found := want[limiter.DigestKey([]byte(key))]
		if !found {
			capacity = limiter.DefaultConfig().Default.Capacity
		}
		if got := admit(lim, "192.0.2.1", key).Capacity; got != capacity {
			t.Errorf("%s has capacity %d, want %d", key, got, capacity)
		}
	}
}
