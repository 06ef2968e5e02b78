package store

import (
	"slices"
	"time"

	"github.com/tidwall/btree"

	"loadbalancer/limiter"
)

// tables hold all of a store in memory. A copy costs nothing: the trees share their nodes until one
// of them changes.
type tables struct {
	position Position
	clients  *btree.Map[string, *Client] // by orderKey
	keys     *btree.Map[string, limiter.ID]
	plans    *btree.Map[string, Plan]
	audit    *btree.Map[int64, Entry]
	replies  *btree.Map[string, Reply]
}

func newTables(at Position) *tables {
	return &tables{
		position: at,
		clients:  new(btree.Map[string, *Client]),
		keys:     new(btree.Map[string, limiter.ID]),
		plans:    new(btree.Map[string, Plan]),
		audit:    new(btree.Map[int64, Entry]),
		replies:  new(btree.Map[string, Reply]),
	}
}

func (t *tables) copy() *tables {
	return &tables{
		position: t.position,
		clients:  t.clients.Copy(),
		keys:     t.keys.Copy(),
		plans:    t.plans.Copy(),
		audit:    t.audit.Copy(),
		replies:  t.replies.Copy(),
	}
}

// put stores clients as they are, with their versions. Keys may pass between them. A key that a
// client has beside them is given to taken, which returns an error or deletes that client.
func (t *tables) put(clients []Client, taken func(holder limiter.ID) error) error {
	for i := range clients {
		t.delete(clients[i].ID)
	}
	for _, c := range clients {
		for _, k := range c.Keys {
			if holder, found := t.keys.Get(string(k.Digest[:])); found && holder != c.ID {
				if err := taken(holder); err != nil {
					return err
				}
			}
			t.keys.Set(string(k.Digest[:]), c.ID)
		}
		t.clients.Set(string(orderKey(c.ID)), &c)
	}
	return nil
}

// apply stores changes that were made elsewhere. A client that still has a key of another has
// given it up.
func (t *tables) apply(c Changes) {
	for _, id := range c.Deleted {
		t.delete(id)
	}
	_ = t.put(c.Clients, func(holder limiter.ID) error { // never fails
		t.delete(holder)
		return nil
	})
	for _, name := range c.DeletedPlans {
		t.plans.Delete(name)
	}
	for _, p := range c.Plans {
		t.plans.Set(p.Name, p)
	}
	t.position = c.Position
}

func (t *tables) delete(id limiter.ID) {
	if old, existed := t.clients.Delete(string(orderKey(id))); existed {
		t.freeKeys(old)
	}
}

func (t *tables) freeKeys(c *Client) {
	for _, k := range c.Keys {
		t.keys.Delete(string(k.Digest[:]))
	}
}

func (t *tables) client(id limiter.ID) (Client, error) {
	c, found := t.clients.Get(string(orderKey(id)))
	if !found {
		return Client{}, ErrNotFound
	}
	return *c, nil
}

func (t *tables) page(after limiter.ID, limit int) (page []Client) {
	first := string(orderKey(after))
	t.clients.Ascend(first, func(key string, c *Client) bool {
		if key != first {
			page = append(page, *c)
		}
		return len(page) < limit
	})
	return page
}

func (t *tables) plan(name string) (Plan, error) {
	p, found := t.plans.Get(name)
	if !found {
		return Plan{}, ErrNotFound
	}
	return p, nil
}

// note appends to the audit and drops what its bounds leave no room for.
func (t *tables) note(e Entry, bounds Bounds) {
	if bounds.MaxCount == 0 {
		return
	}
	last, _, _ := t.audit.Max()
	e.ID = last + 1
	t.audit.Set(e.ID, e)
	for {
		id, first, _ := t.audit.Min()
		if t.audit.Len() <= bounds.MaxCount && e.At.Sub(first.At) <= bounds.MaxAge {
			return
		}
		t.audit.Delete(id)
	}
}

