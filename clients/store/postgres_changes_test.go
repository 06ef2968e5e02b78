package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"loadbalancer/clients/store/pgtest"
	"loadbalancer/limiter"
)

// follower keeps a copy by deltas alone.
type follower struct {
	t     *testing.T
	store *Postgres
	copy  *Memory
}

func follow(t *testing.T, p *Postgres) *follower {
	return &follower{t, p, loadAll(t, p)}
}

// changes applies what was changed and returns it, once it is sure that the copy is what is in the
// database.
func (f *follower) changes() Changes {
	f.t.Helper()
	changes, err := f.store.Changes(within(f.t), f.copy.Position())
	if err != nil {
		f.t.Fatal(err)
	}
	f.copy.Apply(changes)
	for _, b := range changes.Bad {
		f.t.Errorf("%s is bad: %v", b.ID, b.Err)
	}
	f.same()
	return changes
}

func (f *follower) same() {
	f.t.Helper()
	want := loadAll(f.t, f.store)
	if f.copy.Position() != want.Position() {
		f.t.Errorf("at %v, want %v", f.copy.Position(), want.Position())
	}
	all := func(m *Memory) []Client { page, _ := m.Clients(limiter.ID{}, 1_000_000); return page }
	sameClients(f.t, all(f.copy), all(want))
	got, _ := f.copy.Plans()
	plans, _ := want.Plans()
	if !slices.Equal(got, plans) {
		f.t.Errorf("the plans are %v, want %v", got, plans)
	}
}

// names are the clients and plans of changes.
func (c *Changes) names() string {
	var changed, deleted, plans []string
	for _, one := range c.Clients {
		changed = append(changed, one.ID.String())
	}
	for _, id := range c.Deleted {
		deleted = append(deleted, id.String())
	}
	for _, p := range c.Plans {
		plans = append(plans, p.Name)
	}
	slices.Sort(deleted)
	return fmt.Sprint(changed, deleted, plans, c.DeletedPlans)
}

