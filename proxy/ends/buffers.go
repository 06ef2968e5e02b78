package ends

import "sync"

// BufferSize is the size of the buffers that copy large bodies.
const BufferSize = 64 << 10

// Buffers holds those that nothing uses.
var Buffers = sync.Pool{New: func() any { return new([BufferSize]byte) }}
