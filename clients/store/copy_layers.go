package store

import (
	"maps"
	"slices"

	"github.com/tidwall/btree"
	"go.etcd.io/bbolt"

	"loadbalancer/limiter"
)

// layers are the content of a Copy: a file and, before it, what has changed since it was written.
// They are never changed, but for the file, which gets what stands before it.
type layers struct {
	position Position
	loaded   bool
	file     *boltFile                   // nil: there is none
	clients  *btree.Map[string, *Client] // by orderKey; nil: deleted
	plans    *btree.Map[string, *Plan]   // by name; nil: deleted
}

func newLayers(at Position) *layers {
	return &layers{position: at, clients: new(btree.Map[string, *Client]), plans: new(btree.Map[string, *Plan])}
}

func (l *layers) copy() *layers {
	next := *l
	next.clients, next.plans = l.clients.Copy(), l.plans.Copy()
	return &next
}

func (l *layers) apply(c Changes) {
	for _, id := range c.Deleted {
		l.set(id, nil)
	}
	for i := range c.Clients {
		one := c.Clients[i]
		l.set(one.ID, &one)
	}
	for _, name := range c.DeletedPlans {
		l.setPlan(name, nil)
	}
	for i := range c.Plans {
		one := c.Plans[i]
		l.setPlan(one.Name, &one)
	}
	l.position = c.Position
}

// set stores a client, or that it is deleted, which without a file needs no note.
func (l *layers) set(id limiter.ID, c *Client) {
	if c == nil && l.file == nil {
		l.clients.Delete(string(orderKey(id)))
	} else {
		l.clients.Set(string(orderKey(id)), c)
	}
}

func (l *layers) setPlan(name string, p *Plan) {
	if p == nil && l.file == nil {
		l.plans.Delete(name)
	} else {
		l.plans.Set(name, p)
	}
}

func (l *layers) client(id limiter.ID) (c Client, err error) {
	if changed, found := l.clients.Get(string(orderKey(id))); found {
		if changed == nil {
			return c, ErrNotFound
		}
		return *changed, nil
	}
	if l.file == nil {
		return c, ErrNotFound
	}
	err = l.file.view(func(tx *bbolt.Tx) (err error) {
		c, err = clientIn(tx, id)
		return err
	})
	return c, err
}

func (l *layers) plan(name string) (p Plan, err error) {
	if changed, found := l.plans.Get(name); found {
		if changed == nil {
			return p, ErrNotFound
		}
		return *changed, nil
	}
	if l.file == nil {
		return p, ErrNotFound
	}
	err = l.file.view(func(tx *bbolt.Tx) (err error) {
		p, err = planIn(tx, name)
		return err
	})
	return p, err
}

func (l *layers) allPlans() ([]Plan, error) {
	byName := map[string]Plan{}
	if l.file != nil {
		err := l.file.view(func(tx *bbolt.Tx) error {
			all, err := plansIn(tx)
			for _, p := range all {
				byName[p.Name] = p
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	l.plans.Scan(func(name string, p *Plan) bool {
		if p == nil {
			delete(byName, name)
		} else {
			byName[name] = *p
		}
		return true
	})
	var all []Plan
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		all = append(all, byName[name])
	}
	return all, nil
}

// page returns at most limit clients behind after.
func (l *layers) page(after limiter.ID, limit int) ([]Client, error) {
	return l.appendPage(nil, after, limit)
}

// appendPage appends at most limit clients behind after.
func (l *layers) appendPage(page []Client, after limiter.ID, limit int) ([]Client, error) {
	if limit <= 0 {
		return page, nil
	}
	p := &pager{page: page, end: len(page) + limit, changed: l.clients.Iter()}
	start := orderKey(after)
	p.more = p.changed.Seek(string(start))
	if p.more && p.changed.Key() == string(start) {
		p.more = p.changed.Next()
	}
	if l.file != nil {
		err := l.file.view(func(tx *bbolt.Tx) error {
			return eachRecord(tx, clientsBucket, start, p.stored)
		})
		if err != nil {
			return page, err
		}
	}
	for p.more && !p.full() {
		p.takeChanged()
	}
	return p.page, nil
}

// pager merges the clients of a file and those that have changed since.
type pager struct {
	page    []Client
	end     int // length of the page when it is full
	changed btree.MapIter[string, *Client]
	more    bool // changed stands at a client
}

func (p *pager) full() bool { return len(p.page) >= p.end }

// takeChanged adds the client that changed stands at, unless it is deleted.
func (p *pager) takeChanged() {
	if c := p.changed.Value(); c != nil {
		p.page = append(p.page, *c)
	}
	p.more = p.changed.Next()
}

// stored adds the client of a record, unless it has changed, and what comes before it.
func (p *pager) stored(key, payload []byte) (bool, error) {
	for p.more && p.changed.Key() < string(key) && !p.full() {
		p.takeChanged()
	}
	if p.full() {
		return false, nil
	}
	if p.more && p.changed.Key() == string(key) {
		p.takeChanged()
		return !p.full(), nil
	}
	id, err := keyID(key)
	if err != nil {
		return false, errRecord
	}
	c, err := readClient(id, payload)
	p.page = append(p.page, c)
	return !p.full(), err
}
