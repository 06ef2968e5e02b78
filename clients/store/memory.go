package store

import (
	"context"
	"crypto/rand"
	"sync"
	"sync/atomic"

	"loadbalancer/limiter"
)

// Memory keeps the clients until the process ends. A reader never waits for a writer.
type Memory struct {
	bounds Bounds

	writing sync.Mutex             // held for each change of now
	now     atomic.Pointer[tables] // nil: closed
}

var (
	_ Store   = (*Memory)(nil)
	_ Records = (*Memory)(nil)
)

// OpenMemory returns an empty store with a history of its own.
func OpenMemory(bounds Bounds) *Memory {
	m := &Memory{bounds: bounds}
	m.now.Store(newTables(Position{History: rand.Text()}))
	return m
}

// Write implements Store. It never returns ErrUnknown.
func (m *Memory) Write(ctx context.Context, decide func(Tx) error) (Changes, error) {
	m.writing.Lock()
	defer m.writing.Unlock()
	now := m.now.Load()
	if now == nil {
		return Changes{}, ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return Changes{}, err
	}
	tx := &memoryTx{tables: now.copy(), bounds: m.bounds, version: now.position.Version + 1}
	if err := decide(tx); err != nil {
		return Changes{}, err
	}
	tx.position.Version = tx.version
	tx.changes.Position = tx.position
	m.now.Store(tx.tables)
	return tx.changes, nil
}

// Apply stores changes that were made elsewhere, with their versions and position. Where a key is
// another client's, that client is deleted: it has given the key up.
func (m *Memory) Apply(c Changes) {
	m.writing.Lock()
	defer m.writing.Unlock()
	now := m.now.Load()
	if now == nil {
		return
	}
	t := now.copy()
	t.apply(c)
	m.now.Store(t)
}

// Audit implements Store.
func (m *Memory) Audit(_ context.Context, before int64, limit int) ([]Entry, error) {
	now := m.now.Load()
	if now == nil {
		return nil, ErrClosed
	}
	return now.entries(before, limit), nil
}

// Position implements Records.
func (m *Memory) Position() Position {
	if now := m.now.Load(); now != nil {
		return now.position
	}
	return Position{}
}

// Client implements Records.
func (m *Memory) Client(id limiter.ID) (Client, error) {
	now := m.now.Load()
	if now == nil {
		return Client{}, ErrClosed
	}
	return now.client(id)
}

// Clients implements Records.
func (m *Memory) Clients(after limiter.ID, limit int) ([]Client, error) {
	now := m.now.Load()
	if now == nil {
		return nil, ErrClosed
	}
	return now.page(after, limit), nil
}

// AppendClients implements Records.
func (m *Memory) AppendClients(page []Client, after limiter.ID, limit int) ([]Client, error) {
	more, err := m.Clients(after, limit)
	return append(page, more...), err
}

// Plan implements Records.
func (m *Memory) Plan(name string) (Plan, error) {
	now := m.now.Load()
	if now == nil {
		return Plan{}, ErrClosed
	}
	return now.plan(name)
}

// Plans implements Records.
func (m *Memory) Plans() ([]Plan, error) {
	now := m.now.Load()
	if now == nil {
		return nil, ErrClosed
	}
	return now.plans.Values(), nil
}

// Close drops the clients.
func (m *Memory) Close() error {
	m.writing.Lock()
	defer m.writing.Unlock()
	m.now.Store(nil)
	return nil
}