func (t *tables) entries(before int64, limit int) (page []Entry) {
	collect := func(_ int64, e Entry) bool {
		page = append(page, e)
		return len(page) < limit
	}
	if before == 0 {
		t.audit.Reverse(collect)
	} else {
		t.audit.Descend(before-1, collect)
	}
	return page
}

// remember keeps a reply and drops those that are too old.
func (t *tables) remember(r Reply) {
	var old []string
	t.replies.Scan(func(key string, kept Reply) bool {
		if r.At.Sub(kept.At) >= ReplyAge {
			old = append(old, key)
		}
		return true
	})
	for _, key := range old {
		t.replies.Delete(key)
	}
	t.replies.Set(r.Key, r)
}

// memoryTx is a Tx on a copy of the tables.
type memoryTx struct {
	*tables
	bounds  Bounds
	version int64 // of what it writes
	changes Changes
}

func (tx *memoryTx) Clients(ids []limiter.ID) (map[limiter.ID]Client, error) {
	found := make(map[limiter.ID]Client, len(ids))
	for _, id := range ids {
		if c, err := tx.client(id); err == nil {
			found[id] = c
		}
	}
	return found, nil
}

func (tx *memoryTx) Holders(keys []limiter.KeyDigest) (map[limiter.KeyDigest]limiter.ID, error) {
	holders := make(map[limiter.KeyDigest]limiter.ID, len(keys))
	for _, k := range keys {
		if id, taken := tx.keys.Get(string(k[:])); taken {
			holders[k] = id
		}
	}
	return holders, nil
}

func (tx *memoryTx) Put(clients []Client) error {
	for i := range clients {
		clients[i].Version = tx.version
		tx.changes.put(clients[i])
	}
	return tx.put(clients, func(limiter.ID) error { return ErrKeyTaken })
}

func (tx *memoryTx) Delete(ids []limiter.ID) error {
	for _, id := range ids {
		tx.delete(id)
		tx.changes.delete(id)
	}
	return nil
}

func (tx *memoryTx) Plan(name string) (Plan, error) { return tx.plan(name) }

func (tx *memoryTx) PutPlan(p Plan) error {
	p.Version = tx.version
	tx.plans.Set(p.Name, p)
	tx.changes.Plans = append(tx.changes.Plans, p)
	return nil
}

func (tx *memoryTx) DeletePlan(name string) error {
	tx.plans.Delete(name)
	tx.changes.DeletedPlans = append(tx.changes.DeletedPlans, name)
	return nil
}

func (tx *memoryTx) PlanUsers(name string) (n int, err error) {
	tx.clients.Scan(func(_ string, c *Client) bool {
		if c.Plan == name {
			n++
		}
		return true
	})
	return n, nil
}

func (tx *memoryTx) Overriding(plan string) (all []Client, err error) {
	tx.clients.Scan(func(_ string, c *Client) bool {
		if c.Plan == plan && c.overrides() {
			all = append(all, *c)
		}
		return true
	})
	return all, nil
}

func (tx *memoryTx) Note(e Entry) error {
	tx.note(e, tx.bounds)
	return nil
}

func (tx *memoryTx) Reply(key string) (Reply, bool, error) {
	r, found := tx.replies.Get(key)
	return r, found && time.Since(r.At) < ReplyAge, nil
}

func (tx *memoryTx) Remember(r Reply) error {
	tx.remember(r)
	return nil
}

// put records that the client was written.
func (c *Changes) put(one Client) {
	c.Deleted = slices.DeleteFunc(c.Deleted, func(id limiter.ID) bool { return id == one.ID })
	c.Clients = append(c.Clients, one)
}

// delete records that the client was deleted.
func (c *Changes) delete(id limiter.ID) {
	c.Clients = slices.DeleteFunc(c.Clients, func(one Client) bool { return one.ID == id })
	c.Deleted = append(c.Deleted, id)
}

func (c *Client) overrides() bool { return c.Own.Capacity != 0 || c.Own.RatePerSecond != 0 }
