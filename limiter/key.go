package limiter

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
)

// MaxKeySize bounds an API key, in bytes. A longer one is nobody's.
const MaxKeySize = 256

// KeyDigest is what is kept of an API key.
type KeyDigest [sha256.Size]byte

// DigestKey returns the SHA-256 of the key. Of one that begins with a scheme, as in "Bearer abc",
// neither the scheme's case matters nor the number of spaces behind it, as they do not to backends
// (RFC 9110, sections 11.1 and 11.4): else a client that has spent its tokens could go on as
// "bearer abc", with the limit of its address.
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

// place returns where the digest stands in the index of keys.
func (k *KeyDigest) place() address {
	return address{binary.BigEndian.Uint64(k[:8]), binary.BigEndian.Uint64(k[8:16])}
}
