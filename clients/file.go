package clients

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"loadbalancer/limiter"
)

// The bbolt buckets. A write that changes both is one transaction.
const (
	clientsBucket = "clients" // idKey → fileRecord in JSON
	keysBucket    = "keys"    // limiter.KeyDigest → idKey of the client that has the key
)

// fileLockTimeout is how long a start waits for the file: a process that is ending closes it a
// moment after it was told to.
const fileLockTimeout = 5 * time.Second

// file stores the clients in a bbolt file, which it locks. Each write is synced to disk before it
// returns.
type file struct{ db *bbolt.DB }

func openFile(path string) (*file, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: fileLockTimeout})
	if errors.Is(err, bbolterrors.ErrTimeout) {
		return nil, fmt.Errorf("open the store of the clients: %s holds the file %s: "+
			"end it, or give this one a file of its own in clients.store", fileHolder(path), path)
	}
	if err != nil {
		return nil, fmt.Errorf("open the store of the clients in the file %s: %w", path, err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range []string{clientsBucket, keysBucket} {
			if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		_ = db.Close() // the first error is the one to return
		return nil, fmt.Errorf("prepare the store of the clients in the file %s: %w", path, err)
	}
	return &file{db: db}, nil
}

func (f *file) get(_ context.Context, id limiter.ID) (c client, err error) {
	err = f.db.View(func(tx *bbolt.Tx) error {
		c, err = getRecord(tx, id)
		return err
	})
	return c, err
}

func (f *file) scan(ctx context.Context, after limiter.ID, limit int, visit func(client) error) error {
	start := idKey(after)
	return f.db.View(func(tx *bbolt.Tx) error {
		cursor := tx.Bucket([]byte(clientsBucket)).Cursor()
		key, value := cursor.Seek(start)
		if string(key) == string(start) {
			key, value = cursor.Next()
		}
		for count := 0; key != nil && (limit == 0 || count < limit); count++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			id, err := keyID(key)
			if err != nil {
				return err
			}
			c, err := decodeRecord(id, value)
			if err != nil {
				return err
			}
			if err := visit(c); err != nil {
				return err
			}
			key, value = cursor.Next()
		}
		return nil
	})
}

func (f *file) insert(_ context.Context, c client) error {
	return f.db.Update(func(tx *bbolt.Tx) error {
		if _, err := getRecord(tx, c.ID); err == nil {
			return errExists
		} else if !errors.Is(err, errNotFound) {
			return err
		}
		if err := takeKey(tx, c); err != nil {
			return err
		}
		return putRecord(tx, c)
	})
}

func (f *file) update(_ context.Context, c client) (client, error) {
	err := f.db.Update(func(tx *bbolt.Tx) error {
		stored, err := getRecord(tx, c.ID)
		if err != nil {
			return err
		}
		c.createdAt = stored.createdAt
		if c.Keys[0] == (limiter.KeyDigest{}) {
			c.Keys[0] = stored.Keys[0]
		}
		if c.Keys[0] != stored.Keys[0] {
			if err := takeKey(tx, c); err != nil {
				return err
			}
			if err := returnKey(tx, stored); err != nil {
				return err
			}
		}
		return putRecord(tx, c)
	})
	if err != nil {
		return client{}, err
	}
	return c, nil
}

func (f *file) remove(_ context.Context, id limiter.ID) error {
	return f.db.Update(func(tx *bbolt.Tx) error {
		stored, err := getRecord(tx, id)
		if err != nil {
			return err
		}
		if err := returnKey(tx, stored); err != nil {
			return err
		}
		return tx.Bucket([]byte(clientsBucket)).Delete(idKey(id))
	})
}

func (f *file) close() error {
	if err := f.db.Close(); err != nil {
		return fmt.Errorf("close the store of the clients in the file %s: %w", f.db.Path(), err)
	}
	return nil
}
