package clients

import (
	"context"
	"fmt"
	"time"

	"loadbalancer/clients/store"
	"loadbalancer/limiter"
)

// reload replaces all of the copy by what PostgreSQL has, and enforces the difference. f.applying
// is held. Readers of the copy see it as it was until all has come.
func (f *followed) reload(ctx context.Context) error {
	began, known := time.Now(), f.Loaded()
	// What a damaged copy had is not known; what was deleted meanwhile stays until the next start.
	r := &reloading{f: f, old: walk{records: f.Copy, ended: !known}, enough: manyDifferences}
	if !known {
		r.enough = fewDifferences
	}
	err := f.truth.Load(ctx, r)
	if err == nil {
		err = r.finish()
	}
	if err != nil {
		r.abort()
		return err
	}
	if known { // else the start says so
		f.log.Info().Int("clients", r.clients).Int64("version", f.Position().Version).Dur("took_ms", time.Since(began)).
			Msg("all clients loaded again")
	}
	return nil
}

// Differences are enforced when the copy has them, too, so that reads show what is enforced. Where
// there is nothing to read yet, or where there are too many to be kept, they are enforced as they
// come.
const (
	fewDifferences  = 1000
	manyDifferences = 100_000
)

// reloading is a store.Sink. It goes through the copy and what is loaded side by side, in their
// common order, and enforces what differs.
type reloading struct {
	f       *followed
	builder *store.Builder
	old     walk
	renewed map[string]bool // plans that differ from those of the copy
	batch   store.Changes   // differences that are not enforced yet
	bad     []store.Bad
	enough  int // differences that are not kept any longer
	clients int
}

// Begin implements store.Sink.
func (r *reloading) Begin(at store.Position, plans []store.Plan) error {
	r.builder = r.f.Copy.Build(at)
	r.builder.Plans(plans)
	r.renewed = map[string]bool{}
	for _, p := range plans {
		if old, err := r.f.Copy.Plan(p.Name); err != nil || old != p {
			r.renewed[p.Name] = true
		}
	}
	r.f.enforcer.usePlans(plans)
	return nil
}

// Client implements store.Sink.
func (r *reloading) Client(c store.Client) error {
	r.clients++
	if err := r.builder.Add(c); err != nil {
		return fmt.Errorf("write the snapshot of the clients: %w", err)
	}
	same, err := r.pass(&c)
	if err != nil || same && !r.renewed[c.Plan] {
		return err
	}
	r.batch.Clients = append(r.batch.Clients, c)
	return r.enforce(r.enough)
}

// Bad implements store.Sink.
func (r *reloading) Bad(b store.Bad) {
	r.bad = append(r.bad, b)
	r.batch.Bad = append(r.batch.Bad, b)
}

// pass goes on in the old clients to the new one. Those before it are gone. It reports whether the
// client is as it was.
func (r *reloading) pass(c *store.Client) (same bool, err error) {
	for {
		old, err := r.old.next()
		if err != nil || old == nil {
			return false, err
		}
		switch order := store.Compare(old.ID, c.ID); {
		case order > 0:
			return false, nil
		case order == 0:
			same = old.Equal(c)
			r.old.advance()
			return same, nil
		}
		r.batch.Deleted = append(r.batch.Deleted, old.ID)
		r.old.advance()
	}
}

// enforce enforces the differences, once there are enough of them.
func (r *reloading) enforce(enough int) error {
	if len(r.batch.Clients)+len(r.batch.Deleted)+len(r.batch.Bad) < enough {
		return nil
	}
	err := r.f.enforcer.apply(r.batch, r.f.Copy)
	r.batch = store.Changes{}
	return err
}

// finish has the copy be what was loaded, and enforces the rest.
func (r *reloading) finish() error {
	end := store.Client{ID: limiter.ID{Name: "\xff"}} // behind all
	if _, err := r.pass(&end); err != nil {
		return err
	}
	r.f.bad.replace(r.bad)
	b := r.builder
	r.builder = nil // it ends here, either way
	if err := b.Commit(); err != nil {
		return err
	}
	return r.enforce(0)
}

func (r *reloading) abort() {
	if r.builder != nil {
		r.builder.Abort()
	}
}

// walk goes through records in order.
type walk struct {
	records store.Records
	page    []store.Client // not passed yet
	last    limiter.ID     // of all pages
	ended   bool
}

// next returns the client that the walk has come to, or nil at the end.
func (w *walk) next() (*store.Client, error) {
	if len(w.page) == 0 && !w.ended {
		const page = 1000
		clients, err := w.records.Clients(w.last, page)
		if err != nil {
			return nil, err
		}
		if w.page, w.ended = clients, len(clients) < page; len(clients) > 0 {
			w.last = clients[len(clients)-1].ID
		}
	}
	if len(w.page) == 0 {
		return nil, nil
	}
	return &w.page[0], nil
}

func (w *walk) advance() { w.page = w.page[1:] }
