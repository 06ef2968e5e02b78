package store

import (
	"encoding/binary"
	"errors"
	"time"

	"go.etcd.io/bbolt"

	"loadbalancer/limiter"
)

// fileTx is a Tx on a bbolt transaction. Each of its methods touches the file under guard: the
// caller's own panics are none of the file's.
type fileTx struct {
	bolt    *boltFile
	bounds  Bounds
	tx      *bbolt.Tx // nil: it has ended
	state   fileState // as it is written; its version is that of the write
	changes Changes
	err     error // that has ended it

	keys  *keyIndex            // before this transaction
	given map[keyPrefix]string // what it changes of them: the orderKey of the new holder, or ""
}

// guard is the file's. An error ends the transaction, whatever becomes of it.
func (t *fileTx) guard(do func() error) error {
	err := t.bolt.guard(do)
	if err != nil && !errors.Is(err, ErrNotFound) {
		t.err = err
	}
	return err
}

func (t *fileTx) begin() error {
	err := t.guard(func() (err error) {
		if t.tx, err = t.bolt.db.Begin(true); err != nil {
			return err
		}
		t.state, err = stateOf(t.tx)
		t.state.Version++
		return err
	})
	if err != nil {
		t.rollback()
	}
	return err
}

func (t *fileTx) commit() error {
	if t.err != nil {
		return t.err
	}
	return t.guard(func() error {
		if err := errorsFirst(t.state.write(t.tx), t.bolt.mayCommit()); err != nil {
			return err
		}
		err := t.tx.Commit()
		t.tx = nil // bbolt rolls it back if it fails
		return err
	})
}

// index takes the changes of the keys into the index, once they are committed.
func (t *fileTx) index() {
	for k, client := range t.given {
		if string(t.keys.holder(k)) != client {
			t.keys.set(k, client)
		}
	}
}

func (t *fileTx) rollback() {
	if t.tx != nil {
		_ = t.bolt.guard(t.tx.Rollback) // nothing was written
		t.tx = nil
	}
}

// Clients implements Tx.
func (t *fileTx) Clients(ids []limiter.ID) (map[limiter.ID]Client, error) {
	found := make(map[limiter.ID]Client, len(ids))
	err := t.guard(func() error {
		for _, id := range ids {
			c, err := clientIn(t.tx, id)
			if err == nil {
				found[id] = c
			} else if !errors.Is(err, ErrNotFound) {
				return err
			}
		}
		return nil
	})
	return found, err
}

// Holders implements Tx.
func (t *fileTx) Holders(keys []limiter.KeyDigest) (map[limiter.KeyDigest]limiter.ID, error) {
	holders := make(map[limiter.KeyDigest]limiter.ID, len(keys))
	for i := range keys {
		if holder := t.holder(prefixOf(&keys[i])); holder != "" {
			id, err := keyID([]byte(holder))
			if err != nil {
				return nil, err
			}
			holders[keys[i]] = id
		}
	}
	return holders, nil
}

// holder returns the orderKey of the client that has the key, or "".
func (t *fileTx) holder(k keyPrefix) string {
	if holder, changed := t.given[k]; changed {
		return holder
	}
	return string(t.keys.holder(k))
}

