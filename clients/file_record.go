package clients

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"go.etcd.io/bbolt"

	"loadbalancer/limiter"
)

// fileRecord is a stored client. Fields may be added: they are zero in records that lack them.
type fileRecord struct {
	APIKeySHA256  []byte    `json:"api_key_sha256,omitempty"` // only with a name
	Capacity      int64     `json:"capacity"`
	RatePerSecond float64   `json:"rate_per_second"`
	MaxInFlight   int64     `json:"max_in_flight,omitempty"`
	Shadow        bool      `json:"shadow,omitempty"`
	Trial         limitJSON `json:"trial,omitzero"`
	CreatedAt     time.Time `json:"created_at"`
	UpdatedAt     time.Time `json:"updated_at"`
}

// getRecord returns errNotFound if there is no such client.
func getRecord(tx *bbolt.Tx, id limiter.ID) (client, error) {
	value := tx.Bucket([]byte(clientsBucket)).Get(idKey(id))
	if value == nil {
		return client{}, errNotFound
	}
	return decodeRecord(id, value)
}

func putRecord(tx *bbolt.Tx, c client) error {
	value, err := json.Marshal(fileRecord{
		APIKeySHA256:  digestOf(c),
		Capacity:      c.Terms.Capacity,
		RatePerSecond: c.Terms.RatePerSecond,
		MaxInFlight:   c.Terms.MaxInFlight,
		Shadow:        c.Terms.Shadow,
		Trial:         limitJSON(c.Terms.Trial),
		CreatedAt:     c.createdAt,
		UpdatedAt:     c.updatedAt,
	})
	if err != nil {
		return fmt.Errorf("encode the client %s: %w", c.ID, err)
	}
	return tx.Bucket([]byte(clientsBucket)).Put(idKey(c.ID), value)
}

func decodeRecord(id limiter.ID, value []byte) (client, error) {
	var record fileRecord
	if err := json.Unmarshal(value, &record); err != nil {
		return client{}, fmt.Errorf("decode the client %s: %w", id, err)
	}
	c := client{createdAt: record.CreatedAt, updatedAt: record.UpdatedAt}
	want := 0
	if c.ID = id; id.Name != "" {
		want = len(c.Keys[0])
	}
	if copied := copy(c.Keys[0][:], record.APIKeySHA256); copied != want || copied != len(record.APIKeySHA256) {
		return client{}, fmt.Errorf("decode the client %s: its api_key_sha256 has %d bytes and not %d",
			id, len(record.APIKeySHA256), want)
	}
	c.Terms = limiter.Terms{
		Limit:       limiter.Limit{Capacity: record.Capacity, RatePerSecond: record.RatePerSecond},
		MaxInFlight: record.MaxInFlight,
		Shadow:      record.Shadow,
		Trial:       limiter.Limit(record.Trial),
	}
	return c, nil
}

// takeKey records that the client has its key. It returns errKeyTaken if another client has it, and
// does nothing for the zero key.
func takeKey(tx *bbolt.Tx, c client) error {
	if c.Keys[0] == (limiter.KeyDigest{}) {
		return nil
	}
	keys := tx.Bucket([]byte(keysBucket))
	if keys.Get(c.Keys[0][:]) != nil {
		return errKeyTaken
	}
	return keys.Put(c.Keys[0][:], idKey(c.ID))
}

// returnKey reverses takeKey.
func returnKey(tx *bbolt.Tx, c client) error {
	if c.Keys[0] == (limiter.KeyDigest{}) {
		return nil
	}
	return tx.Bucket([]byte(keysBucket)).Delete(c.Keys[0][:])
}

// The first byte of an idKey.
const (
	noKind   = 0
	ipv4Kind = 4
	ipv6Kind = 6
	nameKind = 'n'
)

// idKey returns a key whose bytes sort in the order of storage.scan, which for ranges is the order
// of the PostgreSQL type cidr. The key of a range is its family, the address in 16 bytes and the
// prefix length; the key of a name is a kind byte and the name. The zero ID sorts first.
func idKey(id limiter.ID) []byte {
	if id.Name != "" {
		return append([]byte{nameKind}, id.Name...)
	}
	if !id.Prefix.IsValid() {
		return []byte{noKind}
	}
	key := []byte{ipv6Kind}
	if id.Prefix.Addr().Is4() {
		key[0] = ipv4Kind
	}
	addr := id.Prefix.Addr().As16()
	return append(append(key, addr[:]...), byte(id.Prefix.Bits()))
}

// keyID is the inverse of idKey.
func keyID(key []byte) (limiter.ID, error) {
	const rangeSize = 1 + 16 + 1
	switch {
	case len(key) > 0 && key[0] == nameKind && isName(string(key[1:])):
		return limiter.ID{Name: string(key[1:])}, nil
	case len(key) == rangeSize && (key[0] == ipv4Kind || key[0] == ipv6Kind):
		addr := netip.AddrFrom16([16]byte(key[1:17]))
		if key[0] == ipv4Kind {
			addr = addr.Unmap()
		}
		if prefix := netip.PrefixFrom(addr, int(key[17])); prefix.IsValid() {
			return limiter.ID{Prefix: prefix}, nil
		}
	}
	return limiter.ID{}, fmt.Errorf("the key %x is of no client", key)
}
