// Package ends holds what the two ends of an exchange have in common, whatever protocol each of
// them speaks: Stream is the client's end and Call the backend's, as the road of a request uses
// them. Each is a struct of facts, which the road and both ends read, and an interface, which every
// protocol implements. A Call works with the Stream of any protocol.
//
// A header is a block of lines between the ends, `name: value CRLF`, behind a request line or a
// status line of HTTP/1. A body is data without framing.
package ends
