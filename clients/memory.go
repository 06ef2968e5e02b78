package clients

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"loadbalancer/limiter"
)

// memoryStore is the value of clients.store for clients that are lost when the process ends.
const memoryStore = "memory"

var errClosed = errors.New("the store is closed")

// memory stores the clients until the process ends. A client takes some 300 bytes. Creating or
// deleting a client moves the pointers of all clients behind it.
type memory struct {
	mu      sync.RWMutex
	closed  bool
	records []*memoryRecord // by key
	keys    map[limiter.KeyDigest]bool
}

// memoryRecord is immutable: an update replaces it.
type memoryRecord struct {
	key string // idKey
	client
}

func openMemory() *memory {
	return &memory{keys: make(map[limiter.KeyDigest]bool)}
}

// find returns the index of the record of the key, or the index to insert it at.
func (m *memory) find(key string) (at int, found bool) {
	return slices.BinarySearchFunc(m.records, key, func(r *memoryRecord, key string) int { return strings.Compare(r.key, key) })
}

func (m *memory) get(_ context.Context, id limiter.ID) (client, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return client{}, errClosed
	}
	at, found := m.find(string(idKey(id)))
	if !found {
		return client{}, errNotFound
	}
	return m.records[at].client, nil
}

func (m *memory) scan(ctx context.Context, after limiter.ID, limit int, visit func(client) error) error {
	page, err := m.page(after, limit)
	if err != nil {
		return err
	}
	for _, r := range page { // without the lock, because visit may be slow or write
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := visit(r.client); err != nil {
			return err
		}
	}
	return nil
}

func (m *memory) page(after limiter.ID, limit int) ([]*memoryRecord, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return nil, errClosed
	}
	first, found := m.find(string(idKey(after)))
	if found {
		first++
	}
	page := m.records[first:]
	if limit > 0 && limit < len(page) {
		page = page[:limit]
	}
	return slices.Clone(page), nil
}

func (m *memory) insert(_ context.Context, c client) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return errClosed
	}
	r := &memoryRecord{key: string(idKey(c.ID)), client: c}
	at, found := m.find(r.key)
	if found {
		return errExists
	}
	if err := m.takeKey(c); err != nil {
		return err
	}
	m.records = slices.Insert(m.records, at, r)
	return nil
}

func (m *memory) update(_ context.Context, c client) (client, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return client{}, errClosed
	}
	at, found := m.find(string(idKey(c.ID)))
	if !found {
		return client{}, errNotFound
	}
	stored := m.records[at]
	c.createdAt = stored.createdAt
	if c.Keys[0] == (limiter.KeyDigest{}) {
		c.Keys[0] = stored.Keys[0]
	}
	if c.Keys[0] != stored.Keys[0] {
		if err := m.takeKey(c); err != nil {
			return client{}, err
		}
		delete(m.keys, stored.Keys[0])
	}
	m.records[at] = &memoryRecord{key: stored.key, client: c}
	return c, nil
}

// takeKey records that the client has its key. It returns errKeyTaken if another client has it, and
// does nothing for the zero key.
func (m *memory) takeKey(c client) error {
	if c.Keys[0] == (limiter.KeyDigest{}) {
		return nil
	}
	if m.keys[c.Keys[0]] {
		return errKeyTaken
	}
	m.keys[c.Keys[0]] = true
	return nil
}

func (m *memory) remove(_ context.Context, id limiter.ID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return errClosed
	}
	at, found := m.find(string(idKey(id)))
	if !found {
		return errNotFound
	}
	delete(m.keys, m.records[at].Keys[0])
	m.records = slices.Delete(m.records, at, at+1)
	return nil
}

func (m *memory) close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed, m.records, m.keys = true, nil, nil
	return nil
}
