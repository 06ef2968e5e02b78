package store

import (
	"context"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"loadbalancer/clients/store/pgtest"
)

func openTestPostgres(t *testing.T, bounds Bounds) *opened {
	p := openPostgresURL(t, pgtest.NewSchema(t), bounds)
	return &opened{Store: p, t: t, records: func() Records { return loadAll(t, p) }}
}

// openPostgresURL prepares the database. The store is closed when the test ends.
func openPostgresURL(t testing.TB, url string, bounds Bounds) *Postgres {
	t.Helper()
	p, err := OpenPostgres(PostgresConfig{URL: url, Bounds: bounds}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	if err := p.Prepare(within(t)); err != nil {
		t.Fatal(err)
	}
	return p
}

// within returns a context for a call that ends in the time of a test.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// loadAll returns all of the database, which must have no bad rows and the checksum of its records.
func loadAll(t testing.TB, p *Postgres) *Memory {
	t.Helper()
	m, bad := loadSome(t, p)
	for _, b := range bad {
		t.Errorf("%s is bad: %v", b.ID, b.Err)
	}
	return m
}

// testSink collects what is loaded.
type testSink struct {
	all *Changes
	sum *Sum
}

func (s *testSink) Begin(at Position, plans []Plan) error {
	s.all.Position, s.all.Plans = at, plans
	for i := range plans {
		s.sum.AddPlan(&plans[i])
	}
	return nil
}

func (s *testSink) Client(c Client) error {
	s.all.Clients = append(s.all.Clients, c)
	s.sum.Add(&c)
	return nil
}

func (s *testSink) Bad(b Bad) {
	s.all.Bad = append(s.all.Bad, b)
	s.sum.AddBad(&b)
}

// loadSome also returns the bad rows.
func loadSome(t testing.TB, p *Postgres) (*Memory, []Bad) {
	t.Helper()
	var all Changes
	var sum Sum
	if err := p.Load(within(t), &testSink{&all, &sum}); err != nil {
		t.Fatal(err)
	}
	at := all.Position
	checkedAt, checked, err := p.Checksum(within(t))
	if err != nil || checkedAt != at || checked != sum {
		t.Errorf("the sum is %x at %v, %v; that of the records is %x at %v", checked, checkedAt, err, sum, at)
	}
	m := OpenMemory(Bounds{})
	m.Apply(all)
	return m, all.Bad
}
