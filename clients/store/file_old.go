package store

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"loadbalancer/limiter"
)

// oldKeysBucket had limiter.KeyDigest → orderKey of the client that has the key.
const oldKeysBucket = "keys"

// oldRecord is a client in a file of the versions before there were checksums.
type oldRecord struct {
	APIKeySHA256  []byte    `json:"api_key_sha256"` // only with a name
	Capacity      int64     `json:"capacity"`
	RatePerSecond float64   `json:"rate_per_second"`
	MaxInFlight   int64     `json:"max_in_flight"`
	Shadow        bool      `json:"shadow"`
	Trial         oldLimit  `json:"trial"`
	CreatedAt     time.Time `json:"created_at"`
	UpdatedAt     time.Time `json:"updated_at"`
}

type oldLimit struct {
	Capacity      int64   `json:"capacity"`
	RatePerSecond float64 `json:"rate_per_second"`
}

// oldKeyID is the ID of the key of a client that had one before keys had IDs.
const oldKeyID = "1"

// convertAtOnce is the number of clients that convert holds at once.
const convertAtOnce = 1000

// convert makes a file of an older version one of this, in one transaction.
func convert(tx *bbolt.Tx, keys *keyIndex) error {
	entries, err := oldKeys(tx)
	if err != nil {
		return err
	}
	state := fileState{kind: storeKind, Position: Position{History: rand.Text(), Version: 1}}
	if err := setUp(tx, &state); err != nil {
		return err
	}
	converted := tally{}
	for after := []byte{}; after != nil; {
		var clients []Client
		if clients, after, err = oldClients(tx, after); err != nil {
			return err
		}
		for i := range clients {
			if err := state.convertClient(tx, &clients[i], keys, &converted); err != nil {
				return err
			}
		}
	}
	if converted != entries {
		return fmt.Errorf("its keys and its clients do not agree: %w", errRecord)
	}
	return state.write(tx)
}

func (s *fileState) convertClient(tx *bbolt.Tx, c *Client, keys *keyIndex, converted *tally) error {
	key := orderKey(c.ID)
	for i := range c.Keys {
		digest := &c.Keys[i].Digest
		if keys.holder(prefixOf(digest)) != nil {
			return fmt.Errorf("two clients have the API key of %s: %w", c.ID, errRecord)
		}
		keys.set(prefixOf(digest), string(key))
		converted.add(checksum(oldKeysBucket, digest[:], key))
	}
	c.Version = s.Version
	return s.addRecord(tx.Bucket([]byte(clientsBucket)), clientsBucket, key, appendClient(make([]byte, 1, 160), c))
}

// oldKeys removes the entries of the keys, and returns what has to agree with them.
func oldKeys(tx *bbolt.Tx) (entries tally, err error) {
	keys := tx.Bucket([]byte(oldKeysBucket))
	if keys == nil {
		return entries, nil
	}
	err = keys.ForEach(func(digest, client []byte) error {
		entries.add(checksum(oldKeysBucket, digest, client))
		return nil
	})
	if err != nil {
		return entries, err
	}
	return entries, tx.DeleteBucket([]byte(oldKeysBucket))
}

// oldClients returns some clients behind the key, and the last's key, which is nil at the end.
func oldClients(tx *bbolt.Tx, after []byte) (all []Client, last []byte, err error) {
	cursor := tx.Bucket([]byte(clientsBucket)).Cursor()
	key, value := cursor.Seek(after)
	if key != nil && string(key) == string(after) {
		key, value = cursor.Next()
	}
	for ; key != nil && len(all) < convertAtOnce; key, value = cursor.Next() {
		c, err := oldClient(key, value)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: %w", errRecord, err)
		}
		all, last = append(all, c), append([]byte(nil), key...)
	}
	return all, last, nil
}

func oldClient(key, value []byte) (c Client, err error) {
	if c.ID, err = keyID(key); err != nil {
		return c, err
	}
	var record oldRecord
	if err := json.Unmarshal(value, &record); err != nil {
		return c, fmt.Errorf("decode the client %s: %w", c.ID, err)
	}
	want := 0
	if c.ID.Name != "" {
		want = len(limiter.KeyDigest{})
	}
	if len(record.APIKeySHA256) != want {
		return c, fmt.Errorf("decode the client %s: its api_key_sha256 has %d bytes and not %d",
			c.ID, len(record.APIKeySHA256), want)
	}
	if want > 0 {
		c.Keys = []Key{{ID: oldKeyID, Digest: limiter.KeyDigest(record.APIKeySHA256), CreatedAt: record.CreatedAt}}
	}
	c.CreatedAt, c.UpdatedAt = record.CreatedAt, record.UpdatedAt
	c.Own = limiter.Terms{
		Limit:       limiter.Limit{Capacity: record.Capacity, RatePerSecond: record.RatePerSecond},
		MaxInFlight: record.MaxInFlight,
		Shadow:      record.Shadow,
		Trial:       limiter.Limit(record.Trial),
	}
	return c, nil
}
