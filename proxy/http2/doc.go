// Package http2 is both ends of an exchange in HTTP/2 (RFC 9113).
//
// A client's connection has one goroutine that reads its frames, one for each stream, and one that
// writes, while there is something to write: what several streams send leaves in one write. A Stream
// renders its header list straight into the road's one form, a block of lines, and that of the
// response back into a list. At the backend's end a Call does the reverse on a stream of package mux.
//
// The package knows nothing of limits, routes, balancing and retries.
package http2
