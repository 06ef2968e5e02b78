package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"loadbalancer/limiter"
)

// stores are the openers of the stores that keep the contract.
var stores = map[string]func(t *testing.T, bounds Bounds) *opened{
	"memory":   openTestMemory,
	"file":     openTestFileStore,
	"postgres": openTestPostgres,
}

// opened is a store with what reads all of it. It is closed when the test ends.
type opened struct {
	Store
	t       *testing.T
	records func() Records
}

var testBounds = Bounds{MaxAge: time.Hour, MaxCount: 100}

// TestStore holds all stores to the contract.
func TestStore(t *testing.T) {
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			for what, test := range map[string]func(s *opened){
				"put and read":      testPut,
				"order":             testOrder,
				"pages":             testPages,
				"replace":           testReplace,
				"own writes":        testOwnWrites,
				"keys":              testKeys,
				"keys that pass on": testKeysPass,
				"delete":            testDelete,
				"plans":             testPlans,
				"plan users":        testPlanUsers,
				"refused":           testRefused,
				"versions":          testVersions,
				"at once":           testAtOnce,
				"audit":             testAudit,
				"aged audit":        testAgedAudit,
				"replies":           testReplies,
				"cancelled":         testCancelled,
			} {
				t.Run(what, func(t *testing.T) { test(open(t, testBounds)) })
			}
			t.Run("bounded audit", func(t *testing.T) { testBoundedAudit(open(t, Bounds{MaxAge: time.Hour, MaxCount: 3})) })
			t.Run("no audit", func(t *testing.T) { testNoAudit(open(t, Bounds{})) })
			t.Run("closed", func(t *testing.T) { testClosed(open(t, testBounds)) })
		})
	}
}

func openTestMemory(t *testing.T, bounds Bounds) *opened {
	m := OpenMemory(bounds)
	t.Cleanup(func() { m.Close() })
	return &opened{Store: m, t: t, records: func() Records { return m }}
}

func openTestFileStore(t *testing.T, bounds Bounds) *opened {
	f, err := OpenFile(filepath.Join(t.TempDir(), "clients.db"), bounds)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &opened{Store: f, t: t, records: func() Records { return f }}
}

// idOf parses an address, a range or a name.
func idOf(text string) limiter.ID {
	if IsName(text) {
		return limiter.ID{Name: text}
	}
	if addr, err := netip.ParseAddr(text); err == nil {
		return limiter.ID{Prefix: netip.PrefixFrom(addr, addr.BitLen())}
	}
	return limiter.ID{Prefix: netip.MustParsePrefix(text)}
}

// someTime is a time as a store keeps it, at a second.
func someTime(second int) time.Time {
	return time.Date(2026, 1, 2, 3, 4, second, 123_456_000, time.UTC)
}

func digestOf(key string) limiter.KeyDigest { return sha256.Sum256([]byte(key)) }

// testClient is a plain client; one with a name has a key, "key of NAME".
func testClient(id string, capacity int64) Client {
	c := Client{
		ID:        idOf(id),
		Own:       limiter.Terms{Limit: limiter.Limit{Capacity: capacity, RatePerSecond: 0.1}},
		CreatedAt: someTime(1),
		UpdatedAt: someTime(2),
	}
	if c.ID.Name != "" {
		c.Keys = []Key{{ID: "k1", Digest: digestOf("key of " + id), CreatedAt: someTime(1)}}
	}
	return c
}

