// Package http2 is the client's end of an exchange in HTTP/2 (RFC 9113). net/http reads and writes
// the frames, and keeps the limits of a connection; a stream renders its header list into the road's
// one form, a block of lines, and walks that of the response back into a list.
//
// The package knows nothing of limits, routes, balancing and retries.
package http2
