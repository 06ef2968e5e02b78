package limiter

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
)

// MaxKeySize is the size of the longest API key, in bytes. A longer key belongs to no client.
const MaxKeySize = 256

// KeyDigest is the SHA-256 by which an API key is stored.
type KeyDigest [sha256.Size]byte

// DigestKey returns the digest of the key. If the key begins with a scheme, as in "Bearer abc", the
// case of the scheme and the number of spaces after it do not matter, as they do not to backends
// (RFC 9110, sections 11.1 and 11.4); otherwise a client without tokens could go on as "bearer abc"
// with the limit of its address. A key longer than MaxKeySize is digested as it is.
func DigestKey(key []byte) KeyDigest {
	end := bytes.IndexByte(key, ' ')
	if end < 0 || len(key) > MaxKeySize {
		return sha256.Sum256(key)
	}
	var room [MaxKeySize]byte
	plain := room[:0]
	for _, c := range key[:end] {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		plain = append(plain, c)
	}
	plain = append(plain, ' ')
	return sha256.Sum256(append(plain, bytes.TrimLeft(key[end:], " ")...))
}

// place returns the words under which the digest is in the index of keys.
func (k KeyDigest) place() address {
	return address{binary.BigEndian.Uint64(k[:8]), binary.BigEndian.Uint64(k[8:16])}
}
