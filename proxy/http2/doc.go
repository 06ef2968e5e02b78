// Package http2 is the client's end of an exchange in HTTP/2 (RFC 9113). A connection has one
// goroutine that reads its frames, one for each stream, and one that writes, while there is
// something to write: what several streams send leaves in one write. A stream renders its header
// list straight into the road's one form, a block of lines, and that of the response back into a
// list.
//
// The package knows nothing of limits, routes, balancing and retries.
package http2
