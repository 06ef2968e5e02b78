package http2

import (
	"errors"
	"time"

	"loadbalancer/proxy/message"
)

// incoming is how far the body of a request was read.
type incoming struct {
	timeout   time.Duration // longest pause between two reads
	framing   message.Framing
	length    int64 // of a fixed-length body
	data      int64 // bytes read so far
	ended     bool  // the whole body has been read
	stopped   bool  // by StopBody; guarded by conn.mu
	continued bool  // 100 Continue was sent
}

func newIncoming(r *message.Request, timeout time.Duration) incoming {
	return incoming{timeout: timeout, framing: r.Framing, length: r.Length, ended: r.Framing == message.NoBody}
}

// What went wrong, for an operator to read.
var (
	errClientReset = errors.New("the client reset the stream, or closed the connection, within the request body")
	errLength      = errors.New("the request body does not have the length that its Content-Length says")
	errSlow        = errors.New("the client took nothing of the response for as long as server.body_timeout")
)
