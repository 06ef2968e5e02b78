package limiter

import (
	"math/bits"
	"sync/atomic"
)

// index holds the buckets of registered addresses, or of other clients under two words that stand for
// an address, in open addressing with linear probing. Finding one takes no lock and, since the
// buckets lie in the table itself, a single visit to memory where a table of pointers takes two or
// three.
//
// An address keeps its entry for as long as the table lives, and so a reader that compares it
// never sees another's bucket. New terms close the bucket in the entry, which then leads to a
// bucket elsewhere; deletion closes it and it leads nowhere. When too many entries are like that,
// or half of all are taken, everything alive moves to a new table. Whoever still looks into the old
// one finds closed buckets that lead to the new.
//
// Memory is 128 to 192 bytes per address once there are many, 112 for its account, and 48 more for
// one whose terms changed lately. While the tables change, both exist.
type index struct {
	hash    func(address) uint64 // the one whose results find gets
	entries atomic.Pointer[[]entry]
	size    atomic.Int64 // addresses registered

	// Guarded by Limiter.registering, as are all methods but find.
	taken int // entries that are not free
	stale int // those of them whose own bucket is closed
}

const leastEntries = 16

// entry is free as long as the bucket's state is 0. The address is written before the state and
// never again. An entry is as large as a line of the processor's cache, and large tables begin with
// one.
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

// find returns the bucket of the address with that hash, or nil if it is not registered. By the
// time it is used it may be closed. Then its next, if it has one, is the one to use; if not, find
// does not return it again.
func (x *index) find(hash uint64, a address) *bucket {
	e, known := probe(*x.entries.Load(), hash, a)
	if !known {
		return nil
	}
	return e.current()
}

// probe returns the entry of the address or, if it has none, the free entry that is for it.
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

// current returns the bucket of the entry's address, or nil if that is not registered any more.
func (e *entry) current() *bucket {
	if e.bucket.state.Load() < 0 {
		return e.bucket.next.Load()
	}
	return &e.bucket
}

// get returns the bucket of the address, or nil if it is not registered.
func (x *index) get(a address) *bucket { return x.find(x.hash(a), a) }

// add registers an address, which is not registered, with the bucket, which no request can have found:
// in the entry it would already be another.
func (x *index) add(a address, b *bucket) {
	x.size.Add(1)
	e, known := probe(*x.entries.Load(), x.hash(a), a)
	if known { // it was registered before
		e.bucket.next.Store(b)
		return
	}
	if 2*(x.taken+1) > len(*x.entries.Load()) {
		x.rebuild()
		e, _ = probe(*x.entries.Load(), x.hash(a), a)
	}
	e.address = a
	b.move(&e.bucket)
	x.taken++
}

// replace says that the address's bucket has been closed and leads to another.
func (x *index) replace(a address, old, next *bucket) {
	e, _ := probe(*x.entries.Load(), x.hash(a), a)
	if old == &e.bucket {
		x.stale++
	} else {
		e.bucket.next.Store(next)
	}
	x.tidy()
}

// remove unregisters an address, whose bucket it shuts.
func (x *index) remove(a address, old *bucket) (tat, entered int64) {
	// A request that finds the bucket closed identifies its client again. By then it must be gone.
	x.unlink(a, old)
	tat, entered = old.shut()
	x.tidy()
	return tat, entered
}

// unlink unregisters an address, whose bucket will be shut next.
func (x *index) unlink(a address, old *bucket) {
	e, _ := probe(*x.entries.Load(), x.hash(a), a)
	e.bucket.next.Store(nil)
	if old == &e.bucket {
		x.stale++
	}
	x.size.Add(-1)
}

// tidy moves everything if too many entries are stale. All buckets that are alive must be open.
func (x *index) tidy() {
	if x.stale > len(*x.entries.Load())/8 {
		x.rebuild()
	}
}

// rebuild moves everything to a table that is a third full.
func (x *index) rebuild() {
	old := *x.entries.Load()
	entries := make([]entry, max(leastEntries, 3*x.size.Load()))
	taken := 0
	for i := range old {
		from := &old[i]
		if from.bucket.state.Load() == 0 {
			continue
		}
		if b := from.current(); b != nil {
			to, _ := probe(entries, x.hash(from.address), from.address)
			to.address = from.address
			b.move(&to.bucket)
			taken++
		}
	}
	x.entries.Store(&entries)
	x.taken, x.stale = taken, 0
}
