package clients

import (
	"bytes"
	"net/http"
	"os"
	"testing"
	"time"

	"loadbalancer/limiter"
)

// within waits until the limiter grants the capacity, and fails the test if it does not in 5 s.
func (a *api) within(addr, key string, capacity int64) {
	a.t.Helper()
	for end := time.Now().Add(5 * time.Second); admit(a.limiter, addr, key).Capacity != capacity; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			a.t.Fatalf("after 5 s the limiter has capacity %d for %s %s, want %d", admit(a.limiter, addr, key).Capacity, addr, key, capacity)
		}
	}
}

// TestExpiryWithDamagedSnapshot has a client expire while the snapshot cannot be read, and another
// one after that.
func TestExpiryWithDamagedSnapshot(t *testing.T) {
	cfg := postgresConfig(t)
	a, _ := startAPI(t, cfg)
	standard := limiter.DefaultConfig().Default.Capacity
	register := func(addr string, in time.Duration) {
		soon := time.Now().Add(in).UTC().Format(time.RFC3339Nano)
		a.call(http.StatusCreated, "POST", "/", `{"ip_address":"`+addr+`","capacity":7,"rate_per_second":1,"expires_at":"`+soon+`"}`)
	}
	register("10.0.0.1", 4*time.Second) // after the snapshot is written, and damaged
	eventually(t, "the snapshot is written", func() bool {
		content, _ := os.ReadFile(cfg.Snapshot)
		return bytes.Contains(content, []byte{10, 0, 0, 1})
	})
	if err := os.Truncate(cfg.Snapshot, 4096); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the damage is found, or mended already", func() bool {
		info, err := os.Stat(cfg.Snapshot)
		return err == nil && info.Size() > 4096 || send(t, "GET", a.base+collection+"/10.0.0.1", "").status != http.StatusOK
	})
	time.Sleep(4500 * time.Millisecond) // the first expires meanwhile
	register("10.0.0.2", time.Second)
	a.within("10.0.0.1", "", standard)
	a.within("10.0.0.2", "", standard)
}

// TestExpiry has clients and keys end by themselves, in the store and at the next start.
func TestExpiry(t *testing.T) {
	eachStore(t, func(t *testing.T, cfg Config) {
		a, stop := startAPI(t, cfg)
		standard := limiter.DefaultConfig().Default.Capacity
		at := time.Now().Add(time.Second)
		soon := at.UTC().Format(time.RFC3339Nano)
		const terms = `,"capacity":7,"rate_per_second":1`
		a.call(http.StatusCreated, "POST", "/", `{"ip_address":"10.0.0.1","expires_at":"`+soon+`"`+terms+`}`)
		a.call(http.StatusCreated, "POST", "/", `{"ip_address":"10.0.0.2","expires_at":"`+soon+`"`+terms+`}`)
		a.call(http.StatusCreated, "POST", "/", `{"ip_address":"10.0.0.3","expires_at":"2001-01-01T00:00:00Z"`+terms+`}`)
		a.call(http.StatusCreated, "POST", "/", `{"name":"acme","api_keys":[{"api_key":"a key that ends","expires_at":"`+soon+`"},{"api_key":"a key that stays"}]`+terms+`}`)
		a.call(http.StatusCreated, "POST", "/", `{"name":"keyless","api_keys":[{"api_key":"the only key, which ends","expires_at":"`+soon+`"}]`+terms+`}`)
		if time.Now().Before(at) {
			for _, c := range [][2]string{{"10.0.0.1", ""}, {"10.0.0.2", ""}, {"192.0.2.1", "a key that ends"}, {"192.0.2.1", "the only key, which ends"}} {
				if got := admit(a.limiter, c[0], c[1]).Capacity; got != 7 && time.Now().Before(at) {
					t.Errorf("%v ends too early", c)
				}
			}
		}
		a.limited("10.0.0.3", standard)
		a.call(http.StatusOK, "PATCH", "/10.0.0.2", `{"expires_at":null}`)
		a.within("10.0.0.1", "", standard)
		a.within("192.0.2.1", "a key that ends", standard)
		a.within("192.0.2.1", "the only key, which ends", standard)
		if late := time.Since(at); late > 3*time.Second {
			t.Errorf("they end %s too late", late)
		}
		a.limited("10.0.0.2", 7)
		a.limitedByKey("a key that stays", 7)
		if c := a.get("/10.0.0.1"); c.ExpiresAt == nil {
			t.Errorf("a client that has expired is %+v", c)
		}
		if u := a.usageOf("/10.0.0.1"); u.Allowed != 0 {
			t.Errorf("the usage of a client that has expired is %+v", u)
		}
		if cfg.Store != memoryStore {
			stop()
			a, _ = startAPI(t, cfg)
			a.limited("10.0.0.1", standard)
			a.limited("10.0.0.2", 7)
			a.limitedByKey("a key that ends", standard)
			a.limitedByKey("a key that stays", 7)
		}
		a.call(http.StatusOK, "PATCH", "/10.0.0.1", `{"expires_at":"2090-01-01T00:00:00+01:00"}`)
		a.limited("10.0.0.1", 7)
		a.addKey("/keyless", `{"api_key":"a new key of keyless"}`)
		a.limitedByKey("a new key of keyless", 7)
	})
}
