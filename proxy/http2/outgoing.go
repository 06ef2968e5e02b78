package http2

import "loadbalancer/proxy/ends"

// response is the response on its way to the client.
type response struct {
	status   int    // of the header that is complete
	block    []byte // that header, as HPACK has it
	trailers []byte // a block that follows the body; nil: none does
	ended    bool   // nothing follows what is in Out
	large    *[ends.BufferSize]byte
	first    []byte // Out before large
}
