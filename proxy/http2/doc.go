// Package http2 is both ends of an exchange in HTTP/2 (RFC 9113). At the client's end net/http reads
// and writes the frames, and keeps the limits of a connection; a Stream renders its header list into
// the road's one form, a block of lines, and walks that of the response back into a list. At the
// backend's end a Call does the reverse on a stream of package mux.
//
// The package knows nothing of limits, routes, balancing and retries.
package http2