// fullClient has every field. Its plan is "gold".
func fullClient(id string) Client {
	c := testClient(id, 999_999_999_999_999)
	c.Plan = "gold"
	c.Own.RatePerSecond = 1e9
	c.Own.MaxInFlight = 1_000_000_000
	c.Own.Shadow = true
	c.Own.Trial = limiter.Limit{Capacity: 3, RatePerSecond: 1.0 / 3}
	c.Labels = map[string]string{"b": "2", "a": "", `"quoted" \`: "<ü€𝄞\u2028>\n\t\x01", "longer": "x"}
	c.ExpiresAt = someTime(50)
	if c.ID.Name != "" {
		c.Keys = append(c.Keys, Key{ID: "k0", Digest: digestOf("more of " + id), CreatedAt: someTime(3), ExpiresAt: someTime(9)})
	}
	return c
}

func testPlan(name string, capacity int64) Plan {
	return Plan{
		Name:      name,
		Terms:     limiter.Terms{Limit: limiter.Limit{Capacity: capacity, RatePerSecond: 2.5}, MaxInFlight: 9},
		CreatedAt: someTime(4),
		UpdatedAt: someTime(5),
	}
}

// write fails the test if the write fails.
func (s *opened) write(decide func(tx Tx) error) Changes {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	changes, err := s.Write(ctx, decide)
	if err != nil {
		s.t.Fatal(err)
	}
	return changes
}

func (s *opened) put(clients ...Client) Changes {
	s.t.Helper()
	return s.write(func(tx Tx) error { return tx.Put(slices.Clone(clients)) })
}

func (s *opened) putPlan(p Plan) Changes {
	s.t.Helper()
	return s.write(func(tx Tx) error { return tx.PutPlan(p) })
}

// all returns all clients in order.
func (s *opened) all() []Client {
	s.t.Helper()
	all, err := s.records().Clients(limiter.ID{}, 1_000_000)
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// sameClients compares clients in every field but, where it is 0 in want, the version.
func sameClients(t *testing.T, got, want []Client) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d clients, want %d:\n%+v\n%+v", len(got), len(want), got, want)
	}
	for i := range want {
		w := want[i]
		if w.Version == 0 {
			w.Version = got[i].Version
		}
		if !got[i].Equal(&w) {
			t.Errorf("client %d:\ngot  %+v\nwant %+v", i, got[i], w)
		}
	}
}

func testPut(s *opened) {
	s.putPlan(testPlan("gold", 5))
	want := []Client{fullClient("10.0.0.0/8"), testClient("2001:db8::1", 1), fullClient("acme"), testClient("b@example.com", 2)}
	changes := s.put(want...)
	sameClients(s.t, changes.Clients, want)
	sameClients(s.t, s.all(), want)
	for _, w := range want {
		got, err := s.records().Client(w.ID)
		if w.Version = changes.Version; err != nil || !got.Equal(&w) {
			s.t.Errorf("got %+v, %v, want %+v", got, err, w)
		}
	}
	if _, err := s.records().Client(idOf("10.0.0.1")); !errors.Is(err, ErrNotFound) {
		s.t.Errorf("a client that does not exist: %v", err)
	}
}

// ordered are clients in the order of Records.Clients.
var ordered = []string{
	"0.0.0.0/0", "9.255.255.255", "10.0.0.0/8", "10.0.0.0/9", "10.0.0.0", "10.0.0.1", "255.255.255.255",
	"::/0", "::/1", "::1", "2001:db8::/32", "2001:db8::", "ffff::", "+", "-1", "0", "10", "@", "A", "Z", "Z1", "_", "a", "a-", "a.", "aa", "z",
}

func testOrder(s *opened) {
	var clients []Client
	for _, id := range ordered {
		clients = append(clients, testClient(id, 1))
	}
	shuffled := slices.Clone(clients)
	for i := range shuffled {
		j := (i * 7) % len(shuffled)
		shuffled[i], shuffled[j] = shuffled[j], shuffled[i]
	}
	s.put(shuffled...)
	sameClients(s.t, s.all(), clients)
}

func testPages(s *opened) {
	for _, id := range ordered {
		s.put(testClient(id, 1))
	}
	records := s.records()
	var after limiter.ID
	var got []string
	first := testClient("first", 1)
	for {
		page, err := records.Clients(after, 4)
		if err != nil {
			s.t.Fatal(err)
		}
		appended, err := records.AppendClients([]Client{first}, after, 4)
		if err != nil {
			s.t.Fatal(err)
		}
		sameClients(s.t, appended, append([]Client{first}, page...))
		if len(page) == 0 {
			break
		}
		for _, c := range page {
			got = append(got, c.ID.String())
		}
		after = page[len(page)-1].ID
	}
	if !slices.Equal(got, ordered) {
		s.t.Errorf("got %q, want %q", got, ordered)
	}
}

func testReplace(s *opened) {
	s.putPlan(testPlan("gold", 5))
	s.put(fullClient("acme"), fullClient("10.0.0.0/8"))
	want := []Client{testClient("10.0.0.0/8", 3), testClient("acme", 4)}
	want[1].Keys = []Key{{ID: "new", Digest: digestOf("new"), CreatedAt: someTime(7)}}
	want[0].CreatedAt = someTime(30)
	changes := s.put(want...)
	sameClients(s.t, s.all(), want)
	if got := s.all(); got[0].Version != changes.Version || got[1].Version != changes.Version {
		s.t.Errorf("the versions are %d and %d, want %d", got[0].Version, got[1].Version, changes.Version)
	}
	plan := Client{ID: idOf("10.0.0.0/8"), Plan: "gold", CreatedAt: someTime(1), UpdatedAt: someTime(1)} // no limit of its own
	s.put(plan)
	sameClients(s.t, s.all()[:1], []Client{plan})
}

func testOwnWrites(s *opened) {
	s.put(testClient("10.0.0.1", 1))
	changes := s.write(func(tx Tx) error {
		if err := tx.Put([]Client{testClient("10.0.0.2", 2), testClient("acme", 3)}); err != nil {
			return err
		}
		if err := tx.Delete([]limiter.ID{idOf("10.0.0.1")}); err != nil {
			return err
		}
		found, err := tx.Clients([]limiter.ID{idOf("10.0.0.1"), idOf("10.0.0.2"), idOf("acme"), idOf("other"), idOf("10.0.0.3")})
		if err != nil {
			return err
		}
		if len(found) != 2 || found[idOf("10.0.0.2")].Own.Capacity != 2 || found[idOf("acme")].Keys[0].Digest != digestOf("key of acme") {
			s.t.Errorf("found %+v", found)
		}
		if err := tx.Delete([]limiter.ID{idOf("acme")}); err != nil { // what this write has made
			return err
		}
		if err := tx.Put([]Client{testClient("10.0.0.1", 4)}); err != nil { // what it has deleted
			return err
		}
		if err := tx.PutPlan(testPlan("gold", 1)); err != nil {
			return err
		}
		p, err := tx.Plan("gold")
		if p.Terms.Capacity != 1 {
			s.t.Errorf("the plan is %+v", p)
		}
		return err
	})
	sameClients(s.t, s.all(), []Client{testClient("10.0.0.1", 4), testClient("10.0.0.2", 2)})
	if len(changes.Clients) != 2 || !slices.Equal(changes.Deleted, []limiter.ID{idOf("acme")}) || len(changes.Plans) != 1 {
		s.t.Errorf("the changes are %+v", changes)
	}
}

func testKeys(s *opened) {
	s.put(testClient("a", 1), testClient("b", 1))
	s.write(func(tx Tx) error {
		holders, err := tx.Holders([]limiter.KeyDigest{digestOf("key of a"), digestOf("key of b"), digestOf("none")})
		want := map[limiter.KeyDigest]limiter.ID{digestOf("key of a"): idOf("a"), digestOf("key of b"): idOf("b")}
		if !reflect.DeepEqual(holders, want) {
			s.t.Errorf("the holders are %v, want %v", holders, want)
		}
		return err
	})
	thief := testClient("c", 1)
	thief.Keys[0].Digest = digestOf("key of a")
	_, err := s.Write(s.t.Context(), func(tx Tx) error {
		if err := tx.Put([]Client{thief}); err != nil {
			return fmt.Errorf("put: %w", err)
		}
		return nil
	})
	if !errors.Is(err, ErrKeyTaken) {
		s.t.Errorf("a key of another client: %v", err)
	}
	sameClients(s.t, s.all(), []Client{testClient("a", 1), testClient("b", 1)})
}

// testKeysPass has two clients swap their keys, and a third take that of a deleted one.
func testKeysPass(s *opened) {
	a, b, c := testClient("a", 1), testClient("b", 1), testClient("c", 1)
	s.put(a, b, c)
	a.Keys, b.Keys = b.Keys, a.Keys
	s.put(a, b)
	sameClients(s.t, s.all(), []Client{a, b, c})
	d := testClient("d", 1)
	d.Keys = c.Keys
	s.write(func(tx Tx) error {
		if err := tx.Delete([]limiter.ID{c.ID}); err != nil {
			return err
		}
		return tx.Put([]Client{d})
	})
	sameClients(s.t, s.all(), []Client{a, b, d})
}

func testDelete(s *opened) {
	s.put(testClient("10.0.0.0/8", 1), testClient("10.0.0.0", 1), testClient("acme", 1))
	changes := s.write(func(tx Tx) error { return tx.Delete([]limiter.ID{idOf("10.0.0.0/8"), idOf("acme")}) })
	sameClients(s.t, s.all(), []Client{testClient("10.0.0.0", 1)})
	if want := []limiter.ID{idOf("10.0.0.0/8"), idOf("acme")}; !slices.Equal(changes.Deleted, want) {
		s.t.Errorf("deleted %v, want %v", changes.Deleted, want)
	}
	s.put(testClient("acme", 2)) // its key is free again
	sameClients(s.t, s.all(), []Client{testClient("10.0.0.0", 1), testClient("acme", 2)})
}

func testPlans(s *opened) {
	s.putPlan(testPlan("silver", 1))
	changes := s.putPlan(testPlan("gold", 2))
	s.putPlan(testPlan("silver", 3))
	plans, err := s.records().Plans()
	if err != nil || len(plans) != 2 || plans[0].Name != "gold" || plans[1].Terms.Capacity != 3 {
		s.t.Fatalf("the plans are %+v, %v", plans, err)
	}
	want := testPlan("gold", 2)
	want.Version = changes.Version
	if plans[0] != want {
		s.t.Errorf("got %+v, want %+v", plans[0], want)
	}
	changes = s.write(func(tx Tx) error {
		if _, err := tx.Plan("bronze"); !errors.Is(err, ErrNotFound) {
			s.t.Errorf("a plan that does not exist: %v", err)
		}
		return tx.DeletePlan("gold")
	})
	if !slices.Equal(changes.DeletedPlans, []string{"gold"}) {
		s.t.Errorf("the changes are %+v", changes)
	}
	if _, err := s.records().Plan("gold"); !errors.Is(err, ErrNotFound) {
		s.t.Errorf("a plan that was deleted: %v", err)
	}
	if p, err := s.records().Plan("silver"); err != nil || p.Terms.Capacity != 3 {
		s.t.Errorf("got %+v, %v", p, err)
	}
}

func testPlanUsers(s *opened) {
	s.putPlan(testPlan("gold", 2))
	own, plain, named := testClient("10.0.0.1", 1), testClient("10.0.0.2", 0), testClient("acme", 0)
	own.Plan, plain.Plan, named.Plan = "gold", "gold", "gold"
	plain.Own.Limit, named.Own.Limit = limiter.Limit{}, limiter.Limit{RatePerSecond: 2}
	s.put(own, plain, named, testClient("10.0.0.3", 1))
	s.write(func(tx Tx) error {
		users, err := tx.PlanUsers("gold")
		if users != 3 || err != nil {
			s.t.Errorf("%d users, %v", users, err)
		}
		overriding, err := tx.Overriding("gold")
		sameClients(s.t, overriding, []Client{own, named})
		return err
	})
}

// testRefused has decide write and then refuse.
func testRefused(s *opened) {
	before := s.put(testClient("10.0.0.1", 1))
	refusal := errors.New("refused")
	_, err := s.Write(s.t.Context(), func(tx Tx) error {
		if err := tx.Put([]Client{testClient("10.0.0.1", 2), testClient("acme", 2)}); err != nil {
			return err
		}
		if err := tx.Note(Entry{At: Now(), Action: "create"}); err != nil {
			return err
		}
		return refusal
	})
	if err != refusal { //nolint:errorlint // it is returned as it is
		s.t.Errorf("got %v", err)
	}
	sameClients(s.t, s.all(), []Client{testClient("10.0.0.1", 1)})
	if entries, err := s.Audit(s.t.Context(), 0, 9); len(entries) > 0 || err != nil {
		s.t.Errorf("the audit has %+v, %v", entries, err)
	}
	if at := s.records().Position(); at != before.Position {
		s.t.Errorf("at %v, want %v", at, before.Position)
	}
}

func testVersions(s *opened) {
	history := s.records().Position().History
	if history == "" {
		s.t.Error("no history")
	}
	var last int64
	for i := range int64(5) {
		changes := s.put(testClient("10.0.0.1", i+1), testClient("acme", i+1))
		if changes.Version <= last || changes.History != history {
			s.t.Errorf("at %+v after %d of %s", changes.Position, last, history)
		}
		last = changes.Version
		for _, c := range append(s.all(), changes.Clients...) {
			if c.Version != last {
				s.t.Errorf("%s has the version %d, want %d", c.ID, c.Version, last)
			}
		}
	}
	if at := s.records().Position(); at != (Position{history, last}) {
		s.t.Errorf("at %+v", at)
	}
}

// testAtOnce has writers each add to one number.
func testAtOnce(s *opened) {
	s.put(testClient("10.0.0.1", 1))
	const writers, each = 4, 10
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				_, err := s.Write(s.t.Context(), func(tx Tx) error {
					found, err := tx.Clients([]limiter.ID{idOf("10.0.0.1")})
					if err != nil {
						return err
					}
					return tx.Put([]Client{testClient("10.0.0.1", found[idOf("10.0.0.1")].Own.Capacity+1)})
				})
				if err != nil {
					s.t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	sameClients(s.t, s.all(), []Client{testClient("10.0.0.1", 1+writers*each)})
}

func testAudit(s *opened) {
	want := []Entry{
		{Who: "ci", From: "10.0.0.9", Action: "create", Target: "acme", After: []byte(`{"name": "acme", "a":1}`)},
		{Who: "local", From: "127.0.0.1", Action: "delete", Target: "plan gold", Before: []byte(`{"z":1,"a":2}`)},
		{Who: "local", Action: "change", Before: []byte(`1`), After: []byte(`2`)},
	}
	for i := range want {
		want[i].At = Now()
		s.write(func(tx Tx) error { return tx.Note(want[i]) })
	}
	first, err := s.Audit(s.t.Context(), 0, 2)
	if err != nil || len(first) != 2 {
		s.t.Fatalf("got %+v, %v", first, err)
	}
	second, err := s.Audit(s.t.Context(), first[1].ID, 2)
	if err != nil || len(second) != 1 {
		s.t.Fatalf("got %+v, %v", second, err)
	}
	for i, got := range append(first, second...) {
		want := want[len(want)-1-i]
		want.ID = got.ID
		if !reflect.DeepEqual(got, want) {
			s.t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if first[0].ID <= first[1].ID || first[1].ID <= second[0].ID {
		s.t.Error("the IDs do not grow")
	}
}

func testBoundedAudit(s *opened) {
	for i := range 5 {
		s.write(func(tx Tx) error { return tx.Note(Entry{At: Now(), Target: fmt.Sprint(i)}) })
	}
	entries, err := s.Audit(s.t.Context(), 0, 9)
	if err != nil || len(entries) != 3 || entries[0].Target != "4" || entries[2].Target != "2" {
		s.t.Errorf("got %+v, %v", entries, err)
	}
}

func testAgedAudit(s *opened) {
	s.write(func(tx Tx) error { return tx.Note(Entry{At: Now().Add(-2 * testBounds.MaxAge), Target: "old"}) })
	s.write(func(tx Tx) error { return tx.Note(Entry{At: Now(), Target: "new"}) })
	if entries, err := s.Audit(s.t.Context(), 0, 9); err != nil || len(entries) != 1 || entries[0].Target != "new" {
		s.t.Errorf("got %+v, %v", entries, err)
	}
}

func testNoAudit(s *opened) {
	s.write(func(tx Tx) error { return tx.Note(Entry{At: Now()}) })
	if entries, err := s.Audit(s.t.Context(), 0, 9); len(entries) > 0 || err != nil {
		s.t.Errorf("got %+v, %v", entries, err)
	}
}

func testReplies(s *opened) {
	fresh := Reply{Key: "fresh", Digest: digestOf("x"), Status: 201, Body: []byte("{\"a\":\x00\xff}"), At: Now()}
	old := Reply{Key: "old", Status: 409, Body: []byte("b"), At: Now().Add(-ReplyAge)}
	again := Reply{Key: "again", Status: 200, Body: []byte("first"), At: Now()}
	s.write(func(tx Tx) error {
		return errors.Join(tx.Remember(old), tx.Remember(fresh), tx.Remember(again))
	})
	again.Body = []byte("second")
	s.write(func(tx Tx) error { return tx.Remember(again) })
	s.write(func(tx Tx) error {
		for _, want := range []Reply{fresh, again} {
			if got, found, err := tx.Reply(want.Key); !reflect.DeepEqual(got, want) || !found || err != nil {
				s.t.Errorf("got %+v, %v, %v, want %+v", got, found, err, want)
			}
		}
		for _, key := range []string{"old", "none"} {
			if _, found, err := tx.Reply(key); found || err != nil {
				s.t.Errorf("%s: %v, %v", key, found, err)
			}
		}
		return nil
	})
}

func testCancelled(s *opened) {
	ctx, cancel := context.WithCancel(s.t.Context())
	cancel()
	_, err := s.Write(ctx, func(tx Tx) error { return tx.Put([]Client{testClient("10.0.0.1", 1)}) })
	if err == nil || errors.Is(err, ErrUnknown) {
		s.t.Errorf("got %v", err)
	}
	sameClients(s.t, s.all(), nil)
}

func testClosed(s *opened) {
	if err := s.Close(); err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.Write(s.t.Context(), func(Tx) error { return nil }); !errors.Is(err, ErrClosed) {
		s.t.Errorf("a write: %v", err)
	}
	if _, err := s.Audit(s.t.Context(), 0, 1); !errors.Is(err, ErrClosed) {
		s.t.Errorf("the audit: %v", err)
	}
}
