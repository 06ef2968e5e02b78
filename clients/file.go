package clients

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"loadbalancer/limiter"
)

const (
	// fileBucket names the bbolt bucket: idKey → fileRecord in JSON.
	fileBucket = "clients"
	// fileLockTimeout lets a predecessor that is just ending close the file.
	fileLockTimeout = time.Second
)

// file is the storage in a bbolt file of this process alone. Each write is synced to disk before it returns.
type file struct{ db *bbolt.DB }

// fileRecord is the value of a client. Fields may be added; those that a record lacks are then zero.
type fileRecord struct {
	Capacity      int64     `json:"capacity"`
	RatePerSecond float64   `json:"rate_per_second"`
	CreatedAt     time.Time `json:"created_at"`
	UpdatedAt     time.Time `json:"updated_at"`
}

func openFile(path string) (*file, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: fileLockTimeout})
	if errors.Is(err, bbolterrors.ErrTimeout) {
		return nil, fmt.Errorf("open the store of the clients: another process holds the file %s: "+
			"end it, or give this one a file of its own in clients.store", path)
	}
	if err != nil {
		return nil, fmt.Errorf("open the store of the clients in the file %s: %w", path, err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists([]byte(fileBucket))
		return err
	})
	if err != nil {
		_ = db.Close() // the first error is the one to tell
		return nil, fmt.Errorf("prepare the store of the clients in the file %s: %w", path, err)
	}
	return &file{db: db}, nil
}

func (f *file) get(_ context.Context, id netip.Prefix) (c client, err error) {
	key := idKey(id)
	err = f.db.View(func(tx *bbolt.Tx) error {
		value := tx.Bucket([]byte(fileBucket)).Get(key[:])
		if value == nil {
			return errNotFound
		}
		c, err = decodeRecord(id, value)
		return err
	})
	return c, err
}

func (f *file) scan(ctx context.Context, after netip.Prefix, limit int, visit func(client) error) error {
	start := idKey(after)
	return f.db.View(func(tx *bbolt.Tx) error {
		cursor := tx.Bucket([]byte(fileBucket)).Cursor()
		key, value := cursor.Seek(start[:])
		if string(key) == string(start[:]) {
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
		key := idKey(c.id)
		if tx.Bucket([]byte(fileBucket)).Get(key[:]) != nil {
			return errExists
		}
		return putRecord(tx, c)
	})
}

func (f *file) update(_ context.Context, c client) (client, error) {
	err := f.db.Update(func(tx *bbolt.Tx) error {
		key := idKey(c.id)
		value := tx.Bucket([]byte(fileBucket)).Get(key[:])
		if value == nil {
			return errNotFound
		}
		stored, err := decodeRecord(c.id, value)
		if err != nil {
			return err
		}
		c.createdAt = stored.createdAt
		return putRecord(tx, c)
	})
	return c, err
}

func (f *file) remove(_ context.Context, id netip.Prefix) error {
	return f.db.Update(func(tx *bbolt.Tx) error {
		key, bucket := idKey(id), tx.Bucket([]byte(fileBucket))
		if bucket.Get(key[:]) == nil {
			return errNotFound
		}
		return bucket.Delete(key[:])
	})
}

func (f *file) close() error {
	if err := f.db.Close(); err != nil {
		return fmt.Errorf("close the store of the clients in the file %s: %w", f.db.Path(), err)
	}
	return nil
}

func putRecord(tx *bbolt.Tx, c client) error {
	value, err := json.Marshal(fileRecord{
		Capacity:      c.limit.Capacity,
		RatePerSecond: c.limit.RatePerSecond,
		CreatedAt:     c.createdAt,
		UpdatedAt:     c.updatedAt,
	})
	if err != nil {
		return fmt.Errorf("encode the client %s: %w", formatID(c.id), err)
	}
	key := idKey(c.id)
	return tx.Bucket([]byte(fileBucket)).Put(key[:], value)
}

func decodeRecord(id netip.Prefix, value []byte) (client, error) {
	var record fileRecord
	if err := json.Unmarshal(value, &record); err != nil {
		return client{}, fmt.Errorf("decode the client %s: %w", formatID(id), err)
	}
	return client{
		id:        id,
		limit:     limiter.Limit{Capacity: record.Capacity, RatePerSecond: record.RatePerSecond},
		createdAt: record.CreatedAt,
		updatedAt: record.UpdatedAt,
	}, nil
}

// idKey returns a key whose bytes sort as PostgreSQL sorts the type cidr: IPv4 before IPv6, then by address, then
// the shorter prefix. It is the family (4 or 6), the address in 16 bytes and the length of the prefix. The zero
// Prefix is before all others.
func idKey(id netip.Prefix) (key [18]byte) {
	if !id.IsValid() {
		return key
	}
	key[0] = 6
	if id.Addr().Is4() {
		key[0] = 4
	}
	addr := id.Addr().As16()
	copy(key[1:], addr[:])
	key[17] = byte(id.Bits())
	return key
}

// keyID is the inverse of idKey.
func keyID(key []byte) (netip.Prefix, error) {
	if len(key) != len(idKey(netip.Prefix{})) {
		return netip.Prefix{}, fmt.Errorf("the key %x of a client has not %d bytes", key, len(idKey(netip.Prefix{})))
	}
	addr := netip.AddrFrom16([16]byte(key[1:17]))
	if key[0] == 4 {
		addr = addr.Unmap()
	}
	id := netip.PrefixFrom(addr, int(key[17]))
	if !id.IsValid() {
		return netip.Prefix{}, fmt.Errorf("the key %x is of no client", key)
	}
	return id, nil
}
