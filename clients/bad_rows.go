package clients

import (
	"maps"
	"sync"

	"loadbalancer/clients/store"
	"loadbalancer/limiter"
)

// badRows are the rows that are no clients. The zero value has none. They are safe for concurrent
// use.
type badRows struct {
	mu   sync.Mutex
	rows map[badRow]store.Bad
}

// badRow identifies a row: by its client or, if that cannot be told, by what is wrong.
type badRow struct {
	id    limiter.ID
	fault string
}

func identify(b store.Bad) badRow {
	if b.ID == (limiter.ID{}) {
		return badRow{fault: b.Err.Error()}
	}
	return badRow{id: b.ID}
}

// apply takes the rows of changes in place of what was known of theirs, and returns the clients that
// they are no more.
func (b *badRows) apply(c *store.Changes) (ids []limiter.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range c.Clients {
		delete(b.rows, badRow{id: c.Clients[i].ID})
	}
	for _, id := range c.Deleted {
		delete(b.rows, badRow{id: id})
	}
	for _, row := range c.Bad {
		b.add(row)
		ids = append(ids, row.ID)
	}
	return ids
}

// replace takes these rows in place of all.
func (b *badRows) replace(rows []store.Bad) {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.rows)
	for _, row := range rows {
		b.add(row)
	}
}

func (b *badRows) add(row store.Bad) {
	if b.rows == nil {
		b.rows = map[badRow]store.Bad{}
	}
	b.rows[identify(row)] = row
}

func (b *badRows) sum(s *store.Sum) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for row := range maps.Values(b.rows) {
		s.AddBad(&row)
	}
}
