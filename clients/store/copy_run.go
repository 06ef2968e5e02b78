package store

import (
	"context"
	"os"
	"time"

	"go.etcd.io/bbolt"

	"loadbalancer/limiter"
)

// flushInterval is the least time between two writes of a snapshot.
const flushInterval = time.Second

// Run writes what has changed to the snapshot, at most once a second, until ctx ends, and then once
// more. Each write is one synced transaction with its position. Where one fails it is tried again,
// and failed is called, once until another succeeds.
func (c *Copy) Run(ctx context.Context, failed func(error)) {
	told := false
	flush := func() {
		err := c.flush()
		if err != nil && !told {
			failed(err)
		}
		if told = err != nil; told {
			c.wake()
		}
	}
	for {
		select {
		case <-ctx.Done():
			flush()
			return
		case <-c.changed:
		}
		flush()
		select {
		case <-ctx.Done():
		case <-time.After(flushInterval):
		}
	}
}

// flush writes what has changed to the file.
func (c *Copy) flush() error {
	if c.path == "" {
		return nil
	}
	c.disk.Lock()
	defer c.disk.Unlock()
	c.changing.Lock()
	l := c.now.Load()
	if l == nil || !l.loaded || l.file != nil && l.clients.Len()+l.plans.Len() == 0 && l.position == l.written() {
		c.changing.Unlock()
		return nil
	}
	c.flushing = true
	c.changing.Unlock()

	file, err := l.file, error(nil)
	if c.isInPlace(file) {
		err = file.update(l.write)
	} else if file, err = c.writeAll(l); err == nil && l.file != nil {
		defer func() { _ = l.file.close() }() // how it ends is of no account
	}
	c.changing.Lock()
	defer c.changing.Unlock()
	since := c.since
	c.flushing, c.since = false, nil
	if err != nil {
		return err
	}
	next := newLayers(l.position)
	next.file, next.loaded = file, true
	for i := range since {
		next.apply(since[i])
	}
	c.now.Store(next)
	return nil
}

// isInPlace reports whether the path leads to the file, which an operator may have deleted.
func (c *Copy) isInPlace(file *boltFile) bool {
	if file == nil {
		return false
	}
	own, err := file.file.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(c.path)
	return err == nil && os.SameFile(own, there)
}

// written returns the position of the file.
func (l *layers) written() (at Position) {
	_ = l.file.view(func(tx *bbolt.Tx) error { // a zero position is another, which is then written
		state, err := stateOf(tx)
		at = state.Position
		return err
	})
	return at
}

// write stores what stands before the file in it.
func (l *layers) write(tx *bbolt.Tx) (err error) {
	state, err := stateOf(tx)
	if err != nil {
		return err
	}
	l.clients.Scan(func(key string, c *Client) bool {
		if c == nil {
			err = state.deleteRecord(tx, clientsBucket, []byte(key))
		} else {
			err = state.putRecord(tx, clientsBucket, []byte(key), appendClient(make([]byte, 1, 160), c))
		}
		return err == nil
	})
	if err != nil {
		return err
	}
	l.plans.Scan(func(name string, p *Plan) bool {
		if p == nil {
			err = state.deleteRecord(tx, plansBucket, []byte(name))
		} else {
			err = state.putRecord(tx, plansBucket, []byte(name), appendPlan(make([]byte, 1, 80), p))
		}
		return err == nil
	})
	if err != nil {
		return err
	}
	state.Position = l.position
	return state.write(tx)
}

// writeAll makes a file of a content that is in memory, or in a file that was deleted.
func (c *Copy) writeAll(l *layers) (*boltFile, error) {
	bulk, err := newBulk(c)
	if err != nil {
		return nil, err
	}
	if err := l.writeTo(bulk); err != nil {
		bulk.drop()
		return nil, err
	}
	return bulk.file, nil
}

func (l *layers) writeTo(b *bulk) error {
	for after, more := (limiter.ID{}), true; more; {
		page, err := l.page(after, bulkSize)
		if err != nil {
			return err
		}
		if err := b.add(page); err != nil {
			return err
		}
		if more = len(page) == bulkSize; more {
			after = page[bulkSize-1].ID
		}
	}
	plans, err := l.allPlans()
	if err != nil {
		return err
	}
	return b.finish(plans, l.position)
}