// TestChangesByHand has a person change everything with psql: each change is one version, and the
// deltas tell the rows.
func TestChangesByHand(t *testing.T) {
	url := pgtest.NewSchema(t)
	p := openPostgresURL(t, url, testBounds)
	f := follow(t, p)
	for _, step := range []struct{ statements, want string }{
		{"INSERT INTO clients (ip_address, capacity, rate_per_second) VALUES ('10.0.0.0/8', 7, 1), ('10.0.0.1', 8, 1)", "[10.0.0.0/8 10.0.0.1] [] [] []"},
		{"UPDATE clients SET capacity = 9 WHERE ip_address = '10.0.0.1'", "[10.0.0.1] [] [] []"},
		{"UPDATE clients SET ip_address = '10.0.0.2' WHERE ip_address = '10.0.0.1'", "[10.0.0.2] [10.0.0.1] [] []"},
		{"DELETE FROM clients WHERE ip_address = '10.0.0.2'", "[] [10.0.0.2] [] []"},
		{"INSERT INTO clients (name, api_key_sha256, capacity, rate_per_second) VALUES ('acme', sha256('x'), 7, 1)", "[acme] [] [] []"},
		{"UPDATE clients SET api_key_sha256 = sha256('y') WHERE name = 'acme'", "[acme] [] [] []"},
		{"INSERT INTO client_keys (name, sha256) VALUES ('acme', sha256('z'))", "[acme] [] [] []"},
		{"UPDATE client_keys SET expires_at = now() WHERE sha256 = sha256('z')", "[acme] [] [] []"},
		{"DELETE FROM client_keys WHERE sha256 = sha256('y')", "[acme] [] [] []"},
		{"UPDATE clients SET name = 'bolt' WHERE name = 'acme'", "[bolt] [acme] [] []"},
		{"INSERT INTO plans (name, capacity, rate_per_second) VALUES ('gold', 7, 1)", "[] [] [gold] []"},
		{"UPDATE clients SET plan = 'gold', capacity = NULL, rate_per_second = NULL WHERE name = 'bolt'", "[bolt] [] [] []"},
		{"UPDATE plans SET capacity = 8 WHERE name = 'gold'", "[] [] [gold] []"},
		{"UPDATE plans SET name = 'silver' WHERE name = 'gold'", "[bolt] [] [silver] [gold]"},
		{"DELETE FROM clients WHERE name = 'bolt'", "[] [bolt] [] []"},
		{"DELETE FROM plans", "[] [] [] [silver]"},
		{"BEGIN; DELETE FROM clients; INSERT INTO clients (ip_address, capacity, rate_per_second) VALUES ('10.0.0.0/8', 5, 1); COMMIT", "[10.0.0.0/8] [] [] []"},
		{"BEGIN; UPDATE clients SET capacity = 1; SAVEPOINT s; DELETE FROM clients; ROLLBACK TO s; UPDATE clients SET shadow = true; COMMIT", "[10.0.0.0/8] [] [] []"},
		{"BEGIN; SAVEPOINT s; UPDATE clients SET capacity = 2; ROLLBACK TO s; INSERT INTO plans (name, capacity, rate_per_second) VALUES ('p', 7, 1); COMMIT", "[] [] [p] []"},
		{"INSERT INTO clients (ip_address, capacity, rate_per_second) VALUES ('10.0.0.0/8', 3, 1) ON CONFLICT (ip_address) DO UPDATE SET capacity = excluded.capacity", "[10.0.0.0/8] [] [] []"},
		{`UPDATE clients SET labels = '{"a": "b"}', expires_at = '2030-01-01'`, "[10.0.0.0/8] [] [] []"},
	} {
		before := f.copy.Position().Version
		pgtest.Exec(t, url, step.statements)
		changes := f.changes()
		if got := changes.names(); got != step.want || changes.Version != before+1 {
			t.Errorf("%s: %s at %d after %d, want %s", step.statements, got, changes.Version, before, step.want)
		}
	}
	before := f.copy.Position()
	pgtest.Exec(t, url, "BEGIN; UPDATE clients SET capacity = 1; ROLLBACK")
	if changes := f.changes(); changes.Position != before || changes.names() != "[] [] [] []" {
		t.Errorf("a change that was rolled back: %+v", changes)
	}
}

// TestShortFormOfKeys has the column of the client hold its newest key, and a new value be its only
// one.
func TestShortFormOfKeys(t *testing.T) {
	url := pgtest.NewSchema(t)
	p := openPostgresURL(t, url, testBounds)
	s := &opened{Store: p, t: t, records: func() Records { return loadAll(t, p) }}
	c := testClient("acme", 1)
	c.Keys = append(c.Keys, Key{ID: "k2", Digest: digestOf("second"), CreatedAt: someTime(5)})
	s.put(c)
	keys := func() (keys []limiter.KeyDigest) {
		for _, k := range s.all()[0].Keys {
			keys = append(keys, k.Digest)
		}
		return keys
	}
	newest := func(key string) {
		t.Helper()
		pgtest.Exec(t, url, "DO $$ BEGIN ASSERT (SELECT api_key_sha256 FROM clients) = sha256('"+key+"'); END $$")
	}
	newest("second")
	// As an instance of an earlier version writes a client whose key is not changed.
	pgtest.Exec(t, url, "UPDATE clients SET api_key_sha256 = coalesce(NULL, api_key_sha256), capacity = 5")
	if got := keys(); len(got) != 2 {
		t.Errorf("the keys are %x", got)
	}
	pgtest.Exec(t, url, "INSERT INTO client_keys (name, id, sha256) VALUES ('acme', 'k3', sha256('third'))")
	newest("third")
	pgtest.Exec(t, url, "DELETE FROM client_keys WHERE id = 'k3'")
	newest("second")
	pgtest.Exec(t, url, "UPDATE clients SET api_key_sha256 = sha256('key of acme')") // the older one
	if got := keys(); !slices.Equal(got, []limiter.KeyDigest{digestOf("key of acme")}) {
		t.Errorf("the keys are %x", got)
	}
	newest("key of acme")
}

