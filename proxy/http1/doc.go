// Package http1 is HTTP/1 on a connection: the client's end of an exchange, which is a Stream, and
// the backend's end, which is a Call.
//
// A Stream reads one request from its client and sends one response; a Call sends a request to a
// backend and reads the response. Between the two, a body is data without framing: chunks are taken
// off at one end and put on at the other. Bytes go out as soon as they are there, a peer must take
// or send something within the timeouts, and each deadline has one owner. A connection is used
// again only if both sides are certain to agree on where the next message begins. The steady path
// allocates nothing.
//
// The package knows nothing of limits, routes, balancing or retries: the road, in package proxy,
// calls its steps in order.
package http1
