package store

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"go.etcd.io/bbolt"
)

// The buckets of a file. A checksum tells them apart by their first letters.
const (
	clientsBucket = "clients" // orderKey → Client
	plansBucket   = "plans"   // name → Plan
	auditBucket   = "audit"   // ID, big-endian → Entry
	repliesBucket = "replies" // Idempotency-Key → Reply
	timesBucket   = "times"   // time of a reply in microseconds, big-endian, and its key → nothing
	metaBucket    = "meta"    // stateKey → fileState
)

const stateKey = "state"

// The kinds of files.
const (
	storeKind    = 'f' // has all buckets
	snapshotKind = 's' // has clients, plans and the state
)

var bucketsOf = map[byte][]string{
	storeKind:    {clientsBucket, plansBucket, auditBucket, repliesBucket, timesBucket, metaBucket},
	snapshotKind: {clientsBucket, plansBucket, metaBucket},
}

// fileState is what a file says of itself.
type fileState struct {
	kind byte
	Position
	tally // of all records but this one
}

func (s *fileState) write(tx *bbolt.Tx) error {
	value := append([]byte{0}, s.kind)
	value = appendText(value, s.History)
	value = binary.AppendVarint(value, s.Version)
	value = binary.LittleEndian.AppendUint64(value, s.count)
	value = binary.LittleEndian.AppendUint64(value, s.sum)
	return tx.Bucket([]byte(metaBucket)).Put([]byte(stateKey), seal(metaBucket, []byte(stateKey), value))
}

// readState decodes the state that stands under the key.
func readState(key, value []byte) (s fileState, err error) {
	if len(value) > 0 && value[0] > fileFormat {
		return s, fmt.Errorf("it is of a newer version (format %d): this one reads formats up to %d", value[0], fileFormat)
	}
	payload, err := unseal(metaBucket, key, value)
	if err != nil || string(key) != stateKey {
		return s, errRecord
	}
	r := reader{rest: payload}
	s.kind = r.byte()
	s.Position = Position{History: r.text(), Version: r.varint()}
	s.tally = tally{count: r.uint64(), sum: r.uint64()}
	return s, r.end()
}

func stateOf(tx *bbolt.Tx) (fileState, error) {
	bucket, err := bucketOf(tx, metaBucket)
	if err != nil {
		return fileState{}, err
	}
	return readState([]byte(stateKey), bucket.Get([]byte(stateKey)))
}

// bucketOf returns an error for a bucket that is gone.
func bucketOf(tx *bbolt.Tx, name string) (*bbolt.Bucket, error) {
	if bucket := tx.Bucket([]byte(name)); bucket != nil {
		return bucket, nil
	}
	return nil, errRecord
}

// setUp makes the buckets of a new file, and its state.
func setUp(tx *bbolt.Tx, s *fileState) error {
	for _, name := range bucketsOf[s.kind] {
		if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
			return err
		}
	}
	return s.write(tx)
}

// getRecord returns the payload of a record, and nil if there is none.
func getRecord(tx *bbolt.Tx, bucket string, key []byte) ([]byte, error) {
	b, err := bucketOf(tx, bucket)
	if err != nil {
		return nil, err
	}
	value := b.Get(key)
	if value == nil {
		return nil, nil
	}
	return unseal(bucket, key, bytes.Clone(value)) // what is checked must not change until it is decoded
}

// putRecord stores a payload, which begins with room for the format.
func (s *fileState) putRecord(tx *bbolt.Tx, bucket string, key, payload []byte) error {
	b, err := s.dropRecord(tx, bucket, key)
	if err != nil {
		return err
	}
	return s.addRecord(b, bucket, key, payload)
}

// addRecord is putRecord where there is no such record.
func (s *fileState) addRecord(b *bbolt.Bucket, bucket string, key, payload []byte) error {
	value := seal(bucket, key, payload)
	s.add(sealOf(value))
	return b.Put(key, value)
}

func (s *fileState) deleteRecord(tx *bbolt.Tx, bucket string, key []byte) error {
	b, err := s.dropRecord(tx, bucket, key)
	if err != nil {
		return err
	}
	return b.Delete(key)
}

// dropRecord takes a record out of the tally.
func (s *fileState) dropRecord(tx *bbolt.Tx, bucket string, key []byte) (*bbolt.Bucket, error) {
	b, err := bucketOf(tx, bucket)
	if err != nil {
		return nil, err
	}
	if value := b.Get(key); value != nil {
		if _, err := unseal(bucket, key, value); err != nil {
			return nil, err
		}
		s.remove(sealOf(value))
	}
	return b, nil
}

// eachRecord visits the records of a bucket behind the key, while visit returns true.
func eachRecord(tx *bbolt.Tx, bucket string, after []byte, visit func(key, payload []byte) (bool, error)) error {
	b, err := bucketOf(tx, bucket)
	if err != nil {
		return err
	}
	cursor := b.Cursor()
	key, value := cursor.Seek(after)
	if key != nil && string(key) == string(after) {
		key, value = cursor.Next()
	}
	var ownKey, ownValue []byte // as in getRecord
	for more := true; key != nil && more; key, value = cursor.Next() {
		ownKey, ownValue = append(ownKey[:0], key...), append(ownValue[:0], value...)
		payload, err := unseal(bucket, ownKey, ownValue)
		if err != nil {
			return err
		}
		if more, err = visit(ownKey, payload); err != nil {
			return err
		}
	}
	return nil
}
