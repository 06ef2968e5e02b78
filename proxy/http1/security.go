package http1

// Security returns what the handshake of the stream's connection has agreed on, which must not be
// changed, or nil in the clear.
func (s *Stream) Security() *Security { return s.conn.security.Load() }
