// Package message reads and rewrites the headers of requests and responses, as a proxy must.
//
// A header is a block of field lines, "name: value CRLF", as HTTP/1 has it. The guard reads a
// request's once and refuses those that two readers could understand differently; Parse does the
// same for a response's. What goes on keeps its order, its case and its duplicates: only fields
// that end at this hop are left out, and only those that a proxy must add are added.
//
// Everything here is a function of its arguments. The package does no I/O, and knows nothing of
// connections, clients or backends. Reading and appending allocate nothing, but for trailers and
// for the few responses that have to be put into another form first.
package message
