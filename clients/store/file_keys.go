package store

import "loadbalancer/limiter"

// keyPrefix is what the index keeps of a digest: 96 bits, which no two keys will share.
type keyPrefix [12]byte

func prefixOf(digest *limiter.KeyDigest) keyPrefix { return keyPrefix(digest[:]) }

// keyIndex tells which client has a key. It is in memory, about 50 bytes a key, and made of the
// clients when a file is opened: in the file it would be a page to write for each key of an import,
// since digests have no order, and could disagree with the clients. A file's writer has it alone.
type keyIndex struct {
	at     map[keyPrefix]uint32 // → where in keys
	keys   []byte               // orderKeys, each behind its length
	unused int                  // bytes of keys that are of no use any more, at least
}

func newKeyIndex() *keyIndex { return &keyIndex{at: map[keyPrefix]uint32{}} }

// holder returns the orderKey of the client that has the key, or nil.
func (x *keyIndex) holder(k keyPrefix) []byte {
	at, found := x.at[k]
	if !found {
		return nil
	}
	return x.keyAt(at)
}

func (x *keyIndex) keyAt(at uint32) []byte {
	end := at + 1 + uint32(x.keys[at])
	return x.keys[at+1 : end : end]
}

// set gives the key to a client, or to none if the orderKey is "".
func (x *keyIndex) set(k keyPrefix, client string) {
	if old := x.holder(k); old != nil {
		x.unused += 1 + len(old)
	}
	if client == "" {
		delete(x.at, k)
	} else {
		x.at[k] = x.append(client)
	}
	if x.unused > 1<<20 && x.unused > len(x.keys)/2 {
		x.compact()
	}
}

func (x *keyIndex) append(client string) uint32 {
	at := len(x.keys)
	x.keys = append(append(x.keys, byte(len(client))), client...)
	return uint32(at)
}

func (x *keyIndex) compact() {
	old := *x
	x.keys, x.unused = make([]byte, 0, len(x.keys)-x.unused/2), 0
	for k, at := range x.at {
		x.at[k] = x.append(string(old.keyAt(at)))
	}
}
