package http2

import "loadbalancer/proxy/ends"

// response is the response on its way to the client.
type response struct {
	status   int    // of the header that is complete
	lines    []byte // that header, without its first line
	trailers []byte // lines that follow the body; nil: none do
	ended    bool   // nothing follows what is in Out
	large    *[ends.BufferSize]byte
	first    []byte // Out before large
}
