package http2

import (
	"time"

	"loadbalancer/proxy/ends"
)

// maxStreams is the most streams at once on a connection: enough for a page of images or a proxy in
// front, and so few that a client that resets its streams makes no more work than that.
const maxStreams = 250

// Options are the parts of a Server. Handle is called concurrently.
type Options struct {
	Bounds
	MaxHeaderSize int               // bytes of a header list, where each field counts 32 more (RFC 9113, section 6.5.2)
	Handle        func(ends.Stream) // takes each request; it must call the stream's End, and must not panic
	Activity      *ends.Activity    // of the server that accepts the connections
}

// Bounds are the limits of a Server's connections. A connection goes by those that were in force
// when it began.
type Bounds struct {
	ReadHeaderTimeout time.Duration // for the preface, and for each header block from its first frame
	IdleTimeout       time.Duration // of a connection without a stream, which then gets a GOAWAY
	BodyTimeout       time.Duration // of a connection whose client takes nothing
}
