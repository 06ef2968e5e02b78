package clients

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.etcd.io/bbolt"

	"loadbalancer/limiter"
)

func openStore(t testing.TB, cfg Config) storage {
	t.Helper()
	store, _, err := openStorage(context.Background(), cfg, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

func namedClient(name, key string) client {
	at := time.Date(2025, 6, 1, 12, 0, 0, 123456000, time.UTC)
	return client{
		Registration: limiter.Registration{
			ID:    limiter.ID{Name: name},
			Keys:  [limiter.MaxKeys]limiter.KeyDigest{limiter.DigestKey([]byte(key))},
			Terms: limiter.Terms{Limit: limiter.Limit{Capacity: 5, RatePerSecond: 0.5}},
		},
		createdAt: at,
		updatedAt: at,
	}
}

// TestStorage is the contract of both stores.
func TestStorage(t *testing.T) {
	eachStore(t, func(t *testing.T, cfg Config) {
		store := openStore(t, cfg)
		full := limiter.Terms{
			Limit:       limiter.Limit{Capacity: 1 << 62, RatePerSecond: 0.1 + 0.2},
			MaxInFlight: 1 << 61,
			Shadow:      true,
			Trial:       limiter.Limit{Capacity: 1 << 60, RatePerSecond: 1e-9},
		}
		sparse := limiter.Terms{Limit: limiter.Limit{Capacity: 1, RatePerSecond: 1e9}}
		named, addressed := namedClient("acme", "the key of acme"), client{Registration: limiter.Registration{ID: addressID("2001:db8::/32")}}
		addressed.createdAt, addressed.updatedAt = named.createdAt, named.createdAt.Add(time.Microsecond)
		for _, c := range []client{named, addressed} {
			c.Terms = full
			testLifeCycle(t, store, c, sparse)
			c.Terms = sparse
			testLifeCycle(t, store, c, full)
		}
		failure := errors.New("enough")
		for _, c := range []client{named, addressed} {
			c.Terms = sparse
			if err := store.insert(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if err := store.scan(t.Context(), limiter.ID{}, 0, func(client) error { return failure }); !errors.Is(err, failure) {
				t.Errorf("scan with %s returned %v, not the error of visit", c.ID, err)
			}
		}
	})
}

// testLifeCycle stores a client, gives it other terms and removes it.
func testLifeCycle(t *testing.T, store storage, c client, terms limiter.Terms) {
	t.Helper()
	ctx := t.Context()
	if _, err := store.get(ctx, c.ID); !errors.Is(err, errNotFound) {
		t.Errorf("get of an unknown client: %v", err)
	}
	if _, err := store.update(ctx, c); !errors.Is(err, errNotFound) {
		t.Errorf("update of an unknown client: %v", err)
	}
	if err := store.remove(ctx, c.ID); !errors.Is(err, errNotFound) {
		t.Errorf("remove of an unknown client: %v", err)
	}
	if err := store.insert(ctx, c); err != nil {
		t.Fatal(err)
	}
	if got, err := store.get(ctx, c.ID); err != nil || got != c {
		t.Errorf("got %+v, %v, want %+v", got, err, c)
	}
	if err := store.insert(ctx, c); !errors.Is(err, errExists) {
		t.Errorf("a second insert: %v", err)
	}
	changed := client{Registration: limiter.Registration{ID: c.ID, Terms: terms}, updatedAt: c.updatedAt.Add(time.Hour)}
	want := changed
	want.Keys[0], want.createdAt = c.Keys[0], c.createdAt
	if got, err := store.update(ctx, changed); err != nil || got != want {
		t.Errorf("update returned %+v, %v, want %+v", got, err, want)
	}
	if got, err := store.get(ctx, c.ID); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if err := store.remove(ctx, c.ID); err != nil {
		t.Error(err)
	}
	if _, err := store.get(ctx, c.ID); !errors.Is(err, errNotFound) {
		t.Errorf("get of a removed client: %v", err)
	}
}

// TestStorageOfKeys checks that no two clients get the same key in any way, and that a key given up
// is free.
func TestStorageOfKeys(t *testing.T) {
	eachStore(t, func(t *testing.T, cfg Config) {
		store, ctx := openStore(t, cfg), t.Context()
		insert := func(name, key string) error { return store.insert(ctx, namedClient(name, key)) }
		update := func(name, key string) error {
			got, err := store.update(ctx, namedClient(name, key))
			if err == nil && got.Keys[0] != limiter.DigestKey([]byte(key)) {
				t.Errorf("update of %s returned another key", name)
			}
			return err
		}
		for i, step := range []struct{ got, want error }{
			{insert("a", "first"), nil},
			{insert("b", "first"), errKeyTaken},
			{insert("a", "first"), errExists}, // and errKeyTaken, if it were another's
			{insert("b", "second"), nil},
			{insert("a", "second"), errExists},
			{update("b", "first"), errKeyTaken},
			{update("b", "second"), nil},
			{update("c", "first"), errNotFound},
			{update("a", "third"), nil},
			{update("b", "first"), nil},
			{insert("c", "second"), nil},
			{store.remove(ctx, limiter.ID{Name: "a"}), nil},
			{update("c", "third"), nil},
			{insert("a", "third"), errKeyTaken},
			{insert("a", "second"), nil},
		} {
			if !errors.Is(step.got, step.want) {
				t.Errorf("step %d: %v, want %v", i, step.got, step.want)
			}
		}
		kept := namedClient("b", "")
		kept.Keys[0] = limiter.KeyDigest{}
		if got, err := store.update(ctx, kept); err != nil || got.Keys[0] != limiter.DigestKey([]byte("first")) {
			t.Errorf("an update without key returned the key %x, %v", got.Keys[0], err)
		}
		if err := insert("d", "first"); !errors.Is(err, errKeyTaken) {
			t.Errorf("a key that was kept is free: %v", err)
		}
	})
}

// TestStorageScan checks where a scan begins and ends, and its order. The client it begins behind
// need not exist.
func TestStorageScan(t *testing.T) {
	eachStore(t, func(t *testing.T, cfg Config) {
		store := openStore(t, cfg)
		ids := []limiter.ID{
			addressID("0.0.0.0/0"), addressID("10.0.0.0/8"), addressID("10.0.0.0/32"), addressID("192.0.2.1/32"),
			addressID("::/0"), addressID("::1/128"), addressID("2001:db8::/32"), {Name: "Z"}, {Name: "a"}, {Name: "a.b"}, {Name: "b"},
		}
		for i, at := range rand.Perm(len(ids)) {
			c := namedClient("", fmt.Sprintf("the key %d", i))
			if c.ID = ids[at]; c.ID.Name == "" {
				c.Keys[0] = limiter.KeyDigest{}
			}
			if err := store.insert(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		for _, limit := range []int{0, 1, 3, 100} {
			for first, after := range map[int]limiter.ID{0: {}, 2: ids[1], 4: addressID("255.0.0.0/8"), 8: {Name: "Za"}, 9: ids[8], 11: ids[10]} {
				want := ids[first:]
				if limit > 0 {
					want = want[:min(limit, len(want))]
				}
				var got []limiter.ID
				err := store.scan(t.Context(), after, limit, func(c client) error {
					got = append(got, c.ID)
					return nil
				})
				if err != nil || !slices.Equal(got, want) {
					t.Errorf("behind %s, at most %d: %v, %v, want %v", after, limit, got, err, want)
				}
			}
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := store.scan(ended, limiter.ID{}, 0, func(client) error { return nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("a scan whose context has ended returned %v", err)
		}
	})
}

// TestStorageAtOnce has goroutines write and read concurrently. Each owns some clients, and all
// want the same keys.
func TestStorageAtOnce(t *testing.T) {
	eachStore(t, func(t *testing.T, cfg Config) {
		store, ctx := openStore(t, cfg), t.Context()
		const writers, rounds = 8, 20
		var all sync.WaitGroup
		for w := range writers {
			all.Go(func() {
				for i := range rounds {
					c := namedClient(fmt.Sprintf("c%d-%d", w, i%3), fmt.Sprintf("the key %d", i%5))
					err := store.insert(ctx, c)
					if err == nil {
						_, err = store.update(ctx, c)
					}
					if err == nil {
						err = store.remove(ctx, c.ID)
					}
					if err != nil && !errors.Is(err, errKeyTaken) {
						t.Errorf("%s: %v", c.ID, err)
					}
					last, keys := limiter.ID{}, map[limiter.KeyDigest]bool{}
					err = store.scan(ctx, limiter.ID{}, 0, func(c client) error {
						if c.ID.Name <= last.Name || keys[c.Keys[0]] {
							t.Errorf("%s comes behind %s, or with its key", c.ID, last)
						}
						last, keys[c.Keys[0]] = c.ID, true
						return nil
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		err := store.scan(ctx, limiter.ID{}, 0, func(c client) error {
			t.Errorf("%s is left", c.ID)
			return nil
		})
		if err := errors.Join(err, store.insert(ctx, namedClient("last", "the key 0"))); err != nil {
			t.Error(err)
		}
	})
}

// TestMemoryIsNotKept checks that the log warns of it, and that a second start finds no clients.
func TestMemoryIsNotKept(t *testing.T) {
	cfg := Config{Store: memoryStore}
	for range 2 {
		log, lim := &bytes.Buffer{}, testLimiter()
		service, err := Open(t.Context(), cfg, lim, keysAreRead, zerolog.New(log))
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(log.String(), "not kept"); n != 1 || lim.Registered() != 0 {
			t.Errorf("%d lines say that clients are not kept, and %d are there: %s", n, lim.Registered(), log)
		}
		base, stop := serve(t, service.Register, true)
		if got := send(t, "POST", base+collection, `{"ip_address":"10.0.0.1","capacity":1,"rate_per_second":1}`); got.status != http.StatusCreated {
			t.Errorf("got %d %s", got.status, got.body)
		}
		stop()
		if err := service.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestOpenRefusesStoredLimits(t *testing.T) {
	eachStore(t, func(t *testing.T, cfg Config) {
		store := openStore(t, cfg)
		// Thirty days are the most that a bucket may take to fill.
		if err := store.insert(t.Context(), client{Registration: registration("10.0.0.0/8", 1000, 1e-9)}); err != nil {
			t.Fatal(err)
		}
		u := &usecase{store: store, limiter: testLimiter()}
		if _, err := u.load(t.Context()); err == nil || !strings.Contains(err.Error(), "client 10.0.0.0/8: ") {
			t.Errorf("load returned %v", err)
		}
	})
}

func TestFileHeldByAnother(t *testing.T) {
	cfg := fileConfig(t)
	openStore(t, cfg)
	_, err := Open(t.Context(), cfg, testLimiter(), keysAreRead, zerolog.Nop())
	path := strings.TrimPrefix(cfg.Store, filePrefix)
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "another process holds") {
		t.Errorf("a second Open returned %v", err)
	}
}

func TestFileCannotBeOpened(t *testing.T) {
	dir := t.TempDir()
	garbage := filepath.Join(dir, "garbage.db")
	if err := os.WriteFile(garbage, []byte(strings.Repeat("not a database ", 4096)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{garbage, dir, filepath.Join(dir, "missing", "clients.db")} {
		_, err := Open(t.Context(), Config{Store: filePrefix + path}, testLimiter(), keysAreRead, zerolog.Nop())
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("Open of %s returned %v", path, err)
		}
	}
}

func TestFileMode(t *testing.T) {
	cfg := fileConfig(t)
	openStore(t, cfg)
	info, err := os.Stat(strings.TrimPrefix(cfg.Store, filePrefix))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the mode of the file is %o", info.Mode().Perm())
	}
}

// writeAndDieEnv makes this test binary create a client in the named file and kill itself.
const writeAndDieEnv = "CLIENTS_TEST_WRITE_AND_DIE"

func writeAndDie(path string) {
	store, err := openFile(path)
	if err == nil {
		err = store.insert(context.Background(), client{Registration: registration("10.0.0.1/32", 7, 1)})
	}
	if err == nil {
		err = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func TestFileSurvivesKill(t *testing.T) {
	cfg := fileConfig(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	child := exec.CommandContext(ctx, os.Args[0])
	child.Env = append(os.Environ(), writeAndDieEnv+"="+strings.TrimPrefix(cfg.Store, filePrefix))
	output, err := child.CombinedOutput()
	if status, ok := child.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		t.Fatalf("the child was not killed: %v\n%s", err, output)
	}
	a, _ := startAPI(t, cfg)
	a.limited("10.0.0.1", 7)
	if found := a.get("/10.0.0.1"); found.Capacity != 7 {
		t.Errorf("found %+v", found)
	}
}

func TestCallsAfterClose(t *testing.T) {
	eachStore(t, func(t *testing.T, cfg Config) {
		service, err := Open(t.Context(), cfg, testLimiter(), keysAreRead, zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}
		base, stop := serve(t, service.Register, true)
		defer stop()
		if err := service.Close(); err != nil {
			t.Fatal(err)
		}
		got := send(t, "POST", base+collection, `{"ip_address":"10.0.0.1","capacity":1,"rate_per_second":1}`)
		if got.status != http.StatusServiceUnavailable {
			t.Errorf("a call after Close is %d %s", got.status, got.body)
		}
	})
}

// BenchmarkLoad reads 100,000 clients from the store into the limiter. B/op must not include a
// slice of them.
func BenchmarkLoad(b *testing.B) {
	cfg := DefaultConfig()
	cfg.Store = filePrefix + filepath.Join(b.TempDir(), "clients.db")
	store := openStore(b, cfg)
	// In one transaction, because syncing each client would take minutes.
	err := store.(*file).db.Update(func(tx *bbolt.Tx) error {
		for i := range uint32(100_000) {
			addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
			c := client{Registration: registration(addr.String()+"/32", 100, 10)}
			if err := putRecord(tx, c); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	u := &usecase{store: store, limiter: testLimiter()}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := u.load(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