// Put implements Tx. Of clients with the same ID the last is stored.
func (t *fileTx) Put(clients []Client) error {
	last := make(map[limiter.ID]int, len(clients))
	for i := range clients {
		clients[i].Version = t.state.Version
		t.changes.put(clients[i])
		last[clients[i].ID] = i
	}
	return t.guard(func() error {
		for id := range last {
			if _, err := t.drop(orderKey(id)); err != nil {
				return err
			}
		}
		bucket, err := bucketOf(t.tx, clientsBucket)
		if err != nil {
			return err
		}
		for i := range clients {
			if last[clients[i].ID] != i {
				continue
			}
			if err := t.put(bucket, &clients[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// put stores a client that was dropped.
func (t *fileTx) put(bucket *bbolt.Bucket, c *Client) error {
	key := orderKey(c.ID)
	for i := range c.Keys {
		prefix := prefixOf(&c.Keys[i].Digest)
		if holder := t.holder(prefix); holder != "" && holder != string(key) {
			return ErrKeyTaken
		}
		t.given[prefix] = string(key)
	}
	return t.state.addRecord(bucket, clientsBucket, key, appendClient(make([]byte, 1, 160), c))
}

// drop takes a client out of the tally, and its keys from it. The record is left.
func (t *fileTx) drop(key []byte) (existed bool, err error) {
	payload, err := getRecord(t.tx, clientsBucket, key)
	if err != nil || payload == nil {
		return false, err
	}
	if _, err := t.state.dropRecord(t.tx, clientsBucket, key); err != nil {
		return false, err
	}
	return true, eachKey(payload, func(digest *limiter.KeyDigest) { t.given[prefixOf(digest)] = "" })
}

// Delete implements Tx.
func (t *fileTx) Delete(ids []limiter.ID) error {
	for _, id := range ids {
		t.changes.delete(id)
	}
	return t.guard(func() error {
		for _, id := range ids {
			key := orderKey(id)
			existed, err := t.drop(key)
			if err == nil && existed {
				err = t.tx.Bucket([]byte(clientsBucket)).Delete(key)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Plan implements Tx.
func (t *fileTx) Plan(name string) (p Plan, err error) {
	err = t.guard(func() (err error) {
		p, err = planIn(t.tx, name)
		return err
	})
	return p, err
}

// PutPlan implements Tx.
func (t *fileTx) PutPlan(p Plan) error {
	p.Version = t.state.Version
	t.changes.Plans = append(t.changes.Plans, p)
	return t.guard(func() error {
		return t.state.putRecord(t.tx, plansBucket, []byte(p.Name), appendPlan(make([]byte, 1, 80), &p))
	})
}

// DeletePlan implements Tx.
func (t *fileTx) DeletePlan(name string) error {
	t.changes.DeletedPlans = append(t.changes.DeletedPlans, name)
	return t.guard(func() error {
		return t.state.deleteRecord(t.tx, plansBucket, []byte(name))
	})
}

// PlanUsers implements Tx.
func (t *fileTx) PlanUsers(name string) (n int, err error) {
	err = t.users(name, func(bool, []byte, []byte) error {
		n++
		return nil
	})
	return n, err
}

// Overriding implements Tx.
func (t *fileTx) Overriding(plan string) (all []Client, err error) {
	err = t.users(plan, func(overrides bool, key, payload []byte) error {
		if !overrides {
			return nil
		}
		id, err := keyID(key)
		if err != nil {
			return errRecord
		}
		c, err := readClient(id, payload)
		all = append(all, c)
		return err
	})
	return all, err
}

// users visits the records of the clients with the plan.
func (t *fileTx) users(plan string, visit func(overrides bool, key, payload []byte) error) error {
	return t.guard(func() error {
		return eachRecord(t.tx, clientsBucket, nil, func(key, payload []byte) (bool, error) {
			name, overrides, err := planOf(payload)
			if err == nil && string(name) == plan {
				err = visit(overrides, key, payload)
			}
			return true, err
		})
	})
}

// entryKey is the key of an entry of the audit.
func entryKey(id int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(id)) }

// Note implements Tx. Entries are dropped from the front alone, so that their number is told by the
// first and the last.
func (t *fileTx) Note(e Entry) error {
	if t.bounds.MaxCount == 0 {
		return nil
	}
	return t.guard(func() error {
		bucket, err := bucketOf(t.tx, auditBucket)
		if err != nil {
			return err
		}
		first, last := int64(1), int64(0)
		if key, _ := bucket.Cursor().First(); len(key) == 8 {
			first = int64(binary.BigEndian.Uint64(key))
			key, _ = bucket.Cursor().Last()
			last = int64(binary.BigEndian.Uint64(key))
		}
		e.ID = last + 1
		if err := t.state.putRecord(t.tx, auditBucket, entryKey(e.ID), appendEntry(make([]byte, 1, 256), &e)); err != nil {
			return err
		}
		return t.dropEntries(first, &e)
	})
}

// dropEntries deletes those that the bounds leave no room for, beginning at the first.
func (t *fileTx) dropEntries(first int64, latest *Entry) error {
	for id := first; id < latest.ID; id++ {
		payload, err := getRecord(t.tx, auditBucket, entryKey(id))
		if err != nil {
			return err
		}
		if payload != nil {
			at := (&reader{rest: payload}).time()
			if latest.ID-id < int64(t.bounds.MaxCount) && latest.At.Sub(at) <= t.bounds.MaxAge {
				return nil
			}
		}
		if err := t.state.deleteRecord(t.tx, auditBucket, entryKey(id)); err != nil {
			return err
		}
	}
	return nil
}

// Reply implements Tx.
func (t *fileTx) Reply(key string) (r Reply, found bool, err error) {
	err = t.guard(func() error {
		payload, err := getRecord(t.tx, repliesBucket, []byte(key))
		if err != nil || payload == nil {
			return err
		}
		r, err = readReply(key, payload)
		found = err == nil && time.Since(r.At) < ReplyAge
		return err
	})
	return r, found, err
}

// timeKey is the key of a reply's time. Those of older replies sort first.
func timeKey(at time.Time, key string) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(at.UnixMicro())), key...)
}

// Remember implements Tx. It deletes the replies that are too old, by their times.
func (t *fileTx) Remember(r Reply) error {
	return t.guard(func() error {
		old := [][]byte{}
		kept, err := getRecord(t.tx, repliesBucket, []byte(r.Key))
		if err != nil {
			return err
		}
		if kept != nil {
			old = append(old, timeKey((&reader{rest: kept}).time(), r.Key))
		}
		end := string(timeKey(r.At.Add(-ReplyAge+time.Microsecond), ""))
		err = eachRecord(t.tx, timesBucket, nil, func(key, _ []byte) (bool, error) {
			if string(key) >= end {
				return false, nil
			}
			old = append(old, append([]byte(nil), key...))
			return true, nil
		})
		if err != nil {
			return err
		}
		for _, key := range old {
			err := errorsFirst(t.state.deleteRecord(t.tx, timesBucket, key), t.state.deleteRecord(t.tx, repliesBucket, key[8:]))
			if err != nil {
				return err
			}
		}
		return errorsFirst(
			t.state.putRecord(t.tx, timesBucket, timeKey(r.At, r.Key), make([]byte, 1, 5)),
			t.state.putRecord(t.tx, repliesBucket, []byte(r.Key), appendReply(make([]byte, 1, 256), &r)))
	})
}
