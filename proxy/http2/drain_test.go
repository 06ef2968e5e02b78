package http2

import (
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"loadbalancer/proxy/ends"
)

// TestDrainOfNewConnection begins with the settings, as clients require, also where the server drains
// already.
func TestDrainOfNewConnection(t *testing.T) {
	s := NewServer(Options{Bounds: bounds, MaxHeaderSize: 8 << 10, Handle: func(s ends.Stream) { answer(s, 2) }, Activity: new(ends.Activity)})
	s.Drain()
	near, far := net.Pipe()
	ended := make(chan struct{})
	go func() { s.Serve(&plainConn{Conn: far}); close(ended) }()
	_ = near.SetDeadline(time.Now().Add(5 * time.Second))
	go func() { _, _ = io.WriteString(near, http2.ClientPreface) }()
	framer := http2.NewFramer(nil, near)
	var kinds []string
	for len(kinds) < 3 {
		f, err := framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, f.Header().Type.String())
	}
	if kinds[0] != "SETTINGS" || kinds[2] != "GOAWAY" {
		t.Errorf("the connection begins with %q", kinds)
	}
	near.Close()
	<-ended
}
