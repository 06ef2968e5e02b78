package store

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"maps"
	"math"
	"slices"
	"time"

	"loadbalancer/limiter"
)

// A value in a file is sealed: the format in one byte, the payload, and a checksum of the bucket,
// the key, the format and the payload. So a record that was damaged is found, and so is one that
// stands under another key or in another bucket.

// fileFormat is the format of the records. A file tells it in its state, too.
const fileFormat = 1

const checksumSize = 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errRecord means that a record is not as it was written.
var errRecord = errors.New("a record is not as it was written")

func checksum(bucket string, key, sealed []byte) uint32 {
	sum := crc32.Update(uint32(bucket[0]), castagnoli, key)
	return crc32.Update(sum, castagnoli, sealed)
}

// seal ends a value, which begins with room for the format.
func seal(bucket string, key, value []byte) []byte {
	value[0] = fileFormat
	return binary.LittleEndian.AppendUint32(value, checksum(bucket, key, value))
}

// unseal returns the payload of a value.
func unseal(bucket string, key, value []byte) ([]byte, error) {
	end := len(value) - checksumSize
	if end < 1 || value[0] != fileFormat || sealOf(value) != checksum(bucket, key, value[:end]) {
		return nil, errRecord
	}
	return value[1:end], nil
}

// sealOf returns the checksum at the end of a sealed value.
func sealOf(value []byte) uint32 {
	return binary.LittleEndian.Uint32(value[len(value)-checksumSize:])
}

// tally is a number and a sum of records, in any order. Two sets of records with the same tally are
// the same, but for a chance of one in billions.
type tally struct{ count, sum uint64 }

func (t *tally) add(seal uint32)    { t.count, t.sum = t.count+1, t.sum+spread(seal) }
func (t *tally) remove(seal uint32) { t.count, t.sum = t.count-1, t.sum-spread(seal) }

// spread makes 64 bits of a checksum (the last steps of splitmix64).
func spread(seal uint32) uint64 {
	x := uint64(seal) + 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// overridesFlag is that of a client with a capacity or a rate of its own.
const overridesFlag = 1

// The flags of terms.
const (
	shadowFlag = 2 << iota
	blockedFlag
	eachFlag
)

// appendClient appends the payload of a client's record. What PlanUsers and Overriding ask for
// comes first.
func appendClient(b []byte, c *Client) []byte {
	var flags byte
	if c.overrides() {
		flags |= overridesFlag
	}
	b = append(b, flags)
	b = appendText(b, c.Plan)
	b = binary.AppendVarint(b, c.Version)
	b = appendTime(b, c.CreatedAt)
	b = appendTime(b, c.UpdatedAt)
	b = appendTime(b, c.ExpiresAt)
	b = appendTerms(b, &c.Own)
	b = binary.AppendUvarint(b, uint64(len(c.Keys)))
	for i := range c.Keys {
		b = appendKey(b, &c.Keys[i])
	}
	b = binary.AppendUvarint(b, uint64(len(c.Labels)))
	for _, name := range slices.Sorted(maps.Keys(c.Labels)) {
		b = appendText(appendText(b, name), c.Labels[name])
	}
	return b
}

// readClient decodes the payload of a client's record.
func readClient(id limiter.ID, payload []byte) (Client, error) {
	r := reader{rest: payload}
	r.byte()
	c := Client{ID: id, Plan: r.text(), Version: r.varint()}
	c.CreatedAt, c.UpdatedAt, c.ExpiresAt = r.time(), r.time(), r.time()
	c.Own = r.terms()
	if n := r.length(); n > 0 {
		c.Keys = make([]Key, n)
		for i := range c.Keys {
			c.Keys[i] = r.key()
		}
	}
	if n := r.length(); n > 0 {
		c.Labels = make(map[string]string, n)
		for range n {
			name := r.text()
			c.Labels[name] = r.text()
		}
	}
	return c, r.end()
}

// planOf returns the plan in the payload of a client's record, which lasts as long as the payload,
// and whether the client has a capacity or a rate of its own.
func planOf(payload []byte) (plan []byte, overrides bool, err error) {
	r := reader{rest: payload}
	overrides = r.byte()&overridesFlag != 0
	plan = r.bytes()
	return plan, overrides, r.err
}

func appendPlan(b []byte, p *Plan) []byte {
	b = binary.AppendVarint(b, p.Version)
	b = appendTime(b, p.CreatedAt)
	b = appendTime(b, p.UpdatedAt)
	return appendTerms(b, &p.Terms)
}

func readPlan(name string, payload []byte) (Plan, error) {
	r := reader{rest: payload}
	p := Plan{Name: name, Version: r.varint(), CreatedAt: r.time(), UpdatedAt: r.time(), Terms: r.terms()}
	return p, r.end()
}

func appendEntry(b []byte, e *Entry) []byte {
	b = appendTime(b, e.At)
	for _, text := range []string{e.Who, e.From, e.Action, e.Target, string(e.Before), string(e.After)} {
		b = appendText(b, text)
	}
	return b
}

func readEntry(id int64, payload []byte) (Entry, error) {
	r := reader{rest: payload}
	e := Entry{ID: id, At: r.time(), Who: r.text(), From: r.text(), Action: r.text(), Target: r.text()}
	e.Before, e.After = r.blob(), r.blob()
	return e, r.end()
}

func appendReply(b []byte, reply *Reply) []byte {
	b = appendTime(b, reply.At)
	b = append(b, reply.Digest[:]...)
	b = binary.AppendVarint(b, int64(reply.Status))
	return appendText(b, string(reply.Body))
}

func readReply(key string, payload []byte) (Reply, error) {
	r := reader{rest: payload}
	reply := Reply{Key: key, At: r.time()}
	copy(reply.Digest[:], r.take(len(reply.Digest)))
	reply.Status = int(r.varint())
	reply.Body = r.blob()
	return reply, r.end()
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// appendTime appends a time in microseconds, and 0 for the zero time.
func appendTime(b []byte, at time.Time) []byte {
	if at.IsZero() {
		return append(b, 0)
	}
	micros := at.UnixMicro()
	return binary.AppendUvarint(b, uint64(micros<<1^micros>>63)+1)
}

func appendKey(b []byte, k *Key) []byte {
	b = append(appendText(b, k.ID), k.Digest[:]...)
	return appendTime(appendTime(b, k.CreatedAt), k.ExpiresAt)
}

func appendTerms(b []byte, t *limiter.Terms) []byte {
	var flags byte
	if t.Shadow {
		flags |= shadowFlag
	}
	if t.Blocked {
		flags |= blockedFlag
	}
	if t.Each {
		flags |= eachFlag
	}
	b = appendLimit(append(b, flags), t.Limit)
	b = binary.AppendVarint(b, t.MaxInFlight)
	return appendLimit(b, t.Trial)
}

func appendLimit(b []byte, l limiter.Limit) []byte {
	b = binary.AppendVarint(b, l.Capacity)
	return binary.LittleEndian.AppendUint64(b, math.Float64bits(l.RatePerSecond))
}
