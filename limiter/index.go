package limiter

import (
	"math/bits"
	"sync/atomic"
)

// index leads to the buckets of registered addresses, or of keys under two words in place of an
// address, by open addressing with linear probing. A lookup takes no lock and, since the buckets
// are in the table itself, one visit to memory, where a table of pointers takes two or three.
//
// An address keeps its entry for as long as the table lives, so a reader that compares the address
// never sees the bucket of another. New terms close the bucket in the entry, which then leads to a
// bucket elsewhere; deletion closes it, and it leads nowhere. When too many entries are closed, or
// half of all are taken, the live buckets move to a new table. Readers of the old one find closed
// buckets that lead to the new.
//
// If a client has several keys, its bucket is elsewhere, and the entries of the keys, closed from the
// beginning, lead to it. A bucket in one of the entries could not lead on once that key is removed.
//
// Memory is 128 to 192 bytes per address once there are many, 64 for its account, and 48 more for
// an address whose terms changed lately. During a move both tables exist.
type index struct {
	hash    func(address) uint64 // the hash that find expects
	entries atomic.Pointer[[]entry]
	size    atomic.Int64 // registered addresses, or keys of registered clients

	// Guarded by Limiter.registering, as are all methods but find.
	taken int // entries that are not free
	stale int // taken entries whose own bucket was closed
}

const leastEntries = 16

// entry is free while the bucket's state is 0. The address is written before the state and never
// again. An entry is one cache line in size, and large tables are aligned to one.
type entry struct {
	address address
	bucket  bucket
}

func newIndex(hash func(address) uint64) *index {
	x := &index{hash: hash}
	entries := make([]entry, leastEntries)
	x.entries.Store(&entries)
	return x
}

// find returns the bucket of the address, which has the hash, or nil if it is not registered. The
// bucket may be closed by the time it is used: then its next, if any, is the one to use; if it has
// none, find does not return it again.
func (x *index) find(hash uint64, a address) *bucket {
	e, known := probe(*x.entries.Load(), hash, a)
	if !known {
		return nil
	}
	return e.bucket.current()
}

// probe returns the entry of the address or, if it has none, the free entry to use for it.
func probe(entries []entry, hash uint64, a address) (e *entry, known bool) {
	first, _ := bits.Mul64(hash, uint64(len(entries)))
	for i := int(first); ; {
		e = &entries[i]
		if e.bucket.state.Load() == 0 {
			return e, false
		}
		if e.address == a {
			return e, true
		}
		if i++; i == len(entries) {
			i = 0
		}
	}
}

// owned returns the current bucket of the entry's client, and its address. It returns nil if there is
// no client, or another entry is the first that leads to it. The table may have been replaced.
func (e *entry) owned() (*bucket, address) {
	if e.bucket.state.Load() == 0 {
		return nil, address{}
	}
	b := e.bucket.latest()
	if b != nil {
		if n := b.account.named.Load(); n != nil && n.keys.first.place() != e.address {
			return nil, address{}
		}
	}
	return b, e.address
}

// get returns the bucket of the address, or nil if it is not registered.
func (x *index) get(a address) *bucket { return x.find(x.hash(a), a) }

// add registers an unregistered address with the bucket. No request may have found that bucket yet,
// as it is moved into the entry.
func (x *index) add(a address, b *bucket) {
	if e := x.place(a, b); e != nil {
		b.move(&e.bucket)
	}
}

// lead makes an unregistered address lead to the bucket, which stays where it is.
func (x *index) lead(a address, b *bucket) {
	if e := x.place(a, b); e != nil {
		e.bucket.next.Store(b)
		e.bucket.state.Store(closed | full)
	}
}

// place returns a new entry for an unregistered address, or nil if there was one; that leads to the
// bucket now.
func (x *index) place(a address, b *bucket) *entry {
	x.size.Add(1)
	e, known := probe(*x.entries.Load(), x.hash(a), a)
	if known { // registered before
		e.bucket.next.Store(b)
		return nil
	}
	if 2*(x.taken+1) > len(*x.entries.Load()) {
		x.rebuild()
		e, _ = probe(*x.entries.Load(), x.hash(a), a)
	}
	e.address = a
	x.taken++
	return e
}

// replace records that the address's bucket old was closed and leads to next. The caller then calls
// tidy.
func (x *index) replace(a address, old, next *bucket) {
	e, _ := probe(*x.entries.Load(), x.hash(a), a)
	if old == &e.bucket {
		x.stale++
	} else {
		e.bucket.next.Store(next)
	}
}

// unlink unregisters an address. The caller then closes its bucket, and calls tidy.
func (x *index) unlink(a address, old *bucket) {
	e, _ := probe(*x.entries.Load(), x.hash(a), a)
	e.bucket.next.Store(nil)
	if old == &e.bucket {
		x.stale++
	}
	x.size.Add(-1)
}

// tidy rebuilds the table if too many entries are stale. All live buckets must be open.
func (x *index) tidy() {
	if x.stale > len(*x.entries.Load())/4 {
		x.rebuild()
	}
}

// rebuild moves the live buckets to a table that is a third full.
func (x *index) rebuild() {
	old := *x.entries.Load()
	entries := make([]entry, max(leastEntries, 3*x.size.Load()))
	taken := 0
	for i := range old {
		from := &old[i]
		if from.bucket.state.Load() == 0 {
			continue
		}
		if b := from.bucket.current(); b != nil {
			to, _ := probe(entries, x.hash(from.address), from.address)
			to.address = from.address
			if b != &from.bucket && b.account.several() {
				to.bucket.next.Store(b)
				to.bucket.state.Store(closed | full)
			} else {
				b.move(&to.bucket)
			}
			taken++
		}
	}
	x.entries.Store(&entries)
	x.taken, x.stale = taken, 0
}
