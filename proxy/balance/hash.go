package balance

import "net/netip"

// AddrKey hashes a client's address into a key. The hash has no seed: every instance sends a client
// to the same member.
func AddrKey(a netip.Addr) uint64 {
	b := a.As16()
	var hi, lo uint64
	for i := range 8 {
		hi = hi<<8 | uint64(b[i])
		lo = lo<<8 | uint64(b[i+8])
	}
	return mix(mix(hi) + lo)
}

// StringKey hashes a member's name into its Hash, or a text into a key (FNV-1a, then mixed). It has
// no seed.
func StringKey[T string | []byte](s T) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return mix(h)
}

// mix is the finalizer of splitmix64 (Steele, Lea and Flood, 2014): every bit of the result depends
// on every bit of x.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// golden is the increment of splitmix64.
const golden = 0x9e3779b97f4a7c15
