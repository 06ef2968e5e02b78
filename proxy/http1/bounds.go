package http1

import "time"

// Bounds are the limits of a Server's connections, which may change while it serves.
type Bounds struct {
	// ReadHeaderTimeout is the time for the first byte on a new connection, and for the rest of a
	// header from its first byte.
	ReadHeaderTimeout time.Duration
	IdleTimeout       time.Duration // for the first byte on a connection that has served a request
	ShutdownDelay     time.Duration // between the end of ctx and the close of the listener
	ShutdownTimeout   time.Duration // for the requests in flight when Serve is told to end
	MaxConnections    int           // 0 means no limit
	H2C               bool          // a connection in the clear that begins as HTTP/2 does is one
	Buffers           int64         // bytes that buffered bodies may take, all together; see ends.Stream.Prefetch
}