// TestTooOld has positions from which no delta leads on.
func TestTooOld(t *testing.T) {
	url := pgtest.NewSchema(t)
	p := openPostgresURL(t, url, testBounds)
	s := &opened{Store: p, t: t}
	tooOld := func(what string, since Position) {
		t.Helper()
		if changes, err := p.Changes(within(t), since); !errors.Is(err, ErrTooOld) {
			t.Errorf("%s: got %+v, %v", what, changes, err)
		}
	}
	at := s.put(testClient("10.0.0.1", 1), testClient("acme", 1)).Position
	tooOld("another history", Position{History: "other", Version: at.Version})
	tooOld("the future, as after a restore", Position{History: at.History, Version: at.Version + 1})

	pgtest.Exec(t, url, "TRUNCATE clients CASCADE")
	tooOld("TRUNCATE", at)
	at = s.put(testClient("acme", 1)).Position
	pgtest.Exec(t, url, "INSERT INTO clients (ip_address, capacity, rate_per_second) "+
		"SELECT ('10.0.0.0'::inet + n)::cidr, 1, 1 FROM generate_series(0, 100000) n")
	tooOld("more changes than are read at once", at)
	pgtest.Exec(t, url, "TRUNCATE clients CASCADE")
	at = s.put(testClient("10.0.0.1", 1), testClient("acme", 1)).Position
	s.write(func(tx Tx) error { return tx.Delete([]limiter.ID{idOf("acme")}) })
	if err := p.Prune(within(t)); err != nil {
		t.Fatal(err)
	}
	if changes, err := p.Changes(within(t), at); err != nil || changes.names() != "[] [acme] [] []" {
		t.Errorf("got %+v, %v", changes, err)
	}
	pgtest.Exec(t, url, "UPDATE clients_deleted SET deleted_at = now() - interval '25 hours'")
	if err := p.Prune(within(t)); err != nil {
		t.Fatal(err)
	}
	tooOld("a pruned deletion", at)
	if _, err := p.Changes(within(t), loadAll(t, p).Position()); err != nil {
		t.Error(err)
	}
}

// TestChecksumFindsSilentChanges has changes that no trigger sees.
func TestChecksumFindsSilentChanges(t *testing.T) {
	url := pgtest.NewSchema(t)
	p := openPostgresURL(t, url, testBounds)
	s := &opened{Store: p, t: t}
	s.putPlan(testPlan("gold", 1))
	s.put(fullClient("10.0.0.0/8"), fullClient("acme"))
	at, before, err := p.Checksum(within(t))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[Sum]string{before: "before"}
	for _, change := range []string{
		"UPDATE clients SET capacity = 5 WHERE name IS NULL", "UPDATE clients SET shadow = NOT shadow", "UPDATE clients SET labels = NULL",
		"UPDATE clients SET updated_at = updated_at + interval '1 microsecond'", "UPDATE clients SET name = 'bolt' WHERE name = 'acme'",
		"UPDATE client_keys SET expires_at = NULL", "DELETE FROM client_keys WHERE id = 'k1'", "UPDATE plans SET rate_per_second = 7", "DELETE FROM clients",
	} {
		pgtest.Exec(t, url, "SET session_replication_role = replica; "+change)
		now, sum, err := p.Checksum(within(t))
		if err != nil || now != at {
			t.Errorf("%s: at %v, %v", change, now, err)
		}
		if same, found := seen[sum]; found {
			t.Errorf("%s: the sum is that of %s", change, same)
		}
		seen[sum] = change
	}
}

