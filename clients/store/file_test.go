package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"loadbalancer/limiter"
)

func openTestFile(t testing.TB, path string) *File {
	t.Helper()
	f, err := OpenFile(path, testBounds)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil && !errors.Is(err, ErrDamaged) {
			t.Error(err)
		}
	})
	return f
}

func writeTo(t testing.TB, s Store, decide func(Tx) error) Changes {
	t.Helper()
	changes, err := s.Write(context.Background(), decide)
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

func put(t testing.TB, s Store, clients ...Client) {
	t.Helper()
	writeTo(t, s, func(tx Tx) error { return tx.Put(clients) })
}

// numbered returns a client with something in every field; each number is another one. Every
// third has an address, and no keys.
func numbered(n int) Client {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678000, time.UTC)
	c := Client{
		Plan:      []string{"", "gold"}[n%2],
		Own:       limiter.Terms{Limit: limiter.Limit{Capacity: int64(n + 1), RatePerSecond: 0.1 * float64(n+1)}},
		ExpiresAt: at.Add(time.Duration(n) * time.Hour),
		Labels:    map[string]string{"region": fmt.Sprint("eu-", n), "tier": ""},
		CreatedAt: at,
		UpdatedAt: at.Add(time.Microsecond),
	}
	if n%3 == 0 {
		addr := netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
		c.ID.Prefix, c.ExpiresAt = netip.PrefixFrom(addr, 32), time.Time{}
		return c
	}
	c.ID.Name = fmt.Sprintf("customer-%d", n)
	c.Own.Shadow, c.Own.MaxInFlight, c.Own.Trial = n%3 == 1, int64(n), limiter.Limit{Capacity: 1, RatePerSecond: 2}
	c.Keys = []Key{{ID: "1", Digest: testDigest(n), CreatedAt: at, ExpiresAt: at.Add(time.Hour)}, {ID: "2", Digest: testDigest(-n), CreatedAt: at}}
	return c
}

func testDigest(n int) limiter.KeyDigest {
	return limiter.DigestKey([]byte(fmt.Sprint("the key ", n)))
}

func testClients(n int) (all []Client) {
	for i := range n {
		all = append(all, numbered(i))
	}
	return all
}

// all returns all clients of the records, read by pages.
func all(t testing.TB, r Records) (clients []Client, err error) {
	t.Helper()
	for after := (limiter.ID{}); ; after = clients[len(clients)-1].ID {
		page, err := r.Clients(after, 100)
		if err != nil || len(page) == 0 {
			return clients, err
		}
		clients = append(clients, page...)
	}
}

func TestFileKeepsAll(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clients.db")
	f := openTestFile(t, path)
	plan := Plan{Name: "gold", Terms: numbered(1).Own, CreatedAt: Now(), UpdatedAt: Now()}
	reply := Reply{Key: "k", Digest: [32]byte{1, 2}, Status: 201, Body: []byte("{}"), At: Now()}
	entry := Entry{At: Now(), Who: "ci", From: "::1", Action: "create", Target: "x", After: []byte(`{"a":1}`)}
	wanted := testClients(1000)
	rand.Shuffle(len(wanted), func(i, j int) { wanted[i], wanted[j] = wanted[j], wanted[i] })
	writeTo(t, f, func(tx Tx) error {
		return errors.Join(tx.Put(wanted), tx.PutPlan(plan), tx.Remember(reply), tx.Note(entry))
	})
	position := f.Position()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f = openTestFile(t, path)
	if f.Position() != position || position.Version != 1 {
		t.Errorf("the position is %v, want %v", f.Position(), position)
	}
	for i := range wanted {
		if got, err := f.Client(wanted[i].ID); err != nil || !got.Equal(&wanted[i]) || got.Version != 1 {
			t.Fatalf("got %+v, %v, want %+v", got, err, wanted[i])
		}
	}
	if got, err := all(t, f); err != nil || len(got) != len(wanted) {
		t.Errorf("%d clients, %v", len(got), err)
	}
	plan.Version = 1
	if got, err := f.Plan("gold"); err != nil || got != plan {
		t.Errorf("got %+v, %v, want %+v", got, err, plan)
	}
	entries, err := f.Audit(t.Context(), 0, 10)
	if err != nil || len(entries) != 1 || string(entries[0].After) != string(entry.After) || entries[0].Before != nil || entries[0].Who != "ci" {
		t.Errorf("the audit is %+v, %v", entries, err)
	}
	writeTo(t, f, func(tx Tx) error {
		if got, found, err := tx.Reply("k"); err != nil || !found || string(got.Body) != "{}" || got.Digest != reply.Digest || !got.At.Equal(reply.At) {
			t.Errorf("the reply is %+v, %v, %v", got, found, err)
		}
		return nil
	})
}

