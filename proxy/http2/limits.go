package http2

// Limits of a connection. Others are net/http's: see docs/http.md.
const (
	// maxStreams is the most streams at once: enough for a page of images or a proxy in front, and so
	// few that a client that resets its streams at once makes no more work than that.
	maxStreams = 250
	// What a stream and a connection may send before it is read, in bytes. One stream that is not
	// read must not keep the others of its connection from sending.
	streamWindow = 256 << 10
	connWindow   = 4 << 20
	// minFrameSize is the size of the largest frame that every client may send (RFC 9113, section
	// 4.2): a connection keeps a buffer for the largest that it has read.
	minFrameSize = 16 << 10
	// lastChunk is how many bytes net/http keeps until the handler returns.
	lastChunk = 4 << 10
)