// TestVersionsHaveNoGaps has writers of all kinds at once, of whom some give up, and a reader who
// must find each version whole: what it has followed by deltas is what is there.
func TestVersionsHaveNoGaps(t *testing.T) {
	url := pgtest.NewSchema(t)
	p := openPostgresURL(t, url, testBounds)
	f := follow(t, p)
	ctx, cancel := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	for w := range 3 {
		writers.Go(func() {
			byHand, err := pgx.Connect(t.Context(), url)
			if err != nil {
				t.Error(err)
				return
			}
			defer byHand.Close(context.Background())
			for i := 0; ctx.Err() == nil && i < 60; i++ {
				id := fmt.Sprintf("10.0.%d.%d", w, i%7)
				_, err := p.Write(t.Context(), func(tx Tx) error {
					if i%5 == 4 {
						return tx.Delete([]limiter.ID{idOf(id)})
					}
					return tx.Put([]Client{testClient(id, int64(i+1))})
				})
				if err != nil {
					t.Error(err)
				}
				end := map[bool]string{true: "COMMIT", false: "ROLLBACK"}[i%3 > 0]
				_, err = byHand.Exec(t.Context(), fmt.Sprintf("BEGIN; UPDATE clients SET capacity = capacity + 1 WHERE ip_address <<= '10.0.%d.0/24'; %s", (w+1)%3, end))
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { writers.Wait(); close(done) }()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		changes, err := p.Changes(within(t), f.copy.Position())
		if err != nil {
			t.Error(err)
			break
		}
		f.copy.Apply(changes)
	}
	cancel()
	<-done
	f.changes()
}

// TestManyWriters has writers on three instances each add to one number: nothing is lost.
func TestManyWriters(t *testing.T) {
	url := pgtest.NewSchema(t)
	const instances, writers = 3, 100
	var stores [instances]*Postgres
	for i := range stores {
		stores[i] = openPostgresURL(t, url, testBounds)
	}
	(&opened{Store: stores[0], t: t}).put(testClient("10.0.0.1", 1))
	var versions [instances][writers]int64
	var running sync.WaitGroup
	for i, p := range stores {
		for w := range writers {
			running.Go(func() {
				changes, err := p.Write(within(t), func(tx Tx) error {
					found, err := tx.Clients([]limiter.ID{idOf("10.0.0.1")})
					if err != nil {
						return err
					}
					return tx.Put([]Client{testClient("10.0.0.1", found[idOf("10.0.0.1")].Own.Capacity+1)})
				})
				if err != nil {
					t.Error(err)
				}
				versions[i][w] = changes.Version
			})
		}
	}
	running.Wait()
	if got := capacityOf(t, stores[1]); got != 1+instances*writers {
		t.Errorf("the number is %d, want %d", got, 1+instances*writers)
	}
	seen := map[int64]bool{}
	for _, of := range versions {
		for _, version := range of {
			seen[version] = true
		}
	}
	if len(seen) != instances*writers {
		t.Errorf("%d writes have %d versions", instances*writers, len(seen))
	}
}

// TestListen has a change by hand arrive, and one by another instance.
func TestListen(t *testing.T) {
	url := pgtest.NewDatabase(t) // notifications are those of a database
	p := openPostgresURL(t, url, testBounds)
	l, err := p.Listen(within(t))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if hears, err := l.Hears(within(t)); !hears || err != nil {
		t.Fatalf("hears: %v, %v", hears, err)
	}
	other := openPostgresURL(t, url, testBounds)
	for what, change := range map[string]func(){
		"by hand": func() {
			pgtest.Exec(t, url, "INSERT INTO clients (ip_address, capacity, rate_per_second) VALUES ('10.0.0.1', 1, 1)")
		},
		"by another instance": func() { (&opened{Store: other, t: t}).put(testClient("10.0.0.2", 1)) },
	} {
		change()
		if err := l.Ping(within(t)); err != nil { // what arrives meanwhile is not lost
			t.Error(what, err)
		}
		if err := l.Wait(within(t)); err != nil {
			t.Error(what, err)
		}
	}
	short, cancel := context.WithTimeout(t.Context(), 1)
	defer cancel()
	if err := l.Wait(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without a change: %v", err)
	}
	if err := l.Ping(within(t)); err != nil {
		t.Errorf("after a wait that ended: %v", err)
	}
	if hears, err := l.Hears(within(t)); !hears || err != nil {
		t.Errorf("hears: %v, %v", hears, err)
	}
}
