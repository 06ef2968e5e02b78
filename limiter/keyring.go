package limiter

import (
	"crypto/sha256"
	"slices"
)

// MaxKeys is the largest number of API keys that a client has at once.
const MaxKeys = 4

// keyring holds the digests of a client's API keys, each once, from one to MaxKeys. It never
// changes. Most clients have one key, so the others are elsewhere.
type keyring struct {
	first KeyDigest
	more  *[MaxKeys - 1]KeyDigest // zero digests are absent; nil if there are none
}

// keyringOf returns the digests given, without those that are zero. A client without a key gets a
// digest that no request has, as header fields contain no NUL.
func keyringOf(name string, given [MaxKeys]KeyDigest) keyring {
	n := 0
	for _, d := range given {
		if d != (KeyDigest{}) && !slices.Contains(given[:n], d) {
			given[n] = d
			n++
		}
	}
	clear(given[n:])
	switch n {
	case 0:
		return keyring{first: sha256.Sum256([]byte("\x00" + name))}
	case 1:
		return keyring{first: given[0]}
	}
	more := [MaxKeys - 1]KeyDigest(given[1:])
	return keyring{given[0], &more}
}

// all calls yield for each digest.
func (r *keyring) all(yield func(KeyDigest) bool) {
	if !yield(r.first) || r.more == nil {
		return
	}
	for _, d := range r.more {
		if d != (KeyDigest{}) && !yield(d) {
			return
		}
	}
}

// has reports whether the digest is one of them.
func (r *keyring) has(d KeyDigest) bool {
	return r.first == d || r.more != nil && slices.Contains(r.more[:], d)
}

// leads reports whether one of them begins with the word, by which a request remembers its key.
func (r *keyring) leads(word uint64) bool {
	for d := range r.all {
		if d.place().hi == word {
			return true
		}
	}
	return false
}

// without returns the others; ok is false if there are none.
func (r *keyring) without(d KeyDigest) (others [MaxKeys]KeyDigest, ok bool) {
	n := 0
	for other := range r.all {
		if other.place() != d.place() {
			others[n] = other
			n++
		}
	}
	return others, n > 0
}
