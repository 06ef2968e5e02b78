package store

import (
	"encoding/binary"
	"math"
	"time"

	"loadbalancer/limiter"
)

// reader decodes a payload. Once it fails it returns zeros, and err says so.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) fail() {
	r.rest, r.err = nil, errRecord
}

// end returns an error unless all was decoded.
func (r *reader) end() error {
	if len(r.rest) > 0 {
		r.fail()
	}
	return r.err
}

func (r *reader) take(n int) []byte {
	if n > len(r.rest) {
		r.fail()
		return nil
	}
	taken := r.rest[:n:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	value, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.rest = r.rest[n:]
	return value
}

func (r *reader) varint() int64 {
	value, n := binary.Varint(r.rest)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.rest = r.rest[n:]
	return value
}

// length returns a number of things that follow, each of a byte or more.
func (r *reader) length() int {
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *reader) uint64() uint64 {
	if b := r.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *reader) bytes() []byte { return r.take(r.length()) }
func (r *reader) text() string  { return string(r.bytes()) }

// blob returns a copy, or nil for nothing.
func (r *reader) blob() []byte { return append([]byte(nil), r.bytes()...) }

func (r *reader) time() time.Time {
	value := r.uvarint()
	if value == 0 {
		return time.Time{}
	}
	value--
	return time.UnixMicro(int64(value>>1) ^ -int64(value&1)).UTC()
}

func (r *reader) key() (k Key) {
	k.ID = r.text()
	copy(k.Digest[:], r.take(len(k.Digest)))
	k.CreatedAt, k.ExpiresAt = r.time(), r.time()
	return k
}

func (r *reader) terms() (t limiter.Terms) {
	flags := r.byte()
	t.Shadow, t.Blocked, t.Each = flags&shadowFlag != 0, flags&blockedFlag != 0, flags&eachFlag != 0
	t.Limit = r.limit()
	t.MaxInFlight = r.varint()
	t.Trial = r.limit()
	return t
}

func (r *reader) limit() limiter.Limit {
	return limiter.Limit{Capacity: r.varint(), RatePerSecond: math.Float64frombits(r.uint64())}
}
