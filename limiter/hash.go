package limiter

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"net/netip"
)

// address is an IPv6 address, or an IPv4 address mapped to IPv6, in two words.
type address struct{ hi, lo uint64 }

func addressOf(a netip.Addr) address {
	if a.Is4() { // the fast path; see hash
		b := a.As4()
		return address{0, mapped | uint64(binary.BigEndian.Uint32(b[:]))}
	}
	b := a.As16()
	return address{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

const mapped = 0xffff << 32

func (a address) is4() bool {
	return a.hi == 0 && a.lo>>32 == mapped>>32
}

// translated returns the IPv4 address that a NAT64 translator with the well-known prefix
// 64:ff9b::/96 (RFC 6052, section 2.1) has put into the address.
func (a address) translated() (ipv4 address, ok bool) {
	if a.hi != 0x64ff9b<<32 || a.lo>>32 != 0 {
		return address{}, false
	}
	return address{0, mapped | a.lo}, true
}

// addr returns the address, as IPv4 if it is that.
func (a address) addr() netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], a.hi)
	binary.BigEndian.PutUint64(b[8:], a.lo)
	return netip.AddrFrom16(b).Unmap()
}

// hashKey is the random secret that selects a hash function of addresses. Without it, a client
// cannot choose an address with the hash of another.
type hashKey struct {
	add    word128
	hi, lo word128 // the factors of an address's two words
}

type word128 struct{ hi, lo uint64 }

func newHashKey() hashKey {
	seed := maphash.MakeSeed()
	word := func(n int) word128 {
		return word128{maphash.Comparable(seed, 2*n), maphash.Comparable(seed, 2*n+1)}
	}
	return hashKey{word(0), word(1), word(2)}
}

// hash returns the upper half of add + hi·a.hi + lo·a.lo, modulo 2^128, which is strongly
// universal: any two addresses have the same hash with a probability of 2^-64 (Dietzfelbinger 1996;
// Thorup, High Speed Hashing for Integers and Strings, 2015, section 3.2). A permutation then
// removes its linearity, so that neighbours are not laid out at regular distances.
//
// The runtime's hash (package maphash) would be as good, but it reads in one piece what was just
// written in two. The processor then stalls until all earlier loads are done, such as that of
// another client's bucket; here several can overlap.
func (k *hashKey) hash(a address) uint64 {
	hi1, lo1 := bits.Mul64(k.hi.lo, a.hi)
	hi2, lo2 := bits.Mul64(k.lo.lo, a.lo)
	lo, carry1 := bits.Add64(lo1, lo2, 0)
	_, carry2 := bits.Add64(lo, k.add.lo, 0)
	h := hi1 + k.hi.hi*a.hi + hi2 + k.lo.hi*a.lo + k.add.hi + carry1 + carry2
	return permute(h)
}

// permute is the finalizer of MurmurHash3.
func permute(h uint64) uint64 {
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
