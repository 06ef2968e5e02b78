package http1

import "loadbalancer/proxy/ends"

// streamBufferSize is the size of the buffers that copy large bodies.
const streamBufferSize = ends.BufferSize

var streamBuffers = &ends.Buffers

// responseBufferSize is the size of the buffer for what a backend sends. A larger header gets a
// larger buffer: see inbound.widen.
const responseBufferSize = 16 << 10

// outSize is the initial size of the buffer for what leaves: everything that was read along with a
// response's header fits, and leaves in one write. The buffer grows for a larger header; beyond
// maxOutSize it is not kept.
const (
	outSize    = responseBufferSize + 4<<10
	maxOutSize = 64 << 10
)
