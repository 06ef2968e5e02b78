package store

import (
	"errors"
	"os"
	"syscall"

	"go.etcd.io/bbolt"
)

// bulkSize is the number of clients that are written in one transaction.
const bulkSize = 1000

// bulkFill is how full the pages of a new file are: one change in a page needs no other page.
const bulkFill = 0.9

// bulk is a snapshot in the making, in a file beside the present one. It is synced at the end.
type bulk struct {
	file  *boltFile
	state fileState
}

func newBulk(c *Copy) (*bulk, error) {
	if err := c.heldByAnother(); err != nil {
		return nil, err
	}
	b := &bulk{file: c.snapshotFile(), state: fileState{kind: snapshotKind}}
	if err := b.file.create(); err != nil {
		return nil, err
	}
	b.file.db.NoSync, b.file.db.NoGrowSync = true, true
	if err := b.file.update(func(tx *bbolt.Tx) error { return setUp(tx, &b.state) }); err != nil {
		b.drop()
		return nil, err
	}
	return b, nil
}

// heldByAnother returns an error if the snapshot is another process's.
func (c *Copy) heldByAnother() error {
	file, err := os.Open(c.path)
	if err != nil {
		return nil // to create a file will say why
	}
	defer func() { _ = file.Close() }()
	if l := c.now.Load(); l != nil && c.isInPlace(l.file) {
		return nil
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		return &heldError{holder: fileHolder(c.path), path: c.path}
	}
	return nil
}

// add stores clients. It is cheapest in their order.
func (b *bulk) add(clients []Client) error {
	state := b.state
	err := b.file.update(func(tx *bbolt.Tx) error {
		bucket, err := bucketOf(tx, clientsBucket)
		if err != nil {
			return err
		}
		bucket.FillPercent = bulkFill
		for i := range clients {
			value := appendClient(make([]byte, 1, 160), &clients[i])
			if err := state.putRecord(tx, clientsBucket, orderKey(clients[i].ID), value); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		b.state = state
	}
	return err
}

// finish makes the file the snapshot.
func (b *bulk) finish(plans []Plan, at Position) error {
	b.state.Position = at
	err := b.file.update(func(tx *bbolt.Tx) error {
		for i := range plans {
			value := appendPlan(make([]byte, 1, 80), &plans[i])
			if err := b.state.putRecord(tx, plansBucket, []byte(plans[i].Name), value); err != nil {
				return err
			}
		}
		return b.state.write(tx)
	})
	if err != nil {
		return err
	}
	if err := b.file.file.Sync(); err != nil {
		return err
	}
	b.file.db.NoSync, b.file.db.NoGrowSync = false, false
	return b.file.rename()
}

// drop removes the file.
func (b *bulk) drop() {
	_ = os.Remove(b.file.path + newSuffix) // the next one overwrites it
	_ = b.file.close()                     // as above
}

// Builder makes a new content of a Copy, while readers have the one before. It is not safe for
// concurrent use, and ends with Commit or Abort.
type Builder struct {
	copy    *Copy
	content *layers // has what is in no file
	plans   []Plan
	batch   []Client
	batches chan []Client
	done    chan struct{} // closed when the writer has ended
	bulk    *bulk         // the writer's, until it has ended; nil: the content is in memory
	err     error         // as above
}

// Build begins a new content. Where the file cannot be written, the content is in memory, and Run
// goes on trying.
func (c *Copy) Build(at Position) *Builder {
	b := &Builder{copy: c, content: newLayers(at), batches: make(chan []Client, 4), done: make(chan struct{})}
	go b.write()
	return b
}

// Add adds a client, which the builder keeps. Clients are best in order. An error is of a file that
// is damaged while it is made.
func (b *Builder) Add(c Client) error {
	if b.batch == nil {
		b.batch = make([]Client, 0, bulkSize)
	}
	if b.batch = append(b.batch, c); len(b.batch) < bulkSize {
		return nil
	}
	return b.send()
}

// send hands the batch to the writer.
func (b *Builder) send() error {
	select {
	case b.batches <- b.batch:
		b.batch = nil
		return nil
	case <-b.done:
		return b.err
	}
}

// Plans sets all plans.
func (b *Builder) Plans(all []Plan) { b.plans = all }

// Commit swaps the content in. What was applied to the copy after Build is dropped: apply the
// changes since the position again.
func (b *Builder) Commit() error {
	sent := b.send()
	close(b.batches)
	<-b.done
	c := b.copy
	c.disk.Lock()
	defer c.disk.Unlock()
	if err := errorsFirst(b.err, sent); err != nil {
		b.remove()
		return err
	}
	if b.bulk != nil {
		err := b.bulk.finish(b.plans, b.content.position)
		if err == nil {
			b.content.file = b.bulk.file
		} else if err := b.toMemory(); err != nil {
			b.remove()
			return err
		}
	}
	if b.content.file == nil {
		for i := range b.plans {
			b.content.setPlan(b.plans[i].Name, &b.plans[i])
		}
	}
	b.content.loaded = true
	return c.swap(b.content)
}

// swap makes the content that of the copy.
func (c *Copy) swap(content *layers) error {
	c.changing.Lock()
	old := c.now.Load()
	if old != nil {
		c.now.Store(content)
	}
	c.changing.Unlock()
	c.wake()
	switch {
	case old == nil && content.file != nil:
		return errors.Join(ErrClosed, content.file.close())
	case old == nil:
		return ErrClosed
	case old.file != nil:
		_ = old.file.close() // how it ends is of no account
	}
	return nil
}

// Abort drops what was added.
func (b *Builder) Abort() {
	close(b.batches)
	<-b.done
	b.remove()
}

func (b *Builder) remove() {
	if b.bulk != nil {
		b.bulk.drop()
		b.bulk = nil
	}
}

// write stores the batches until their channel is closed, or until a file cannot be read back.
func (b *Builder) write() {
	defer close(b.done)
	if b.copy.path != "" {
		b.bulk, _ = newBulk(b.copy) // Run tries again, and tells the error
	}
	for batch := range b.batches {
		if b.bulk != nil && b.bulk.add(batch) == nil {
			continue
		}
		if b.err = b.toMemory(); b.err != nil {
			return
		}
		for i := range batch {
			b.content.set(batch[i].ID, &batch[i])
		}
	}
}

// toMemory takes what is in the file into memory, and drops the file.
func (b *Builder) toMemory() error {
	if b.bulk == nil {
		return nil
	}
	err := b.bulk.file.view(func(tx *bbolt.Tx) error {
		return clientsIn(tx, nil, func(c Client) bool {
			b.content.set(c.ID, &c)
			return true
		})
	})
	b.remove()
	return err
}
