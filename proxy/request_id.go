package proxy

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
)

// requestID is the ID of a request, by which it is found in the logs of all servers on its way: the
// one that a trusted proxy gave it, or a random one, which is made when it is needed. The zero
// value is ready to use.
type requestID struct {
	given []byte // by a trusted proxy; nil: none
	made  [32]byte
}

// bytes returns the ID. It is valid as long as the request.
func (id *requestID) bytes() []byte {
	if id.given != nil {
		return id.given
	}
	if id.made[0] == 0 {
		var random [16]byte
		binary.NativeEndian.PutUint64(random[:8], rand.Uint64())
		binary.NativeEndian.PutUint64(random[8:], rand.Uint64())
		hex.Encode(id.made[:], random[:])
	}
	return id.made[:]
}
