// Package http2 speaks HTTP/2 at the ends of an exchange: Call is the backend's end.
package http2