// TestFileOfRandomWrites compares the file with the store in memory, and opens it anew now and then.
func TestFileOfRandomWrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clients.db")
	f, m := openTestFile(t, path), OpenMemory(testBounds)
	for round := range 200 {
		n := rand.IntN(20)
		var clients []Client
		var deleted []limiter.ID
		for range n {
			c := numbered(rand.IntN(60))
			if len(c.Keys) > 0 && rand.IntN(2) == 0 {
				c.Keys = c.Keys[:1]
				c.Keys[0].Digest = testDigest(rand.IntN(60))
			}
			clients = append(clients, c)
		}
		seen := map[limiter.ID]bool{}
		clients = deleteRepeated(clients, seen)
		for range rand.IntN(5) {
			deleted = append(deleted, numbered(rand.IntN(60)).ID)
		}
		decide := func(tx Tx) error {
			return errorsFirst(tx.Put(append([]Client(nil), clients...)), tx.Delete(deleted), tx.Note(Entry{At: Now(), Target: fmt.Sprint(round)}))
		}
		_, fileErr := f.Write(t.Context(), decide)
		_, memoryErr := m.Write(t.Context(), decide)
		if !errors.Is(fileErr, memoryErr) {
			t.Fatalf("round %d: %v, want %v", round, fileErr, memoryErr)
		}
		if round%20 == 0 {
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			f = openTestFile(t, path)
		}
		sameRecords(t, f, m)
	}
	got, _ := f.Audit(t.Context(), 0, 1000)
	want, _ := m.Audit(t.Context(), 0, 1000)
	if len(got) != len(want) || got[0].Target != want[0].Target || got[len(got)-1].ID != want[len(want)-1].ID {
		t.Errorf("the audit has %d entries, want %d", len(got), len(want))
	}
	if page, err := f.Audit(t.Context(), got[3].ID, 2); err != nil || len(page) != 2 || page[0].ID != got[4].ID {
		t.Errorf("the page behind %d is %v, %v", got[3].ID, page, err)
	}
}

func deleteRepeated(clients []Client, seen map[limiter.ID]bool) (once []Client) {
	for _, c := range clients {
		if !seen[c.ID] {
			once = append(once, c)
		}
		seen[c.ID] = true
	}
	return once
}

func sameRecords(t *testing.T, got, want Records) {
	t.Helper()
	a, err := all(t, got)
	if err != nil {
		t.Fatal(err)
	}
	b, err := all(t, want)
	if err != nil {
		t.Fatal(err)
	}
	if len(a) != len(b) {
		t.Fatalf("%d clients, want %d", len(a), len(b))
	}
	for i := range a {
		if !a[i].Equal(&b[i]) {
			t.Fatalf("got %+v, want %+v", a[i], b[i])
		}
	}
}

func TestFileHeldByAnother(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clients.db")
	openTestFile(t, path)
	_, err := OpenFile(path, testBounds)
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "another process holds") {
		t.Errorf("a second open returned %v", err)
	}
}

func TestFileMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clients.db")
	openTestFile(t, path)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info, err)
	}
	names, _ := filepath.Glob(path + "*")
	if len(names) != 1 {
		t.Errorf("there are %q", names)
	}
}
